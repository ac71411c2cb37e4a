#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/group_norm.h"

// What the two ways of group normalization share: where a channel of two maps side by side lies, and the sums of each
// channel over the pixels of an image.

namespace ddpm::cuda {

// Two maps side by side, one of which a pack of channels belongs to.
template <class T>
struct Maps {
  T* data[2];
  int channels[2];

  __host__ __device__ int all_channels() const { return channels[0] + channels[1]; }

  // The place of channel c of a pixel, counted over all images.
  __device__ T* at(int64_t pixel, int c) const {
    return c < channels[0] ? data[0] + pixel * channels[0] + c : data[1] + pixel * channels[1] + (c - channels[0]);
  }
};

template <class T>
Maps<T> maps_of(const NormShape& shape, const NormMaps& maps) {
  return {{static_cast<T*>(maps.x), static_cast<T*>(maps.skip)},
          {static_cast<int>(shape.channels[0]), static_cast<int>(shape.channels[1])}};
}

// Whether packs of V channels of T never span two maps and are aligned.
template <class T, int V>
bool in_packs(const NormShape& shape, std::initializer_list<const void*> pointers) {
  for (const void* pointer : pointers) {
    if (reinterpret_cast<uintptr_t>(pointer) % (sizeof(T) * V) != 0) return false;
  }
  return shape.channels[0] % V == 0 && shape.channels[1] % V == 0;
}

// Calls work(T{}, std::integral_constant<int, V>{}) for the maps' type and the widest packs that fit.
template <class Work>
void with_packs(const NormShape& shape, bool bfloat16, std::initializer_list<const void*> pointers, Work work) {
  const auto choose = [&](auto type) {
    using T = decltype(type);
    if (in_packs<T, kWidest<T>>(shape, pointers)) {
      work(type, std::integral_constant<int, kWidest<T>>{});
    } else {
      work(type, std::integral_constant<int, 1>{});
    }
  };
  if (bfloat16) {
    choose(__nv_bfloat16{});
  } else {
    choose(float{});
  }
}

// An image is cut into this many pieces of the same size, the last one less.
constexpr int kPixelsAPiece = 128;
inline int pieces_of(int64_t pixels) { return static_cast<int>((pixels + kPixelsAPiece - 1) / kPixelsAPiece); }

// Threads of the kernels that sum over pixels: x goes over packs of channels, y over pixels. Both are powers of two.
inline dim3 sum_block(int packs) {
  unsigned x = 1;
  while (x < kWarp && static_cast<int>(x) < packs) x *= 2;
  return {x, kBlock / x};
}
// x goes over the pieces of all images, y over the packs.
inline dim3 sum_grid(const NormShape& shape, int packs, dim3 block) {
  return {static_cast<unsigned>(shape.images * pieces_of(shape.pixels)), (packs + block.x - 1) / block.x};
}

// sums[image][piece][0 or 1][channel] = two sums over the pixels of a piece, for the V channels of each thread:
// add(pixel, c, first, second) adds a pixel's part to float32 sums, of kPixelsAPiece values at most.
template <int V, class Add>
__device__ inline void sum_piece(int pixels, int channels, float* sums, Add add) {
  __shared__ float part[2 * V][kBlock];
  const int pieces = (pixels + kPixelsAPiece - 1) / kPixelsAPiece;
  const int image = blockIdx.x / pieces, begin = blockIdx.x % pieces * kPixelsAPiece;
  const int end = min(begin + kPixelsAPiece, pixels);
  const int c = (blockIdx.y * blockDim.x + threadIdx.x) * V;
  float first[V] = {}, second[V] = {};
  if (c < channels) {
    for (int pixel = begin + threadIdx.y; pixel < end; pixel += blockDim.y) {
      add(image, int64_t{image} * pixels + pixel, c, first, second);
    }
  }
  const int here = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
  for (int i = 0; i < V; ++i) {
    part[i][here] = first[i];
    part[V + i][here] = second[i];
  }
  for (int rows = blockDim.y / 2; rows > 0; rows /= 2) {  // in a fixed order: the same bits every time
    __syncthreads();
    if (threadIdx.y < rows) {
#pragma unroll
      for (int i = 0; i < 2 * V; ++i) part[i][here] += part[i][here + rows * blockDim.x];
    }
  }
  if (threadIdx.y == 0 && c < channels) {  // has made these sums itself
    float* to = sums + int64_t{blockIdx.x} * 2 * channels + c;
#pragma unroll
    for (int i = 0; i < V; ++i) {
      to[i] = part[i][here];
      to[channels + i] = part[V + i][here];
    }
  }
}

// A group of an image, and the warp that works on it. Blocks of the kernels over groups are (kWarp, kGroupsABlock).
constexpr int kGroupsABlock = 4;
struct Group {
  int image;
  int begin, end;  // its channels
  bool exists;

  __device__ Group(int images, int groups, int channels) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
    exists = index < int64_t{images} * groups;
    image = static_cast<int>(index / groups);
    begin = static_cast<int>(index % groups) * (channels / groups);
    end = begin + channels / groups;
  }
};
inline unsigned group_blocks(const NormShape& shape) { return blocks_for(shape.images * shape.groups, kGroupsABlock); }

// totals[image][0 or 1][channel] = the sums of all pieces, for the channels of a group; by all lanes of its warp.
__device__ inline void total_pieces(const Group& group, int pieces, int channels, const float* sums, double* totals) {
  const int lane = threadIdx.x;
  for (int c = group.begin; c < group.end; ++c) {
    double first = 0, second = 0;
    for (int piece = lane; piece < pieces; piece += kWarp) {
      const float* from = sums + (int64_t{group.image} * pieces + piece) * 2 * channels + c;
      first += from[0];
      second += from[channels];
    }
    first = warp_sum(first);
    second = warp_sum(second);
    if (lane == 0) {
      totals[int64_t{group.image} * 2 * channels + c] = first;
      totals[int64_t{group.image} * 2 * channels + channels + c] = second;
    }
  }
  __syncwarp();  // the other lanes read them
}

}  // namespace ddpm::cuda
