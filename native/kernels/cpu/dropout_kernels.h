#pragma once

#include <cstdint>

// Inverted dropout, for float32 and bfloat16 (its bits in a uint16_t).

namespace ddpm::cpu {

// A stream of random numbers (RandomStream in kernels/philox.h).
struct DropoutStream {
  uint64_t seed;
  uint32_t purpose, a, b;
};

// values[i] *= scale where the i-th number of the stream is below `threshold`, else 0: the mask that
// fill_dropout_mask() in kernels/philox.h draws.
template <class T>
using DropoutKernel = void (*)(const DropoutStream& stream, uint64_t threshold, float scale, T* values, int64_t count);

// For the processor at hand.
DropoutKernel<float> dropout_kernel(float);
DropoutKernel<uint16_t> dropout_kernel(uint16_t);

}  // namespace ddpm::cpu
