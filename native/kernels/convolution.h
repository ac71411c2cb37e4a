#pragma once

#include <ATen/ATen.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <cstdint>

namespace ddpm {

// The type in which LibTorch is to convolve x where `type` is asked for: float32 instead of bfloat16 for narrow maps.
//
// At those oneDNN's bfloat16 kernels of stride 2 read memory that nobody wrote, and a NaN in it comes out: forward on
// processors with AMX, where a tall map becomes one column, and in the weight's gradient at a width of 1 on all of
// them. scripts/poison/convolutions.py finds which they are. The bounds here are wider, since such maps are the
// cheapest.
inline at::ScalarType convolution_type(const at::Tensor& x, at::ScalarType type, int64_t stride) {
  const int64_t narrowest = stride == 1 ? 2 : 8;
  return type == at::kBFloat16 && x.is_cpu() && x.size(3) < narrowest ? at::kFloat : type;
}

// LibTorch's convolution, in the type above, autocast or not. `type` is what autocast, or else x, asks for, and the
// result's. Both ways back are of the same type.
inline at::Tensor sound_conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t stride,
                               int64_t padding, at::ScalarType type) {
  const at::ScalarType sound = convolution_type(x, type, stride);
  if (sound == type) return at::conv2d(x, weight, bias, stride, padding);
  const c10::impl::ExcludeDispatchKeyGuard without_autocast(c10::DispatchKey::AutocastCPU);
  const auto typed = [sound](const at::Tensor& tensor) { return tensor.defined() ? tensor.to(sound) : tensor; };
  return at::conv2d(typed(x), typed(weight), typed(bias), stride, padding).to(type);
}

}  // namespace ddpm
