#include "inference/forward_graphs.h"

namespace ddpm {
namespace {

// Batch sizes at once.
constexpr size_t kMostGraphs = 4;

}  // namespace

at::Tensor ForwardGraphs::operator()(const at::Tensor& x, const at::Tensor& t, const at::Tensor& labels,
                                     const Forward& forward) {
  const int64_t batch = x.size(0);
  auto found = by_batch_.find(batch);
  if (found == by_batch_.end()) {
    // The first pass is also the one that packs weights and has cuDNN choose its kernels: it has to have been to its
    // end before one is captured.
    count_uncaptured_pass();
    const at::Tensor output = forward(x, t, labels);
    if (by_batch_.size() >= kMostGraphs) by_batch_.clear();
    by_batch_.emplace(batch, Captured{});
    return output;
  }
  Captured& captured = found->second;
  if (!captured.tried) {
    captured.tried = true;
    captured.x = x.clone();
    captured.t = t.clone();
    if (labels.defined()) captured.labels = labels.clone();
    captured.graph =
        DeviceGraph::capture(x.device(), [&] { captured.output = forward(captured.x, captured.t, captured.labels); });
  }
  if (!captured.graph) {
    count_uncaptured_pass();
    return forward(x, t, labels);
  }
  captured.x.copy_(x);
  captured.t.copy_(t);
  if (labels.defined()) captured.labels.copy_(labels);
  captured.graph->launch();
  return captured.output;
}

}  // namespace ddpm
