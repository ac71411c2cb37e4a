#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "diffusion/noise_schedule.h"
#include "diffusion/timesteps.h"

namespace ddpm {

enum class SamplerType {
  kDdpm,  // ancestral sampling, Algorithm 2
  kDdim,  // Song, Meng, Ermon 2021
};

struct SamplerConfig {
  SamplerType type = SamplerType::kDdpm;
  int64_t steps = 0;
  TimestepSpacing spacing = TimestepSpacing::kTrailing;
  double eta = 0;  // DDIM's: 0 deterministic, 1 as noisy as the posterior
};

// One step of a sampler, for a network that predicts eps:
//   x_0  = x0_from_x x_t + x0_from_eps eps   (then clipped, where asked)
//   prev = prev_from_x0 x_0 + prev_from_x x_t + prev_from_eps eps + sigma z
struct SamplerStep {
  int64_t t = 0;  // what the network is told
  double x0_from_x = 0, x0_from_eps = 0;
  double prev_from_x0 = 0, prev_from_x = 0, prev_from_eps = 0;
  double sigma = 0;
};

// The whole way from x_T to the clean image, noisiest step first; its last step ends at alpha_bar = 1 without noise.
std::vector<SamplerStep> plan_sampler(const NoiseSchedule& schedule, const SamplerConfig& config,
                                      VarianceType variance_type);

// One step for images that may each be elsewhere on their way: x [n, C, H, W], eps and noise the same; one step an
// image. `noise` may be undefined where no step has a sigma.
at::Tensor sampler_step(const std::vector<SamplerStep>& steps, const at::Tensor& x, const at::Tensor& eps,
                        const at::Tensor& noise, bool clip);

}  // namespace ddpm
