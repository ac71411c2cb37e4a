#pragma once

#include <ATen/ATen.h>

namespace ddpm {

// A 3x3 convolution of a map that was made twice as large by nearest neighbour sees at most 2x2 pixels of the small
// map: which ones, and with which sums of weights, depends on whether the result's row and column are even or odd. So
// it is a 2x2 convolution of the small map with four times the channels, in less than half the arithmetic.

// Weights [4 out, in, 2, 2] of that convolution, which is padded by 1, for weights [out, in, 3, 3].
at::Tensor upsampling_weight(const at::Tensor& weight);

// Puts its result [B, 4 out, H + 1, W + 1], channels-last, together: [B, out, 2 H, 2 W].
at::Tensor interleave_phases(const at::Tensor& phases);

}  // namespace ddpm
