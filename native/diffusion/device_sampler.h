#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "diffusion/samplers.h"

namespace ddpm {

// What the sampler does besides the network's calls, on a CUDA device: what samplers.h, kernels/philox.h and
// diffusion/pixels.h have, one kernel each. Images are float32 and contiguous.

// Names the noise of one step of one image: Purpose::kSamplingNoise.
struct NoiseKey {
  uint64_t seed;
  uint32_t image;
  uint32_t position;  // of the step in the plan, counted from 1
};

// sampler_step() with the noise that the keys name; one step and one key an image. [n, C, H, W]
at::Tensor sampler_step_on_device(const std::vector<SamplerStep>& steps, const std::vector<NoiseKey>& keys,
                                  const at::Tensor& x, const at::Tensor& eps, bool clip);

// x_T of an image of a request: [1, C, H, W]
at::Tensor sampling_noise_on_device(uint64_t seed, int64_t image, at::IntArrayRef shape, at::Device device);

// Finished images, brought to the CPU by one copy.
struct Levels {
  at::Tensor levels;  // [n, H, W, C] uint8
  at::Tensor finite;  // [n] uint8: 0 where an image holds NaN or infinite values
};
Levels levels_from_device(const at::Tensor& images);  // [n, C, H, W]

}  // namespace ddpm
