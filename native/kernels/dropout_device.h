#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace ddpm {

// Inverted dropout on a CUDA device, with the masks that the CPU has (kernels/cuda/dropout.h). `key`: a cuda::PassKey
// on the device. x [B, C, H, W], float32 or bfloat16; the result is channels-last. Can be differentiated.
at::Tensor dropout_on_device(const at::Tensor& x, double probability, uint32_t layer, uint64_t seed,
                             const at::Tensor& key);

}  // namespace ddpm
