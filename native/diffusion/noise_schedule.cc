#include "diffusion/noise_schedule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numbers>

#include "error.h"

namespace ddpm {
namespace {

std::vector<double> linspace(double first, double last, int64_t count) {
  std::vector<double> values(static_cast<size_t>(count), first);
  for (int64_t i = 1; i < count; ++i) {
    values[static_cast<size_t>(i)] = first + (last - first) * static_cast<double>(i) / static_cast<double>(count - 1);
  }
  return values;
}

std::vector<double> cosine_betas(int64_t timesteps) {
  const auto alpha_bar = [&](int64_t t) {
    const double position = static_cast<double>(t) / static_cast<double>(timesteps);
    return std::pow(std::cos((position + 0.008) / 1.008 * std::numbers::pi / 2), 2);
  };
  std::vector<double> betas;
  for (int64_t t = 0; t < timesteps; ++t) betas.push_back(std::min(1 - alpha_bar(t + 1) / alpha_bar(t), 0.999));
  return betas;
}

std::vector<double> make_betas(const DiffusionConfig& config) {
  if (!config.betas.empty()) return config.betas;
  switch (config.beta_schedule) {
    case BetaSchedule::kLinear:
      return linspace(config.beta_start, config.beta_end, config.timesteps);
    case BetaSchedule::kScaledLinear: {
      auto roots = linspace(std::sqrt(config.beta_start), std::sqrt(config.beta_end), config.timesteps);
      for (double& value : roots) value *= value;
      return roots;
    }
    case BetaSchedule::kCosine:
      return cosine_betas(config.timesteps);
  }
  throw Error("ERR_NATIVE", "unknown beta schedule");
}

// Below this, 1 / sqrt(alpha_bar), by which x_0 is predicted (Equation 15), is no number in float32.
constexpr double kSmallestAlphaBar = 1e-76;

std::string text_of(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g", value);
  return text.data();
}

// All that follows from the betas and the alpha_bar.
void derive(NoiseSchedule& schedule) {
  double previous = 1;  // alpha_bar_{t-1}
  for (size_t t = 0; t < schedule.betas.size(); ++t) {
    const double beta = schedule.betas[t];
    const double alpha_bar = schedule.alphas_cumprod[t];
    const double alpha = alpha_bar / previous;
    schedule.alphas_cumprod_prev.push_back(previous);
    schedule.sqrt_alphas_cumprod.push_back(std::sqrt(alpha_bar));
    schedule.sqrt_one_minus_alphas_cumprod.push_back(std::sqrt(1 - alpha_bar));
    schedule.posterior_variance.push_back(beta * (1 - previous) / (1 - alpha_bar));
    schedule.posterior_mean_coef_x0.push_back(beta * std::sqrt(previous) / (1 - alpha_bar));
    schedule.posterior_mean_coef_xt.push_back((1 - previous) * std::sqrt(alpha) / (1 - alpha_bar));
    previous = alpha_bar;
  }
}

}  // namespace

NoiseSchedule::NoiseSchedule(std::vector<double> betas_) : betas(std::move(betas_)) {
  double alpha_bar = 1;
  for (const double beta : betas) {
    if (!(beta > 0 && beta < 1 && 1 - beta < 1)) {
      throw Error("ERR_CONFIG", "diffusion.betas: expected every beta between 2^-53 and 1 (exclusive), got " +
                                    text_of(beta) + " (number)");
    }
    alpha_bar *= 1 - beta;
    if (alpha_bar < kSmallestAlphaBar) {
      throw Error("ERR_CONFIG", "diffusion: expected betas that leave alpha_bar, the product of all 1 - beta, at " +
                                    text_of(kSmallestAlphaBar) + " or more, got " + text_of(alpha_bar) + " at t = " +
                                    std::to_string(alphas_cumprod.size()) + "; take smaller betas or fewer timesteps");
    }
    alphas_cumprod.push_back(alpha_bar);
  }
  derive(*this);
}

NoiseSchedule::NoiseSchedule(const DiffusionConfig& config) : NoiseSchedule(make_betas(config)) {}

NoiseSchedule NoiseSchedule::respaced(const std::vector<int64_t>& kept) const {
  if (static_cast<int64_t>(kept.size()) == timesteps()) return *this;
  NoiseSchedule shorter{std::vector<double>{}};
  // The alpha_bar are taken over as they are: a beta so near to 1 that it rounds to it would not give them back.
  double previous = 1;
  for (const int64_t t : kept) {
    const double alpha_bar = alphas_cumprod.at(static_cast<size_t>(t));
    shorter.betas.push_back(1 - alpha_bar / previous);
    shorter.alphas_cumprod.push_back(alpha_bar);
    previous = alpha_bar;
  }
  derive(shorter);
  return shorter;
}

double NoiseSchedule::variance(VarianceType type, int64_t t) const {
  const auto i = static_cast<size_t>(t);
  switch (type) {
    case VarianceType::kFixedSmall:
      return posterior_variance.at(i);
    case VarianceType::kFixedLarge:
      return betas.at(i);
    case VarianceType::kLearnedRange:
      break;
  }
  throw Error("ERR_CONFIG",
              "diffusion.varianceType: sampling and training with 'learned_range' are not supported by this version");
}

const std::vector<double>& NoiseSchedule::quantity(const std::string& name) const {
  if (name == "betas") return betas;
  if (name == "alphas_cumprod") return alphas_cumprod;
  if (name == "alphas_cumprod_prev") return alphas_cumprod_prev;
  if (name == "sqrt_alphas_cumprod") return sqrt_alphas_cumprod;
  if (name == "sqrt_one_minus_alphas_cumprod") return sqrt_one_minus_alphas_cumprod;
  if (name == "posterior_variance") return posterior_variance;
  if (name == "posterior_mean_coef_x0") return posterior_mean_coef_x0;
  if (name == "posterior_mean_coef_xt") return posterior_mean_coef_xt;
  throw Error("ERR_CONFIG", "schedule: unknown quantity '" + name + "'");
}

}  // namespace ddpm
