#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "diffusion/gaussian_diffusion.h"
#include "training/batch.h"

namespace ddpm {

// What one pass of the network is computed on, on its device.
struct PassInputs {
  at::Tensor x_t, eps;  // [n, C, H, W]
  at::Tensor t;         // [n] int64
  at::Tensor labels;    // [n] int64; undefined for an unconditional model
};

// Lines 2 to 5 of Algorithm 1 for images [first, first + n) of an update. Where the batch has levels, the noise is
// drawn on the CUDA device, and nothing is waited for.
PassInputs pass_inputs(const Batch& batch, int64_t first, uint64_t update, uint64_t seed,
                       const GaussianDiffusion& diffusion, at::Device device);

}  // namespace ddpm
