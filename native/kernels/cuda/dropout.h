#pragma once

#include <cstdint>

#include "kernels/cuda/stream.h"

namespace ddpm::cuda {

// Where in its training a pass is: on the device, so that a captured graph can be launched for one pass after another.
struct PassKey {
  uint64_t update;
  uint64_t first_image;  // of the update
};

// Inverted dropout, y = x m with m = 1 / (1 - probability) or, with that probability, 0. The mask is a function of the
// seed, the pass, the image and the layer (fill_dropout_mask in kernels/philox.h), so the way back draws it again: dx =
// dy m. x and y: images of `elements` values, channels-last, float32 or bfloat16.
void dropout(const void* x, bool bfloat16, int64_t images, int64_t elements, double probability, uint64_t seed,
             uint32_t layer, const PassKey* key, void* y, Stream stream);

}  // namespace ddpm::cuda
