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

// Numbers of one update, those of the CPU's kernel (kernels/cpu/adam_kernels.h).
struct AdamStep {
  float beta1, beta2;
  float rest1, rest2;  // 1 - beta1, 1 - beta2, from float64: float32's difference has few digits where beta is near 1
  float step_size;     // learning rate / (1 - beta1^n)
  float root_scale;    // 1 / sqrt(1 - beta2^n)
  float epsilon;
  float weight_scale;    // 1 - learning rate * weight decay
  float average_weight;  // 1 - decay: what the new weights count for in the average
};

// The update's loss (double, on the device) and the global norm of the gradient, and what follows from them, into
// `report` on the device: whether loss and norm are finite and the norm is at most `largest_norm`, and by what the
// gradient is scaled so that its norm is at most `clip` (0: no clipping). `partial`: memory for kNormBlocks doubles.
constexpr int kNormBlocks = 512;
void judge(const float* gradient, int64_t count, const double* loss, double largest_norm, double clip, double* partial,
           UpdateReport* report, Stream stream);

// Adam (Kingma, Ba 2015) with decoupled weight decay, and the moving average after it, in one pass over everything,
// unless the report says that no update is to be made:
//   g <- gradient_scale g;  m <- beta1 m + rest1 g;  v <- beta2 v + rest2 g²
//   w <- weight_scale w - step_size m / (root_scale sqrt(v) + epsilon);  average <- average + average_weight (w -
//   average)
// The gradient is left clipped. `count` is a multiple of 4.
void adam_and_average(const AdamStep& step, const UpdateReport* report, int64_t count, float* gradient, float* weights,
                      float* exp_avg, float* exp_avg_sq, float* average, Stream stream);

}  // namespace ddpm::cuda
