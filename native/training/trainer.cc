#include "training/trainer.h"

#include <cmath>

#include "diffusion/losses.h"

namespace ddpm {
namespace {

// Hands out leaves of the autograd graph: views of the weights whose gradients add up in views of a second set.
class TrainableSource : public ParameterSource {
 public:
  TrainableSource(const ParameterSet& weights, const ParameterSet& gradient) : weights_(weights), gradient_(gradient) {}

  at::Tensor parameter(const std::string& name, at::IntArrayRef, Init) override {
    const auto& spec = weights_.layout()->spec(name);
    at::Tensor leaf = weights_.view(spec).detach();
    leaf.requires_grad_(true);
    leaf.mutable_grad() = gradient_.view(spec);
    return leaf;
  }

 private:
  const ParameterSet& weights_;
  const ParameterSet& gradient_;
};

UNet trainable_network(const UNetConfig& config, const ParameterSet& weights, const ParameterSet& gradient) {
  TrainableSource source(weights, gradient);
  return UNet(config, source);
}

}  // namespace

Trainer::Trainer(const TrainingConfig& config, ParameterSet raw, ParameterSet ema)
    : config_(config),
      diffusion_(config.diffusion),
      raw_(std::move(raw)),
      ema_(std::move(ema)),
      gradient_(ParameterSet::zeros(raw_.layout(), raw_.flat().device())),
      network_(trainable_network(config.unet, raw_, gradient_)),
      adam_(config.optimizer, raw_),
      average_(config.ema) {}

StepResult Trainer::update(int64_t images, int64_t accumulation, const BatchFunction& batch,
                           const std::atomic<bool>& cancelled) {
  const at::Device device = raw_.flat().device();
  const int64_t images_a_pass = images / accumulation;
  gradient_.flat().zero_();
  StepResult result;
  for (int64_t pass = 0; pass < accumulation; ++pass) {
    const int64_t first = pass * images_a_pass;
    const Batch drawn = batch(first, images_a_pass);
    const at::Tensor x_0 = drawn.x_0.to(device), eps = drawn.eps.to(device);
    const at::Tensor labels = drawn.labels.defined() ? drawn.labels.to(device) : drawn.labels;
    const DropoutKey dropout{config_.seed, static_cast<uint64_t>(step_), static_cast<uint64_t>(first)};
    const ForwardContext context{config_.unet.dropout > 0 ? &dropout : nullptr, &cancelled};

    at::AutoGradMode with_gradients(true);
    at::Tensor loss;  // of this pass, as its part of the mean over all images
    {
      PrecisionScope scope(config_.precision, device);
      const at::Tensor x_t = diffusion_.add_noise(x_0, drawn.t, eps);
      const at::Tensor predicted = network_(x_t, at::tensor(drawn.t, at::kLong).to(device), labels, context);
      loss = simple_loss(predicted, eps).sum() / static_cast<double>(images);  // Algorithm 1, line 5
    }
    loss.backward();
    result.loss += loss.item<double>();
  }
  result.gradient_norm = global_norm(gradient_);
  result.learning_rate = adam_.learning_rate();
  result.skipped = !std::isfinite(result.loss) || !std::isfinite(result.gradient_norm);
  if (!result.skipped) {
    at::NoGradGuard no_gradients;
    const int64_t updates_before = adam_.updates();
    adam_.update(raw_, gradient_, result.gradient_norm);
    average_.update(ema_, raw_, updates_before);
  }
  ++step_;
  images_seen_ += images;
  return result;
}

}  // namespace ddpm
