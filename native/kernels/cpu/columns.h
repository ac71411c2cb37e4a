#pragma once

#include "kernels/cpu/vec.h"

// Reading a matrix whose rows lie in memory one behind the other as columns: vectors across rows. See vec.h for what
// this file must stay clear of.

namespace ddpm::cpu {
namespace {

#if __has_builtin(__builtin_shufflevector)

using EightFloats = float __attribute__((vector_size(32)));
constexpr int kEights = kWidth / 8;

template <int...>
struct Lanes {};
#if defined(__AVX512F__)
using AllLanes = Lanes<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>;
#else
using AllLanes = Lanes<0, 1, 2, 3, 4, 5, 6, 7>;
#endif

template <int... j>
Vec together(const EightFloats (&row)[kEights], Lanes<j...>) {
  return __builtin_shufflevector(row[0], row[kEights - 1], j...);
}

// In squares of 2 * kDistance rows and elements, two vectors kDistance apart: exchanges the upper right quarter of the
// one with the lower left quarter of the other.
template <int kDistance, int... j>
void exchange(Vec& upper, Vec& lower, Lanes<j...>) {
  const Vec left = __builtin_shufflevector(upper, lower, (j & kDistance ? kWidth + j - kDistance : j)...);
  lower = __builtin_shufflevector(upper, lower, (j & kDistance ? kWidth + j : j + kDistance)...);
  upper = left;
}

template <int kDistance>
void exchange_all(Vec (&rows)[8]) {
#pragma GCC unroll 8
  for (int r = 0; r < 8; ++r) {
    if (!(r & kDistance)) exchange<kDistance>(rows[r], rows[r + kDistance], AllLanes{});
  }
}

// columns[k][n] = from[n * pitch + k]
inline void load_columns(const float* from, int64_t pitch, Vec (&columns)[8]) {
  // Rows r and, where vectors hold sixteen, r + 8 beside it; then each square of eight is turned over its diagonal.
#pragma GCC unroll 8
  for (int r = 0; r < 8; ++r) {
    EightFloats row[kEights];
    for (int i = 0; i < kEights; ++i) std::memcpy(row + i, from + (8 * i + r) * pitch, sizeof *row);
    columns[r] = together(row, AllLanes{});
  }
  exchange_all<1>(columns);
  exchange_all<2>(columns);
  exchange_all<4>(columns);
}

#else  // GCC before 12

inline void load_columns(const float* from, int64_t pitch, Vec (&columns)[8]) {
  for (int k = 0; k < 8; ++k) {
    float column[kWidth];
    for (int n = 0; n < kWidth; ++n) column[n] = from[n * pitch + k];
    columns[k] = load(column);
  }
}

#endif

}  // namespace
}  // namespace ddpm::cpu
