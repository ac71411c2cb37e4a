#include "training/optimizer.h"

#include <algorithm>

namespace ddpm {

Adam::Adam(const OptimizerConfig& config, const ParameterSet& shaped_like)
    : config_(config), exp_avg_(at::zeros_like(shaped_like.flat())), exp_avg_sq_(at::zeros_like(shaped_like.flat())) {}

double Adam::learning_rate() const {
  const double warmup =
      config_.warmup_steps > 0 ? static_cast<double>(updates_ + 1) / static_cast<double>(config_.warmup_steps) : 1;
  return config_.learning_rate * std::min(warmup, 1.0);
}

void Adam::update(ParameterSet& weights, ParameterSet& gradient, double norm) {
  if (config_.gradient_clip > 0 && norm > config_.gradient_clip) {
    gradient.flat().mul_(config_.gradient_clip / (norm + 1e-6));
  }
  const double rate = learning_rate();
  ++updates_;
  const at::Tensor count = at::full({}, static_cast<double>(updates_), weights.flat().options());
  at::_fused_adamw_({weights.flat()}, {gradient.flat()}, {exp_avg_}, {exp_avg_sq_}, {}, {count}, rate, config_.beta1,
                    config_.beta2, config_.weight_decay, config_.epsilon, /*amsgrad=*/false, /*maximize=*/false);
}

double global_norm(const ParameterSet& gradient) {
  // In rows, so that float32 sums stay short: one long sum over tens of millions of squares is off in its fifth digit.
  const at::Tensor rows = gradient.flat().view({-1, ParameterLayout::kFlatMultiple});
  return at::linalg_vector_norm(at::linalg_vector_norm(rows, 2, at::IntArrayRef{1}), 2).item<double>();
}

}  // namespace ddpm
