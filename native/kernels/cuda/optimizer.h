#pragma once

#include <cstdint>

#include "kernels/adam_step.h"
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

// The update's loss (double, on the device) and the global norm of the gradient, and what follows from them, into
// `report` on the device: whether loss and norm are finite and the norm is at most `largest_norm`, and by what the
// gradient is scaled so that its norm is at most `clip` (0: no clipping). `partial`: memory for kNormBlocks doubles.
constexpr int kNormBlocks = 512;
void judge(const float* gradient, int64_t count, const double* loss, double largest_norm, double clip, double* partial,
           UpdateReport* report, Stream stream);

// AdamStep's formulas in one pass over everything, unless the report says that no update is to be made. The gradient is
// left scaled. `count` is a multiple of 4.
void adam_and_average(const AdamStep& step, const UpdateReport* report, int64_t count, float* gradient, float* weights,
                      float* exp_avg, float* exp_avg_sq, float* average, Stream stream);

}  // namespace ddpm::cuda
