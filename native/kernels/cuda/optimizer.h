#pragma once

#include <cstdint>

#include "kernels/cuda/stream.h"

namespace ddpm::cuda {

// What the device says of an update.
enum class Verdict : int32_t {
  kMade,
  kLossNotFinite,
  kGradientNotFinite,
  kTooLarge,  // the norm is beyond what the weights are sure to stay finite with; nothing was changed
};

struct UpdateReport {
  double loss;
  double gradient_norm;  // before clipping
  Verdict verdict;
  float gradient_scale;  // of clipping: 1 where there is none
};

// Adam (Kingma, Ba 2015) with decoupled weight decay, and the moving average of the weights.
struct AdamStep {
  float rate, beta1, beta2, epsilon, weight_decay;
  float step_size;              // rate / (1 - beta1^n)
  float bias_correction2_sqrt;  // sqrt(1 - beta2^n)
  float average_weight;         // 1 - decay: what the new weights count for in the average
};

// The update's loss (double, on the device) and the global norm of the gradient, and what follows from them, into
// `report` on the device: whether loss and norm are finite and the norm is at most `largest_norm`, and by what the
// gradient is scaled so that its norm is at most `clip` (0: no clipping). `partial`: memory for kNormBlocks doubles.
constexpr int kNormBlocks = 512;
void judge(const float* gradient, int64_t count, const double* loss, double largest_norm, double clip, double* partial,
           UpdateReport* report, Stream stream);

// One update of the weights, the moments and the average, in one pass, unless the report says that none is to be made:
//   g = gradient_scale gradient,  w -= rate weight_decay w,  m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2)
//   g², w -= step_size m / (sqrt(v) / bias_correction2_sqrt + epsilon),  average += average_weight (w - average)
// The gradient is left clipped. `count` is a multiple of 4.
void adam_and_average(const AdamStep& step, const UpdateReport* report, int64_t count, float* gradient, float* weights,
                      float* exp_avg, float* exp_avg_sq, float* average, Stream stream);

}  // namespace ddpm::cuda
