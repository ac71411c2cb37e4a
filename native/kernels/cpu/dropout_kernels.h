#pragma once

#include <cstdint>

// Inverted dropout, for float32 and bfloat16 (its bits in a uint16_t).

namespace ddpm::cpu {

// A stream of random numbers (RandomStream in kernels/philox.h).
struct DropoutStream {
  uint64_t seed;
  uint32_t purpose, a, b;
};

template <class T>
struct DropoutKernels {
  // values[i] *= scale where the i-th number of the stream is at most `last`, else 0: the mask that fill_dropout_mask()
  // in kernels/philox.h draws, for a 1 / keep of `scale`.
  void (*drop)(const DropoutStream& stream, uint32_t last, float scale, T* values, int64_t count);
};

// For the processor at hand.
const DropoutKernels<float>& dropout_kernels(float);
const DropoutKernels<uint16_t>& dropout_kernels(uint16_t);

}  // namespace ddpm::cpu
