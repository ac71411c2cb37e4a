#pragma once

#include <cstdint>
#include <vector>

namespace ddpm {

enum class BetaSchedule {
  kLinear,        // linear in beta (Ho, Jain, Abbeel 2020, Section 4)
  kScaledLinear,  // linear in sqrt(beta) (Rombach et al. 2022)
  kCosine,        // alpha_bar a squared cosine (Nichol, Dhariwal 2021, Equation 17)
};

// What the network's output stands for.
enum class PredictionType {
  kEpsilon,
};

// The variance of p(x_{t-1} | x_t), Section 3.2.
enum class VarianceType {
  kFixedSmall,    // beta_tilde: optimal for x_0 a single point
  kFixedLarge,    // beta: optimal for x_0 ~ N(0, I)
  kLearnedRange,  // between the two in the logarithm, as the network's second half of channels says
};

struct DiffusionConfig {
  int64_t timesteps = 0;
  BetaSchedule beta_schedule = BetaSchedule::kLinear;
  double beta_start = 0;
  double beta_end = 0;
  std::vector<double> betas;  // a schedule given value by value instead, when not empty
  PredictionType prediction_type = PredictionType::kEpsilon;
  VarianceType variance_type = VarianceType::kFixedLarge;
  bool clip_sample = true;  // x_0 predicted while sampling is clipped to [-1, 1]
};

}  // namespace ddpm
