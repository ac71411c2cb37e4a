#pragma once

#include <cstdint>

namespace ddpm {

// Levels to model space, Section 3.3: x = v / 127.5 - 1. One image [H, W, C] -> [C, H, W], mirrored left to right where
// asked.
void levels_to_image(const uint8_t* levels, int64_t height, int64_t width, int64_t channels, bool mirror, float* out);

// Back again, by rounding and clamping. One image [C, H, W] -> [H, W, C]. The values must be finite.
void image_to_levels(const float* image, int64_t height, int64_t width, int64_t channels, uint8_t* out);

}  // namespace ddpm
