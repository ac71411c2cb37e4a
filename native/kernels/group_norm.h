#pragma once

#include <ATen/ATen.h>

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

}  // namespace ddpm
