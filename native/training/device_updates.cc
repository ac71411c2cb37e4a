#include "training/device_updates.h"

#include <cstring>
#include <limits>

#include "kernels/cuda/dropout.h"

namespace ddpm {
namespace {

// Kinds of passes at once.
constexpr size_t kMostGraphs = 2;

}  // namespace

DeviceUpdates::DeviceUpdates(at::Device device)
    : device_(device),
      loss_(at::zeros({}, at::device(device).dtype(at::kDouble))),
      partial_(at::empty({cuda::kNormBlocks}, at::device(device).dtype(at::kDouble))),
      report_(at::empty({int64_t{sizeof(cuda::UpdateReport)}}, at::device(device).dtype(at::kByte))),
      told_(
          at::empty({int64_t{sizeof(cuda::UpdateReport)}}, at::TensorOptions().dtype(at::kByte).pinned_memory(true))) {}

void DeviceUpdates::begin() { loss_.zero_(); }

void DeviceUpdates::pass(const PassInputs& inputs, uint64_t update, int64_t first, int64_t images, bool recompute,
                         const Pass& pass, const std::atomic<bool>& cancelled) {
  const at::Tensor key = upload_values(std::vector<cuda::PassKey>{{update, static_cast<uint64_t>(first)}}, device_);
  const auto run = [&](const PassInputs& from, const at::Tensor& named, const std::atomic<bool>* flag) {
    loss_.add_(pass(from, named, flag));
  };
  const auto run_uncaptured = [&] {
    count_uncaptured_pass();
    run(inputs, key, &cancelled);
  };
  const std::tuple<int64_t, int64_t, bool> kind{inputs.x_t.size(0), images, recompute};
  auto found = passes_.find(kind);
  if (found == passes_.end()) {
    run_uncaptured();  // to its end, before one is captured
    if (passes_.size() >= kMostGraphs) passes_.clear();
    passes_.emplace(kind, Captured{});
    return;
  }
  Captured& captured = found->second;
  if (!captured.tried) {
    captured.tried = true;
    captured.inputs = {inputs.x_t.clone(), inputs.eps.clone(), inputs.t.clone(),
                       inputs.labels.defined() ? inputs.labels.clone() : inputs.labels};
    captured.key = key.clone();
    captured.graph = DeviceGraph::capture(device_, [&] { run(captured.inputs, captured.key, nullptr); });
  }
  if (!captured.graph) return run_uncaptured();
  captured.inputs.x_t.copy_(inputs.x_t);
  captured.inputs.eps.copy_(inputs.eps);
  captured.inputs.t.copy_(inputs.t);
  if (inputs.labels.defined()) captured.inputs.labels.copy_(inputs.labels);
  captured.key.copy_(key);
  captured.graph->launch();
}

cuda::UpdateReport DeviceUpdates::finish(TrainingState& state, ParameterSet& gradient, Adam& adam, const Ema& average) {
  const cuda::Stream stream = stream_of(gradient.flat());
  const int64_t count = gradient.flat().numel();
  const auto values = [](const ParameterSet& set) { return set.flat().mutable_data_ptr<float>(); };
  auto* report = static_cast<cuda::UpdateReport*>(report_.mutable_data_ptr());
  const AdamStep step = adam.device_step(1 - average.decay(state.counters.averaged));
  double largest_norm = adam.largest_norm(state.raw);
  cuda::UpdateReport told{};
  for (;;) {
    cuda::judge(values(gradient), count, loss_.const_data_ptr<double>(), largest_norm, adam.gradient_clip(),
                partial_.mutable_data_ptr<double>(), report, stream);
    cuda::adam_and_average(step, report, count, values(gradient), values(state.raw), values(state.exp_avg),
                           values(state.exp_avg_sq), values(state.ema), stream);
    told_.copy_(report_, /*non_blocking=*/true);
    wait_for(device_);
    std::memcpy(&told, told_.const_data_ptr(), sizeof(told));
    // What is known of the weights did not do for this norm: a look at them may.
    if (told.verdict != cuda::Verdict::kTooLarge || !adam.stays_finite(state.raw, told.gradient_norm)) break;
    largest_norm = std::numeric_limits<double>::infinity();
  }
  if (told.verdict == cuda::Verdict::kMade) adam.updated_on_device(told.gradient_norm);
  return told;
}

}  // namespace ddpm
