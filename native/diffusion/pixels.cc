#include "diffusion/pixels.h"

#include <algorithm>
#include <cmath>

namespace ddpm {

void levels_to_image(const uint8_t* levels, int64_t height, int64_t width, int64_t channels, bool mirror, float* out) {
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        const int64_t from = mirror ? width - 1 - x : x;
        *out++ = static_cast<float>(levels[(y * width + from) * channels + c]) / 127.5f - 1.0f;
      }
    }
  }
}

void image_to_levels(const float* image, int64_t height, int64_t width, int64_t channels, uint8_t* out) {
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < channels; ++c) {
        const float level = std::round((image[(c * height + y) * width + x] + 1.0f) * 127.5f);
        *out++ = static_cast<uint8_t>(std::clamp(level, 0.0f, 255.0f));
      }
    }
  }
}

}  // namespace ddpm
