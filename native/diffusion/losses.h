#pragma once

#include <ATen/ATen.h>

namespace ddpm {

// L_simple, Equation 14, of each image: the mean over its elements of the squared error of eps. [n, C, H, W] -> [n]
at::Tensor simple_loss(const at::Tensor& predicted_eps, const at::Tensor& eps);

}  // namespace ddpm
