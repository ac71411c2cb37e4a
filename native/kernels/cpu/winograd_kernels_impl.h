#pragma once

#include "kernels/cpu/columns.h"
#include "kernels/cpu/vec.h"
#include "kernels/cpu/winograd_kernels.h"

namespace ddpm::cpu {
namespace {

// Registers: kRows * kVectors sums, the weights of kVectors and one pixel.
#if defined(__AVX512F__)
constexpr int kRows = 6, kVectors = 4;
#else
constexpr int kRows = 6, kVectors = 2;
#endif
constexpr int64_t kBlock = kVectors * kWidth;

// Channels that lie together in the products' operands, and sums over them.
template <class T>
struct Dot;

template <>
struct Dot<float> {
  static constexpr int kDepth = 1;
  using Weights = Vec;
  static Weights weights(const float* p) { return load(p); }
  static Vec pixel(const float* p) { return broadcast(*p); }
  static Vec add(Vec sum, Vec pixel, Weights weights) { return sum + pixel * weights; }
  static void store_weights(float* p, const Vec* u) { store(p, u[0]); }
};

#if defined(__AVX512BF16__)
template <>
struct Dot<BFloat16> {
  static constexpr int kDepth = 2;
  using Weights = __m512i;
  static Weights weights(const BFloat16* p) { return _mm512_loadu_si512(p); }
  static __m512i pixel(const BFloat16* p) {
    int both;
    std::memcpy(&both, p, sizeof both);
    return _mm512_set1_epi32(both);
  }
  static Vec add(Vec sum, __m512i pixel, Weights weights) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(pixel), reinterpret_cast<__m512bh>(weights));
  }
  // Of two channels, pair by pair.
  static void store_weights(BFloat16* p, const Vec* u) {
    BFloat16 halves[2][kWidth];
    store(halves[0], u[0]);
    store(halves[1], u[1]);
    for (int i = 0; i < kWidth; ++i) {
      p[2 * i] = halves[0][i];
      p[2 * i + 1] = halves[1][i];
    }
  }
};
#endif

// sums[r][n] = Σ over k of pixels[r][k] weights[k][n], for R rows and N vectors of n.
template <class T, int R, int N>
void multiply(const T* pixels, int64_t in, const T* weights, float* sums) {
  constexpr int kDepth = Dot<T>::kDepth;
  Vec sum[R][N];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) sum[r][n] = Vec{};
  }
  for (int64_t k = 0; k < in; k += kDepth, weights += kDepth * N * kWidth) {
    typename Dot<T>::Weights w[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) w[n] = Dot<T>::weights(weights + kDepth * n * kWidth);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const auto pixel = Dot<T>::pixel(pixels + r * in + k);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sum[r][n] = Dot<T>::add(sum[r][n], pixel, w[n]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) store(sums + (r * N + n) * kWidth, sum[r][n]);
  }
}

template <class T, int N>
void multiply_rows(const T* pixels, int64_t tiles, int64_t in, const T* weights, float* sums) {
  int64_t row = 0;
  for (; row + kRows <= tiles; row += kRows) {
    multiply<T, kRows, N>(pixels + row * in, in, weights, sums + row * N * kWidth);
  }
  for (; row < tiles; ++row) multiply<T, 1, N>(pixels + row * in, in, weights, sums + row * N * kWidth);
}

template <class T>
void multiply_vectors(int64_t vectors, const T* pixels, int64_t tiles, int64_t in, const T* weights, float* sums) {
  static_assert(kVectors <= 4);
  if (vectors == 1) return multiply_rows<T, 1>(pixels, tiles, in, weights, sums);
  if constexpr (kVectors >= 2) {
    if (vectors == 2) return multiply_rows<T, 2>(pixels, tiles, in, weights, sums);
  }
  if constexpr (kVectors >= 3) {
    if (vectors == 3) return multiply_rows<T, 3>(pixels, tiles, in, weights, sums);
  }
  if constexpr (kVectors >= 4) multiply_rows<T, 4>(pixels, tiles, in, weights, sums);
}

// A tile's place.
struct Place {
  int64_t image, row, column;  // the upper left result's
};
template <class T>
Place place_of(const WinogradConvolution<T>& c, int64_t tile) {
  const int64_t columns = (c.width + 1) / 2, rows = (c.height + 1) / 2;
  return {tile / (rows * columns), 2 * (tile / columns % rows), 2 * (tile % columns)};
}

// Bᵀ d along one side.
inline void transform_pixels(Vec& d0, Vec& d1, Vec& d2, Vec& d3) {
  const Vec first = d0 - d2, second = d1 + d2, third = d2 - d1, fourth = d1 - d3;
  d0 = first;
  d1 = second;
  d2 = third;
  d3 = fourth;
}

// Bᵀ d B of one tile; position p of it goes to `to + p * pitch`.
template <class T>
void transform_tile(const WinogradConvolution<T>& c, const Place& place, const T* zeros, T* to, int64_t pitch) {
  const T* pixels[4][4];
  for (int r = 0; r < 4; ++r) {
    for (int s = 0; s < 4; ++s) {
      const int64_t row = place.row + r - 1, column = place.column + s - 1;
      const bool inside = row >= 0 && row < c.height && column >= 0 && column < c.width;
      pixels[r][s] = inside ? c.x + ((place.image * c.height + row) * c.width + column) * c.in : zeros;
    }
  }
  for (int64_t channel = 0; channel < c.in; channel += kWidth) {
    Vec d[4][4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) d[r][s] = load(pixels[r][s] + channel);
      transform_pixels(d[r][0], d[r][1], d[r][2], d[r][3]);
    }
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) {
      transform_pixels(d[0][s], d[1][s], d[2][s], d[3][s]);
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) store(to + (4 * r + s) * pitch + channel, d[r][s]);
    }
  }
}

// Aᵀ m A of one tile, whose position p is at `sums + p * pitch`, to the results of `vectors` vectors of outputs.
template <class T>
void finish_tile(const WinogradConvolution<T>& c, const Place& place, const float* sums, int64_t pitch,
                 int64_t first_out, int64_t vectors) {
  const int64_t rows = c.height - place.row < 2 ? 1 : 2, columns = c.width - place.column < 2 ? 1 : 2;
  const int64_t corner = ((place.image * c.height + place.row) * c.width + place.column) * c.out + first_out;
  for (int64_t n = 0; n < vectors * kWidth; n += kWidth) {
    Vec half[2][4];
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) {
      const float* m = sums + s * pitch + n;
      const Vec m1 = load(m + 4 * pitch), m2 = load(m + 8 * pitch);
      half[0][s] = load(m) + m1 + m2;
      half[1][s] = m1 - m2 - load(m + 12 * pitch);
    }
    const Vec bias = c.bias != nullptr ? load(c.bias + first_out + n) : Vec{};
    for (int64_t r = 0; r < rows; ++r) {
      const Vec *m = half[r], y[2] = {m[0] + m[1] + m[2] + bias, m[1] - m[2] - m[3] + bias};
      for (int64_t s = 0; s < columns; ++s) {
        const int64_t at = corner + (r * c.width + s) * c.out + n;
        store(c.y + at, c.added != nullptr ? y[s] + load(c.added + at) : y[s]);
      }
    }
  }
}

template <class T>
void convolve(const WinogradConvolution<T>& c, int64_t first_tile, int64_t tiles, int64_t first_out, int64_t last_out,
              void* scratch) {
  auto* sums = static_cast<float*>(scratch);                                        // [position][tile][output]
  auto* pixels = reinterpret_cast<T*>(sums + kWinogradPositions * tiles * kBlock);  // [position][tile][channel]
  T* zeros = pixels + kWinogradPositions * tiles * c.in;
  std::memset(zeros, 0, static_cast<size_t>(c.in) * sizeof(T));
  for (int64_t i = 0; i < tiles; ++i) {
    transform_tile(c, place_of(c, first_tile + i), zeros, pixels + i * c.in, tiles * c.in);
  }
  for (int64_t out = first_out; out < last_out; out += kBlock) {
    const int64_t vectors = (last_out - out < kBlock ? last_out - out : kBlock) / kWidth;
    const int64_t pitch = tiles * vectors * kWidth;
    for (int64_t position = 0; position < kWinogradPositions; ++position) {
      multiply_vectors(vectors, pixels + position * tiles * c.in, tiles, c.in,
                       c.weights + (position * c.out + out) * c.in, sums + position * pitch);
    }
    for (int64_t i = 0; i < tiles; ++i) {
      finish_tile(c, place_of(c, first_tile + i), sums + i * vectors * kWidth, pitch, out, vectors);
    }
  }
}

// G g along one side.
inline void transform_weights(Vec g0, Vec g1, Vec g2, Vec* u) {
  const Vec ends = 0.5f * (g0 + g2), middle = 0.5f * g1;
  u[0] = g0;
  u[1] = ends + middle;
  u[2] = ends - middle;
  u[3] = g2;
}

// G g Gᵀ of a vector of outputs.
inline void transform_kernels(const float* from, int64_t out_pitch, bool turned, Vec (&u)[kWinogradPositions]) {
  Vec g[8], last[8];
  load_columns(from, out_pitch, g);
  load_columns(from + 1, out_pitch, last);  // of which the ninth is used
  if (turned) {
    for (int k = 0; k < 4; ++k) {
      Vec& other = k > 0 ? g[8 - k] : last[7];
      const Vec saved = g[k];
      g[k] = other;
      other = saved;
    }
  }
  Vec half[3][4];  // of each row of g
  transform_weights(g[0], g[1], g[2], half[0]);
  transform_weights(g[3], g[4], g[5], half[1]);
  transform_weights(g[6], g[7], last[7], half[2]);
  for (int s = 0; s < 4; ++s) {
    Vec column[4];
    transform_weights(half[0][s], half[1][s], half[2][s], column);
    for (int r = 0; r < 4; ++r) u[4 * r + s] = column[r];
  }
}

template <class T>
void pack(const float* weight, int64_t out_pitch, int64_t in_pitch, bool turned, int64_t in, int64_t out, int64_t first,
          int64_t last, T* packed) {
  constexpr int kDepth = Dot<T>::kDepth;
  for (int64_t block = first; block < last; block += kBlock) {
    const int64_t outputs = out - block < kBlock ? out - block : kBlock;
    for (int64_t o = 0; o < outputs; o += kWidth) {
      for (int64_t i = 0; i < in; i += kDepth) {
        Vec u[kDepth][kWinogradPositions];
        for (int depth = 0; depth < kDepth; ++depth) {
          transform_kernels(weight + (block + o) * out_pitch + (i + depth) * in_pitch, out_pitch, turned, u[depth]);
        }
        for (int position = 0; position < kWinogradPositions; ++position) {
          Vec pair[kDepth];
          for (int depth = 0; depth < kDepth; ++depth) pair[depth] = u[depth][position];
          Dot<T>::store_weights(packed + (position * out + block) * in + i * outputs + kDepth * o, pair);
        }
      }
    }
  }
}

template <class T>
int64_t scratch_bytes(int64_t tiles, int64_t in) {
  constexpr auto kNumber = static_cast<int64_t>(sizeof(T)), kSum = static_cast<int64_t>(sizeof(float));
  return kWinogradPositions * tiles * (in * kNumber + kBlock * kSum) + in * kNumber;  // and a row of zeros
}

template <class T>
constexpr WinogradKernels<T> winograd() {
  return {kBlock, kRows, pack<T>, convolve<T>, scratch_bytes<T>};
}

}  // namespace
}  // namespace ddpm::cpu
