#include "training/optimizer.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/cpu/adam_kernels.h"
#include "kernels/fast_paths.h"

namespace ddpm {
namespace {

// Half of the largest float32, so that the difference of two weights is finite too.
constexpr double kLargest = std::numeric_limits<float>::max() / 2;

// The second moment holds squares.
const double kLargestNorm = std::sqrt(kLargest);

}  // namespace

Adam::Adam(const OptimizerConfig& config, ParameterSet exp_avg, ParameterSet exp_avg_sq, int64_t updates)
    : config_(config), updates_(updates), exp_avg_(std::move(exp_avg)), exp_avg_sq_(std::move(exp_avg_sq)) {}

double Adam::learning_rate() const {
  const double warmup =
      config_.warmup_steps > 0 ? static_cast<double>(updates_ + 1) / static_cast<double>(config_.warmup_steps) : 1;
  return config_.learning_rate * std::min(warmup, 1.0);
}

// The moments are averages of gradients and of their squares, so |m| is at most the largest gradient, and a step is at
// most rate |m| / epsilon. That bounds the weights without looking at them; they are looked at when the bound runs out,
// which at any sensible learning rate is never.
bool Adam::stays_finite(const ParameterSet& weights, double norm) {
  if (norm > kLargestNorm) return false;
  if (!bounded_ || !fits(norm)) {
    bounds_ = measured(weights);
    bounded_ = true;
  }
  return fits(norm);
}

bool Adam::fits(double norm) const {
  const Bounds bounds = after_update(bounds_, norm);
  return bounds.weight < kLargest && bounds.exp_avg < kLargest;
}

double Adam::largest_norm(const ParameterSet& weights) {
  if (!bounded_) {
    bounds_ = measured(weights);
    bounded_ = true;
  }
  if (fits(kLargestNorm)) return kLargestNorm;
  double fitting = -150, too_large = std::log2(kLargestNorm);  // powers of two
  for (int i = 0; i < 32; ++i) {
    const double middle = (fitting + too_large) / 2;
    (fits(std::exp2(middle)) ? fitting : too_large) = middle;
  }
  return fits(std::exp2(fitting)) ? std::exp2(fitting) : -1;
}

Adam::Bounds Adam::measured(const ParameterSet& weights) const {
  const auto largest = [](const ParameterSet& set) {
    const auto [low, high] = at::aminmax(set.flat());
    return std::max(-low.item<double>(), high.item<double>());
  };
  return {largest(weights), largest(exp_avg_)};
}

Adam::Bounds Adam::after_update(Bounds bounds, double norm) const {
  const double gradient = config_.gradient_clip > 0 ? std::min(norm, config_.gradient_clip) : norm;
  const double rate = learning_rate();
  bounds.exp_avg = config_.beta1 * bounds.exp_avg + (1 - config_.beta1) * gradient;
  const double step_size = rate / (1 - std::pow(config_.beta1, static_cast<double>(updates_ + 1)));
  if (!(step_size < kLargest)) return {step_size, bounds.exp_avg};
  bounds.weight += rate * config_.weight_decay * bounds.weight + step_size * bounds.exp_avg / config_.epsilon;
  return bounds;
}

void Adam::update(ParameterSet& weights, ParameterSet& gradient, double norm, ParameterSet& average, double share) {
  bounds_ = after_update(bounds_, norm);
  const bool clipped = config_.gradient_clip > 0 && norm > config_.gradient_clip;
  const double scale = clipped ? config_.gradient_clip / (norm + 1e-6) : 1;
  const double rate = learning_rate();
  ++updates_;
  if (fast_paths() && weights.flat().is_cpu()) {
    update_in_one_pass(weights, gradient, scale, rate, average, share);
    return;
  }
  if (clipped) gradient.flat().mul_(scale);
  const at::Tensor count = at::full({}, static_cast<double>(updates_), weights.flat().options());
  at::_fused_adamw_({weights.flat()}, {gradient.flat()}, {exp_avg_.flat()}, {exp_avg_sq_.flat()}, {}, {count}, rate,
                    config_.beta1, config_.beta2, config_.weight_decay, config_.epsilon, /*amsgrad=*/false,
                    /*maximize=*/false);
  average.flat().lerp_(weights.flat(), share);
}

void Adam::update_in_one_pass(ParameterSet& weights, ParameterSet& gradient, double scale, double rate,
                              ParameterSet& average, double share) {
  const AdamStep step = step_of(updates_, rate, share);
  const auto kernel = cpu::adam_kernel();
  const auto data = [](const ParameterSet& set) { return set.flat().mutable_data_ptr<float>(); };
  constexpr int64_t kPiece = ParameterLayout::kFlatMultiple;
  at::parallel_for(0, weights.flat().numel() / kPiece, 1, [&](int64_t begin, int64_t end) {
    const int64_t at = begin * kPiece;
    kernel(step, static_cast<float>(scale), (end - begin) * kPiece, data(weights) + at, data(gradient) + at,
           data(exp_avg_) + at, data(exp_avg_sq_) + at, data(average) + at);
  });
}

AdamStep Adam::device_step(double average_share) const { return step_of(updates_ + 1, learning_rate(), average_share); }

AdamStep Adam::step_of(int64_t update, double rate, double average_share) const {
  const auto n = static_cast<double>(update);
  AdamStep step{};
  step.beta1 = static_cast<float>(config_.beta1);
  step.beta2 = static_cast<float>(config_.beta2);
  step.rest1 = static_cast<float>(1 - config_.beta1);
  step.rest2 = static_cast<float>(1 - config_.beta2);
  step.step_size = static_cast<float>(rate / (1 - std::pow(config_.beta1, n)));
  step.root_scale = static_cast<float>(1 / std::sqrt(1 - std::pow(config_.beta2, n)));
  step.epsilon = static_cast<float>(config_.epsilon);
  step.weight_scale = static_cast<float>(1 - rate * config_.weight_decay);
  step.ema_share = static_cast<float>(average_share);
  return step;
}

void Adam::updated_on_device(double norm) {
  bounds_ = after_update(bounds_, norm);
  ++updates_;
}

double global_norm(const ParameterSet& gradient) {
  // In rows, so that float32 sums stay short: one long sum over tens of millions of squares is off in its fifth digit.
  const at::Tensor rows = gradient.flat().view({-1, ParameterLayout::kFlatMultiple});
  return at::linalg_vector_norm(at::linalg_vector_norm(rows, 2, at::IntArrayRef{1}), 2).item<double>();
}

}  // namespace ddpm
