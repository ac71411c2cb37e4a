#pragma once

#include <cstdint>

#include "kernels/cuda/stream.h"

namespace ddpm::cuda {

// A step of a sampler for one image (SamplerStep in diffusion/samplers.h), with the stream that its noise is drawn
// from.
struct SamplerCoefficients {
  float x0_from_x, x0_from_eps;
  float prev_from_x0, prev_from_x, prev_from_eps;
  float sigma;
  uint64_t seed;
  uint32_t image;     // of the request
  uint32_t position;  // in the sampler's plan, counted from 1
};

// x_0 = x0_from_x x + x0_from_eps eps (clipped to [-1, 1] where asked)
// prev = prev_from_x0 x_0 + prev_from_x x + prev_from_eps eps + sigma z
// on images of `elements` values, [C, H, W]; `steps` [images] on the device. prev may be x.
void sampler_step(const SamplerCoefficients* steps, int64_t images, int64_t elements, const float* x, const float* eps,
                  bool clip, float* prev, Stream stream);

// The noise that a request's images begin with: image first + i of the seed at out + i * elements.
void sampling_noise(uint64_t seed, int64_t first, int64_t images, int64_t elements, float* out, Stream stream);

}  // namespace ddpm::cuda
