#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <string>

#include "error.h"

// What the kernels have in common: reading and writing several values at once, sums over a warp, and launching.

namespace ddpm::cuda {

constexpr int kBlock = 256;  // threads
constexpr int kWarp = 32;

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ inline void from_float(float& to, float value) { to = value; }
__device__ inline void from_float(__nv_bfloat16& to, float value) { to = __float2bfloat16(value); }

// V values side by side, in float32.
template <int V>
struct Floats {
  float v[V];
};

// As they lie in memory: read and written by one instruction.
template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
  T v[V];
};

template <int V, class T>
__device__ inline Floats<V> load(const T* from) {
  const auto pack = *reinterpret_cast<const Pack<T, V>*>(from);
  Floats<V> values;
#pragma unroll
  for (int i = 0; i < V; ++i) values.v[i] = to_float(pack.v[i]);
  return values;
}

template <int V, class T>
__device__ inline void store(T* to, const Floats<V>& values) {
  Pack<T, V> pack;
#pragma unroll
  for (int i = 0; i < V; ++i) from_float(pack.v[i], values.v[i]);
  *reinterpret_cast<Pack<T, V>*>(to) = pack;
}

// Values of T in 16 bytes, the most that one instruction moves.
template <class T>
constexpr int kWidest = 16 / sizeof(T);

// The sum over the lanes of a warp, the same bits in each of them.
__device__ inline double warp_sum(double value) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

// This thread's place among all of a one-dimensional launch.
__device__ inline int64_t flat_index() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }

inline unsigned blocks_for(int64_t threads, int block = kBlock) {
  return static_cast<unsigned>((threads + block - 1) / block);
}

// After a launch: throws what the launch itself failed with. What goes wrong on the device is told by a later call.
inline void check_launch() {
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess) {
    throw Error("ERR_NATIVE", std::string("A CUDA kernel could not be started: ") + cudaGetErrorString(status));
  }
}

}  // namespace ddpm::cuda
