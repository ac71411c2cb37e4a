#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/philox.h"

// The numbers of kernels/philox.h, drawn where they are needed: those of the CPU, but for the last bits of the
// logarithm, the sine and the cosine.

namespace ddpm::cuda {

// Numbers [4 block, 4 block + 4) of a stream of N(0, 1).
__device__ inline Floats<4> normals(const RandomStream& stream, uint32_t block) {
  const Random4 random = philox4x32(stream, block);
  Floats<4> z;
#pragma unroll
  for (int pair = 0; pair < 4; pair += 2) {  // Box and Muller 1958
    const float u = (static_cast<float>(random.v[pair]) + 0.5f) * 0x1p-32f;
    const float v = (static_cast<float>(random.v[pair + 1]) + 0.5f) * 0x1p-32f;
    const float radius = sqrtf(-2.0f * logf(u));
    const float angle = 2.0f * 3.14159265358979323846f * v;
    z.v[pair] = radius * cosf(angle);
    z.v[pair + 1] = radius * sinf(angle);
  }
  return z;
}

}  // namespace ddpm::cuda
