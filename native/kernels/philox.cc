#include "kernels/philox.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace ddpm {
namespace {

// The centre of the r-th of 2^32 equal parts of (0, 1): never 0, so its logarithm is finite.
float open_unit(uint32_t r) { return (static_cast<float>(r) + 0.5f) * 0x1p-32f; }

// Calls put(index, numbers, how many) for each block of four that covers n numbers.
template <class Put>
void for_each_block(const RandomStream& stream, int64_t n, Put put) {
  for (int64_t i = 0; i < n; i += 4) {
    put(i, philox4x32(stream, static_cast<uint32_t>(i / 4)), std::min<int64_t>(4, n - i));
  }
}

}  // namespace

void fill_normal(const RandomStream& stream, float* out, int64_t n) {
  for_each_block(stream, n, [out](int64_t i, const Random4& random, int64_t count) {
    float z[4];
    for (int pair = 0; pair < 4; pair += 2) {  // Box and Muller 1958
      const float radius = std::sqrt(-2.0f * std::log(open_unit(random.v[pair])));
      const float angle = 2.0f * std::numbers::pi_v<float> * open_unit(random.v[pair + 1]);
      z[pair] = radius * std::cos(angle);
      z[pair + 1] = radius * std::sin(angle);
    }
    std::copy_n(z, count, out + i);
  });
}

void fill_uniform(const RandomStream& stream, float* out, int64_t n, float low, float high) {
  for_each_block(stream, n, [=](int64_t i, const Random4& random, int64_t count) {
    for (int64_t k = 0; k < count; ++k) {
      out[i + k] = low + (high - low) * (static_cast<float>(random.v[k] >> 8) * 0x1p-24f);
    }
  });
}

void fill_dropout_mask(const RandomStream& stream, float* out, int64_t n, double probability) {
  const auto [threshold, scale] = dropout_rule(probability);
  for_each_block(stream, n, [=, threshold = threshold, scale = scale](int64_t i, const Random4& random, int64_t count) {
    for (int64_t k = 0; k < count; ++k) out[i + k] = random.v[k] < threshold ? scale : 0.0f;
  });
}

}  // namespace ddpm
