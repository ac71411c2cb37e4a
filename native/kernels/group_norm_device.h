#pragma once

#include <ATen/ATen.h>

#include <utility>

#include "kernels/group_norm.h"

namespace ddpm {

// Both ways of fused_group_norm() on a CUDA device; maps are channels-last.

// -> y and the statistics that the way back takes
std::pair<at::Tensor, at::Tensor> group_norm_on_device(const at::Tensor& x, const at::Tensor& skip,
                                                       const at::Tensor& shift, const at::Tensor& weight,
                                                       const at::Tensor& bias, int64_t groups, double epsilon,
                                                       bool silu);

NormGradients group_norm_gradient_on_device(const at::Tensor& x, const at::Tensor& skip, bool shifted,
                                            const at::Tensor& weight, const at::Tensor& statistics,
                                            const at::Tensor& dy, int64_t groups, bool silu);

}  // namespace ddpm
