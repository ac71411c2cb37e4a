#pragma once

#include <cstdint>

#include "kernels/cuda/stream.h"

// Group normalization with what stands around it (kernels/group_norm.h), on a CUDA device. Pointers are the device's;
// feature maps are channels-last, float32 or bfloat16, and all else is float32 unless it says otherwise.
//
// A normalization is three kernels on the way there, all of whose threads work on neighbouring channels: the sums of
// each channel over pieces of an image, then the statistics of each group, then the result.

namespace ddpm::cuda {

struct NormShape {
  int64_t images, pixels;
  int64_t channels[2];  // of x and of skip
  int64_t groups;

  int64_t all_channels() const { return channels[0] + channels[1]; }
};

// Maps of one type, x and skip; skip is null where it has no channels.
struct NormMaps {
  void* x;
  void* skip;
  bool bfloat16;
};

// What the way back needs of the way there, for each image and channel; contiguous [kNormRows, images, channels].
enum NormRow {
  kScale,  // y = f(kScale (x - kOrigin) + kShift)
  kShift,
  kOrigin,  // near the channel's values: no digits are lost where these are far from zero
  kOffset,  // what is to be added to x - kOrigin for the distance from the group's mean
  kRstd,    // 1 / sqrt(variance + epsilon)
  kSum,     // the sum of x - kOrigin
  kNormRows
};

// Memory for what one kernel leaves to the next.
struct NormScratch {
  float* sums;     // norm_sums(shape) values
  double* totals;  // [images, 2, channels]
};
int64_t norm_sums(const NormShape& shape);

// y = f(GroupNorm(cat(x, skip) + shift)), f being SiLU or the identity. `shift` may be null; from one image to the next
// it has `shift_pitch` values.
void group_norm(const NormShape& shape, const NormMaps& maps, const float* shift, int64_t shift_pitch,
                const float* weight, const float* bias, double epsilon, bool silu, const NormScratch& scratch,
                float* statistics, void* y, Stream stream);

// The gradients by x, skip, shift [images, channels] (null where there is no shift), weight and bias [channels], from
// dy and the statistics of the way there. `coefficients`: memory for [3, images, channels].
void group_norm_gradient(const NormShape& shape, const NormMaps& maps, const void* dy, const float* weight, bool silu,
                         const float* statistics, const NormScratch& scratch, float* coefficients,
                         const NormMaps& gradients, float* d_shift, float* d_weight, float* d_bias, Stream stream);

}  // namespace ddpm::cuda
