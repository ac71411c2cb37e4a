#pragma once

#include <cstdint>

#include "kernels/cuda/stream.h"

namespace ddpm::cuda {

struct ImageShape {
  int64_t images, channels, height, width;
};

// What one image of a training batch is made with.
struct NoisedImage {
  float signal, noise;  // sqrt(alpha_bar) and sqrt(1 - alpha_bar) of its timestep
  uint32_t image;       // of the update: names the stream of its noise
  uint32_t mirror;      // 1: left to right
};

// Lines 2 to 5 of Algorithm 1 for images given as levels [n, H, W, C]: with x_0 = level / 127.5 - 1 and eps drawn from
// the seed's stream for the update,
//   x_t = signal x_0 + noise eps
// x_t and eps are [n, C, H, W], contiguous. `plan` [n] and the levels are on the device.
void noised_images(const ImageShape& shape, const uint8_t* levels, const NoisedImage* plan, uint64_t seed,
                   uint64_t update, float* x_t, float* eps, Stream stream);

// Back to levels by rounding and clamping: x [n, C, H, W] -> levels [n, H, W, C]. finite[i], which starts at 1, becomes
// 0 where image i holds a NaN or an infinity.
void images_to_levels(const ImageShape& shape, const float* x, uint8_t* levels, uint8_t* finite, Stream stream);

}  // namespace ddpm::cuda
