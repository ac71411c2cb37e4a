#include "training/trainer.h"

#include <cmath>
#include <utility>

#include "device/device.h"
#include "diffusion/losses.h"
#include "error.h"
#include "kernels/fast_paths.h"

namespace ddpm {
namespace {

// Hands out leaves of the autograd graph: views of the weights whose gradients add up in views of a second set, or the
// copies that stand in for them, where there are such.
class TrainableSource : public ParameterSource {
 public:
  TrainableSource(const ParameterSet& weights, const ParameterSet& gradient, const HalfWeights* copies)
      : weights_(weights), gradient_(gradient), copies_(copies) {}

  at::Tensor parameter(const std::string& name, at::IntArrayRef, Init) override {
    if (copies_ != nullptr) {
      at::Tensor copy = copies_->copy_of(name);
      if (copy.defined()) return copy;
    }
    const auto& spec = weights_.layout()->spec(name);
    at::Tensor leaf = weights_.view(spec).detach();
    leaf.requires_grad_(true);
    leaf.mutable_grad() = gradient_.view(spec);
    return leaf;
  }

 private:
  const ParameterSet& weights_;
  const ParameterSet& gradient_;
  const HalfWeights* copies_;
};

UNet trainable_network(const UNetConfig& config, const ParameterSet& weights, const ParameterSet& gradient,
                       const HalfWeights* copies) {
  TrainableSource source(weights, gradient, copies);
  return UNet(config, source);
}

bool on_cuda(const ParameterSet& weights) { return weights.flat().device().is_cuda(); }

std::unique_ptr<HalfWeights> copies_for(Precision precision, const ParameterSet& weights,
                                        const ParameterSet& gradient) {
  if (!fast_paths() || !on_cuda(weights) || precision != Precision::kBFloat16) return nullptr;
  return std::make_unique<HalfWeights>(weights, gradient);
}

}  // namespace

Trainer::Trainer(const TrainingConfig& config, ParameterSet raw, ParameterSet ema, int64_t averaged)
    : Trainer(config, TrainingState{raw,
                                    std::move(ema),
                                    ParameterSet::zeros_like(raw),
                                    ParameterSet::zeros_like(raw),
                                    {.averaged = averaged}}) {}

Trainer::Trainer(const TrainingConfig& config, TrainingState state)
    : config_(config),
      diffusion_(config.diffusion),
      state_(std::move(state)),
      gradient_(ParameterSet::zeros_like(state_.raw)),
      copies_(copies_for(config.precision, state_.raw, gradient_)),
      network_(trainable_network(config.unet, state_.raw, gradient_, copies_.get())),
      adam_(config.optimizer, state_.exp_avg, state_.exp_avg_sq, state_.counters.updates),
      average_(config.ema) {
  if (fast_paths() && on_cuda(state_.raw)) device_ = std::make_unique<DeviceUpdates>(state_.raw.flat().device());
}

double Trainer::accumulate(int64_t first, int64_t count, const Passes& passes, uint64_t step,
                           const BatchFunction& batch, const std::atomic<bool>& cancelled) {
  const PassInputs inputs =
      pass_inputs(batch(first, count), first, step, config_.seed, diffusion_, state_.raw.flat().device());
  return forward_and_backward(inputs, first, passes, step, {}, &cancelled).item<double>();
}

at::Tensor Trainer::forward_and_backward(const PassInputs& inputs, int64_t first, const Passes& passes, uint64_t step,
                                         const at::Tensor& key, const std::atomic<bool>* cancelled) {
  const DropoutKey dropout{config_.seed, step, static_cast<uint64_t>(first), key};
  const ForwardContext context{config_.unet.dropout > 0 ? &dropout : nullptr, cancelled, passes.recompute};

  // Of the backward pass too.
  const Float32Scope float32(inputs.x_t.device(), config_.precision == Precision::kTf32);
  if (copies_) copies_->refresh();
  at::AutoGradMode with_gradients(true);
  at::Tensor loss;
  {
    PrecisionScope scope(config_.precision, inputs.x_t.device());
    const at::Tensor predicted = network_(inputs.x_t, inputs.t, inputs.labels, context);
    loss = simple_loss(predicted, inputs.eps).sum() / static_cast<double>(passes.images);  // Algorithm 1, line 5
  }
  loss.backward();
  if (copies_) copies_->add_gradients();
  return loss.detach();
}

StepResult Trainer::update(const Passes& passes, const BatchFunction& batch, const std::atomic<bool>& cancelled) {
  if (device_) return update_on_device(passes, batch, cancelled);
  TrainingCounters& counters = state_.counters;
  const int64_t images_a_pass = passes.images / passes.accumulation;
  gradient_.flat().zero_();
  StepResult result;
  for (int64_t first = 0; first < passes.images; first += images_a_pass) {
    result.loss += accumulate(first, images_a_pass, passes, static_cast<uint64_t>(counters.step), batch, cancelled);
  }
  result.gradient_norm = global_norm(gradient_);
  result.learning_rate = adam_.learning_rate();
  if (!std::isfinite(result.loss)) {
    result.non_finite = NonFinite::kLoss;
  } else if (!std::isfinite(result.gradient_norm)) {
    result.non_finite = NonFinite::kGradient;
  } else if (!adam_.stays_finite(state_.raw, result.gradient_norm)) {
    result.non_finite = NonFinite::kUpdate;
  } else {
    at::NoGradGuard no_gradients;
    adam_.update(state_.raw, gradient_, result.gradient_norm, state_.ema, 1 - average_.decay(counters.averaged));
    counters.updates = adam_.updates();
    ++counters.averaged;
  }
  ++counters.step;
  counters.images_seen += passes.images;
  return result;
}

StepResult Trainer::update_on_device(const Passes& passes, const BatchFunction& batch,
                                     const std::atomic<bool>& cancelled) {
  TrainingCounters& counters = state_.counters;
  const auto step = static_cast<uint64_t>(counters.step);
  const int64_t images_a_pass = passes.images / passes.accumulation;
  gradient_.flat().zero_();
  device_->begin();
  for (int64_t first = 0; first < passes.images; first += images_a_pass) {
    if (cancelled) throw Cancelled();
    const Batch drawn = batch(first, images_a_pass);
    const PassInputs inputs = pass_inputs(drawn, first, step, config_.seed, diffusion_, state_.raw.flat().device());
    device_->pass(
        inputs, step, first, passes.images, passes.recompute,
        [&](const PassInputs& from, const at::Tensor& key, const std::atomic<bool>* flag) {
          return forward_and_backward(from, first, passes, step, key, flag);
        },
        cancelled);
  }
  StepResult result;
  result.learning_rate = adam_.learning_rate();
  const cuda::UpdateReport report = device_->finish(state_, gradient_, adam_, average_);
  result.loss = report.loss;
  result.gradient_norm = report.gradient_norm;
  switch (report.verdict) {
    case cuda::Verdict::kMade:
      counters.updates = adam_.updates();
      ++counters.averaged;
      break;
    case cuda::Verdict::kLossNotFinite:
      result.non_finite = NonFinite::kLoss;
      break;
    case cuda::Verdict::kGradientNotFinite:
      result.non_finite = NonFinite::kGradient;
      break;
    case cuda::Verdict::kTooLarge:
      result.non_finite = NonFinite::kUpdate;
      break;
  }
  ++counters.step;
  counters.images_seen += passes.images;
  return result;
}

std::vector<int64_t> Trainer::non_finite_images(int64_t images, const BatchFunction& batch,
                                                const std::atomic<bool>& cancelled) {
  const auto step = static_cast<uint64_t>(state_.counters.step - 1);
  std::vector<int64_t> found;
  for (int64_t i = 0; i < images; ++i) {
    gradient_.flat().zero_();
    const double loss = accumulate(i, 1, {images}, step, batch, cancelled);
    if (!std::isfinite(loss) || !std::isfinite(global_norm(gradient_))) found.push_back(i);
  }
  return found;
}

}  // namespace ddpm
