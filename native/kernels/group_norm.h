#pragma once

#include <ATen/ATen.h>

#include <utility>

namespace ddpm {

// Group normalization (Wu, He 2018) together with what stands around it in the network, in one pass for the statistics
// and one for the result:
//
//   y = f(GroupNorm(cat(x, skip) + shift)),  f being SiLU or the identity
//
// x [B, C1, H, W] and skip [B, C2, H, W] (undefined: none) are float32 or bfloat16, of one type, which is y's too;
// shift [B, C1 + C2] (undefined: zero), weight and bias [C1 + C2] are float32. All arithmetic is in float32, the
// statistics' sums in float64. Can be differentiated. On the CPU or a CUDA device; y is channels-last.
at::Tensor fused_group_norm(const at::Tensor& x, const at::Tensor& skip, const at::Tensor& shift,
                            const at::Tensor& weight, const at::Tensor& bias, int64_t groups, double epsilon,
                            bool silu);

// The parts that it is made of, for what goes together with it. x and skip are channels-last.

// -> y, and the statistics that the others take
std::pair<at::Tensor, at::Tensor> group_norm_forward(const at::Tensor& x, const at::Tensor& skip,
                                                     const at::Tensor& shift, const at::Tensor& weight,
                                                     const at::Tensor& bias, int64_t groups, double epsilon, bool silu);
// y once more, on the CPU.
at::Tensor group_norm_again(const at::Tensor& x, const at::Tensor& skip, const at::Tensor& statistics, bool silu);

struct NormGradients {
  at::Tensor x, skip, shift, weight, bias;  // skip and shift are undefined where there was none
};
NormGradients group_norm_gradient(const at::Tensor& x, const at::Tensor& skip, bool shifted, const at::Tensor& weight,
                                  const at::Tensor& statistics, const at::Tensor& dy, int64_t groups, bool silu);

}  // namespace ddpm
