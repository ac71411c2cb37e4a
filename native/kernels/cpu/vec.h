#pragma once

#include <cstdint>
#include <cstring>
#if !defined(__GNUC__)
#include <cmath>
#elif defined(__AVX512BF16__)
#include <immintrin.h>  // nothing in it outlives inlining
#endif

// Vectors of float32 for kernels that are compiled once for each instruction set (see CMakeLists.txt). This file and
// what includes it must stay clear of every other header with inline functions: the linker keeps one copy of each,
// which might be the one for a processor that is not here.

namespace ddpm::cpu {
namespace {  // each instruction set has its own

using BFloat16 = uint16_t;  // the upper half of a float32

#if defined(__GNUC__)

#if defined(__AVX512F__)
constexpr int kWidth = 16;
#elif defined(__AVX2__)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif

using Vec = float __attribute__((vector_size(4 * kWidth), may_alias));
using VecU32 = uint32_t __attribute__((vector_size(4 * kWidth)));
using VecI32 = int32_t __attribute__((vector_size(4 * kWidth)));
using VecU16 = uint16_t __attribute__((vector_size(2 * kWidth)));

inline Vec broadcast(float value) { return value - Vec{}; }

inline Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }

inline Vec load(const BFloat16* p) {
  VecU16 half;
  std::memcpy(&half, p, sizeof half);
  return reinterpret_cast<Vec>(__builtin_convertvector(half, VecU32) << 16);
}
// Rounds to nearest, ties to even; NaN stays NaN.
inline void store(BFloat16* p, Vec v) {
#if defined(__AVX512BF16__)
  const __m256bh half = _mm512_cvtneps_pbh(v);
#else
  const auto bits = reinterpret_cast<VecU32>(v);
  const VecU32 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const auto half = __builtin_convertvector((bits & 0x7fffffff) > 0x7f800000 ? VecU32{} + 0x7fc0 : rounded, VecU16);
#endif
  std::memcpy(p, &half, sizeof half);
}

inline Vec sqrt(Vec v) {
  // One at a time in the source, and one instruction in what the compiler makes of it.
  float values[kWidth];
  store(values, v);
  for (int i = 0; i < kWidth; ++i) values[i] = __builtin_sqrtf(values[i]);
  return load(values);
}

// e^x, to 2 units in the last place; infinite where float32 ends, and its smallest normal numbers where they do.
inline Vec exp(Vec x) {
  const Vec low = broadcast(-87.0f), high = broadcast(88.0f);
  const auto above = x > high;
  x = x < low ? low : x;
  x = above ? high : x;
  // x = n ln 2 + r: adding 1.5 * 2^23 rounds to an integer, in the lowest bits.
  const Vec shifted = x * 1.44269504f + 12582912.0f;
  const auto n = reinterpret_cast<VecI32>(shifted) << 23;
  const Vec rounded = shifted - 12582912.0f;
  const Vec r = x - rounded * 0.693359375f + rounded * 2.12194440e-4f;
  Vec p = broadcast(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return above ? broadcast(__builtin_inff()) : reinterpret_cast<Vec>(reinterpret_cast<VecI32>(p) + n);
}

#else  // one element at a time, which the compiler may put together

constexpr int kWidth = 1;
using Vec = float;

inline Vec broadcast(float value) { return value; }
inline Vec load(const float* p) { return *p; }
inline void store(float* p, Vec v) { *p = v; }
inline Vec sqrt(Vec x) { return std::sqrt(x); }
inline Vec exp(Vec x) { return std::exp(x); }
inline Vec load(const BFloat16* p) {
  const uint32_t bits = uint32_t{*p} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline void store(BFloat16* p, Vec v) {
  uint32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  *p = v != v ? 0x7fc0 : static_cast<BFloat16>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

#endif

}  // namespace
}  // namespace ddpm::cpu
