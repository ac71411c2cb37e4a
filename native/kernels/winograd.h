#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace ddpm {

// 3x3 convolutions with stride 1 and padding 1 in 16 products a pair of channels and 2x2 results instead of 36 (see
// kernels/cpu/winograd_kernels.h), on the CPU. In bfloat16 an output is some 1.8 times as far from float32's as a
// direct convolution's, as its transformed pixels and weights are rounded; over a network the two are alike.

// Whether such a convolution of maps of height x width is computed that way, and faster: its weights are [out, in, 3,
// 3].
bool winograd_fits(const at::Tensor& weight, int64_t stride, int64_t padding, int64_t height, int64_t width,
                   at::ScalarType type);

// The weights, transformed, in `type`: [16, out, in], though not in that order within a position; `transposed`: those
// of the convolution that is the way back.
at::Tensor winograd_weights(const at::Tensor& weight, at::ScalarType type, bool transposed = false);

// conv(x) + bias + added, of x's type. x [B, in, H, W]; bias float32 [out] or undefined; added [B, out, H, W] or
// undefined.
at::Tensor winograd_convolution(const at::Tensor& x, const at::Tensor& weights, const at::Tensor& bias,
                                const at::Tensor& added);

}  // namespace ddpm
