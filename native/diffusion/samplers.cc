#include "diffusion/samplers.h"

#include <algorithm>
#include <cmath>

#include "diffusion/gaussian_diffusion.h"

namespace ddpm {
namespace {

// Equation 15.
void predict_x_start_from_eps(SamplerStep& step, double alpha_bar) {
  step.x0_from_x = 1 / std::sqrt(alpha_bar);
  step.x0_from_eps = -std::sqrt(1 - alpha_bar) / std::sqrt(alpha_bar);
}

// Algorithm 2 over the kept timesteps: posterior of the respaced process, Equation 7.
SamplerStep ddpm_step(const NoiseSchedule& kept, int64_t i, VarianceType variance_type) {
  const auto at = static_cast<size_t>(i);
  SamplerStep step;
  predict_x_start_from_eps(step, kept.alphas_cumprod[at]);
  step.prev_from_x0 = kept.posterior_mean_coef_x0[at];
  step.prev_from_x = kept.posterior_mean_coef_xt[at];
  step.sigma = i > 0 ? std::sqrt(kept.variance(variance_type, i)) : 0;
  return step;
}

// Song, Meng, Ermon 2021, Equations 12 and 16; eps is the network's own, also where x_0 was clipped.
SamplerStep ddim_step(const NoiseSchedule& kept, int64_t i, double eta) {
  const double alpha_bar = kept.alphas_cumprod[static_cast<size_t>(i)];
  const double alpha_bar_prev = kept.alphas_cumprod_prev[static_cast<size_t>(i)];
  SamplerStep step;
  predict_x_start_from_eps(step, alpha_bar);
  step.sigma = eta * std::sqrt((1 - alpha_bar_prev) / (1 - alpha_bar)) * std::sqrt(1 - alpha_bar / alpha_bar_prev);
  step.prev_from_x0 = std::sqrt(alpha_bar_prev);
  step.prev_from_eps = std::sqrt(std::max(1 - alpha_bar_prev - step.sigma * step.sigma, 0.0));
  return step;
}

at::Tensor column(const std::vector<SamplerStep>& steps, double SamplerStep::* field, const at::Tensor& x) {
  std::vector<double> values;
  values.reserve(steps.size());
  for (const auto& step : steps) values.push_back(step.*field);
  return per_image(values, x);
}

}  // namespace

std::vector<SamplerStep> plan_sampler(const NoiseSchedule& schedule, const SamplerConfig& config,
                                      VarianceType variance_type) {
  std::vector<int64_t> visited = spaced_timesteps(schedule.timesteps(), config.steps, config.spacing);
  std::reverse(visited.begin(), visited.end());  // ascending, as a schedule is
  const NoiseSchedule kept = schedule.respaced(visited);
  std::vector<SamplerStep> plan;
  for (int64_t i = kept.timesteps() - 1; i >= 0; --i) {
    SamplerStep step =
        config.type == SamplerType::kDdpm ? ddpm_step(kept, i, variance_type) : ddim_step(kept, i, config.eta);
    step.t = visited[static_cast<size_t>(i)];
    plan.push_back(step);
  }
  return plan;
}

at::Tensor sampler_step(const std::vector<SamplerStep>& steps, const at::Tensor& x, const at::Tensor& eps,
                        const at::Tensor& noise, bool clip) {
  at::Tensor x_0 = column(steps, &SamplerStep::x0_from_x, x) * x + column(steps, &SamplerStep::x0_from_eps, x) * eps;
  // Clipping hides an infinite eps; eps - eps brings it back, as NaN.
  if (clip) x_0.clamp_(-1, 1).add_(eps - eps);
  at::Tensor prev = column(steps, &SamplerStep::prev_from_x0, x) * x_0;
  const auto uses = [&](double SamplerStep::* field) {
    return std::any_of(steps.begin(), steps.end(), [field](const SamplerStep& step) { return step.*field != 0; });
  };
  if (uses(&SamplerStep::prev_from_x)) prev += column(steps, &SamplerStep::prev_from_x, x) * x;
  if (uses(&SamplerStep::prev_from_eps)) prev += column(steps, &SamplerStep::prev_from_eps, x) * eps;
  if (uses(&SamplerStep::sigma)) prev += column(steps, &SamplerStep::sigma, x) * noise;
  return prev;
}

}  // namespace ddpm
