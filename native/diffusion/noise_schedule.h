#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "diffusion/diffusion_config.h"

namespace ddpm {

// The betas and all that is derived from them, in float64, indexed by t = 0 ... T-1 (the paper's t = 1 ... T).
struct NoiseSchedule {
  std::vector<double> betas;                          // beta_t
  std::vector<double> alphas_cumprod;                 // alpha_bar_t
  std::vector<double> alphas_cumprod_prev;            // alpha_bar_{t-1}, 1 at t = 0
  std::vector<double> sqrt_alphas_cumprod;            // mean of q(x_t | x_0), Equation 4
  std::vector<double> sqrt_one_minus_alphas_cumprod;  // standard deviation of q(x_t | x_0), Equation 4
  std::vector<double> posterior_variance;             // beta_tilde_t, Equation 7; 0 at t = 0
  std::vector<double> posterior_mean_coef_x0;         // of mu_tilde_t, Equation 7
  std::vector<double> posterior_mean_coef_xt;

  explicit NoiseSchedule(std::vector<double> betas);
  explicit NoiseSchedule(const DiffusionConfig& config);

  int64_t timesteps() const { return static_cast<int64_t>(betas.size()); }

  // The schedule of the shorter process that visits only the kept timesteps (ascending): its alpha_bar are those of
  // this one there (Nichol, Dhariwal 2021, Section 4).
  NoiseSchedule respaced(const std::vector<int64_t>& kept) const;

  // sigma_t^2 of p(x_{t-1} | x_t) for a fixed variance type.
  double variance(VarianceType type, int64_t t) const;

  // A quantity by its name in this struct; throws ddpm::Error for a name that there is none of.
  const std::vector<double>& quantity(const std::string& name) const;
};

}  // namespace ddpm
