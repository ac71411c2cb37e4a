#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>

// What the kernels' callers ask of tensors.

namespace ddpm {

// The same tensor where it is channels-last already, or undefined.
inline at::Tensor channels_last(const at::Tensor& x) {
  return x.defined() ? x.contiguous(at::MemoryFormat::ChannelsLast) : x;
}

// For torch::autograd::Function::apply(), which takes no undefined tensor.
inline std::optional<at::Tensor> optional(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
}

// Calls work(float{}) or, for bfloat16, work(uint16_t{}): what the kernels are compiled for.
template <class Work>
void with_type(at::ScalarType type, Work work) {
  if (type == at::kBFloat16) {
    work(uint16_t{});
  } else {
    work(float{});
  }
}

}  // namespace ddpm
