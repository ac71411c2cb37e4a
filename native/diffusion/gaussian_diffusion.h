#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "diffusion/diffusion_config.h"
#include "diffusion/noise_schedule.h"

namespace ddpm {

// One coefficient an image, cast to x's type and shaped to multiply it: [n] -> [n, 1, 1, 1] on x's device.
at::Tensor per_image(const std::vector<double>& values, const at::Tensor& x);

// The values of a schedule's quantity at each image's t.
std::vector<double> gather(const std::vector<double>& quantity, at::IntArrayRef t);

// Both processes of the paper, one step or one closed form at a time, on images [n, C, H, W] with a t for each.
class GaussianDiffusion {
 public:
  explicit GaussianDiffusion(const DiffusionConfig& config) : config_(config), schedule_(config) {}

  const DiffusionConfig& config() const { return config_; }
  const NoiseSchedule& schedule() const { return schedule_; }

  // x_t ~ q(x_t | x_0) for given noise, Equation 4:  sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps
  at::Tensor add_noise(const at::Tensor& x_0, at::IntArrayRef t, const at::Tensor& eps) const;

  // The mean of q(x_{t-1} | x_t, x_0), Equation 7; its variance is schedule().posterior_variance.
  at::Tensor posterior_mean(const at::Tensor& x_0, const at::Tensor& x_t, at::IntArrayRef t) const;

  // x_0 as the network's output implies it, Equation 15; clipped to [-1, 1] where the configuration says so.
  at::Tensor predict_x_start(const at::Tensor& model_output, const at::Tensor& x_t, at::IntArrayRef t) const;

  struct Step {
    at::Tensor prev;  // x_{t-1}
    at::Tensor x_0;   // as predicted
  };
  // One ancestral step, Algorithm 2, lines 3 and 4; without noise where `noise` is undefined, and at t = 0.
  Step step(const at::Tensor& model_output, const at::Tensor& x_t, at::IntArrayRef t, const at::Tensor& noise) const;

 private:
  DiffusionConfig config_;
  NoiseSchedule schedule_;
};

}  // namespace ddpm
