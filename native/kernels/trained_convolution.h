#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>

namespace ddpm {

// The 3x3 convolutions of a network that is trained on the CPU, with stride 1 and padding 1, and with what stands
// before them. They compute in x's type, float32 or bfloat16, with float32 weights [out, in, 3, 3] and bias [out]; y is
// channels-last. `added`, undefined or of y's shape, is added to y.

// conv(x) + added
at::Tensor trained_convolution(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                               const at::Tensor& added);

struct NormBefore {
  at::Tensor weight, bias;  // [channels]
  int64_t groups;
  double epsilon;
};

// Inverted dropout of a layer, whose mask is a function of these, the image and the layer (kernels/philox.h).
struct DropoutBefore {
  double probability;
  uint32_t layer;
  uint64_t seed, update, first_image;
};

// conv(dropout(SiLU(GroupNorm(cat(x, skip) + shift)))) + added, where skip and shift may be undefined. What the
// convolution reads is not kept for the way back but computed once more: half of what a network keeps otherwise.
at::Tensor normalized_convolution(const at::Tensor& x, const at::Tensor& skip, const at::Tensor& shift,
                                  const NormBefore& norm, const std::optional<DropoutBefore>& dropout,
                                  const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& added);

}  // namespace ddpm
