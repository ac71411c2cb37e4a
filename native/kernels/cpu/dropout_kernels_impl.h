#pragma once

#include "kernels/cpu/dropout_kernels.h"
#include "kernels/cpu/vec.h"

namespace ddpm::cpu {
namespace {

// Blocks of four numbers that are drawn side by side, which is what the compiler makes vectors of.
constexpr int kBlocks = 32;
constexpr int kNumbers = 4 * kBlocks;

// Philox4x32-10 of kBlocks blocks from `first` on; see kernels/philox.h.
inline void draw(const DropoutStream& stream, uint32_t first, uint32_t* numbers) {
  uint32_t c0[kBlocks], c1[kBlocks], c2[kBlocks], c3[kBlocks];
  for (int i = 0; i < kBlocks; ++i) {
    c0[i] = first + static_cast<uint32_t>(i);
    c1[i] = stream.a;
    c2[i] = stream.b;
    c3[i] = stream.purpose;
  }
  uint32_t k0 = static_cast<uint32_t>(stream.seed), k1 = static_cast<uint32_t>(stream.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < kBlocks; ++i) {
      const uint64_t p0 = uint64_t{0xD2511F53} * c0[i];
      const uint64_t p1 = uint64_t{0xCD9E8D57} * c2[i];
      const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1[i] ^ k0;
      const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3[i] ^ k1;
      c1[i] = static_cast<uint32_t>(p1);
      c3[i] = static_cast<uint32_t>(p0);
      c0[i] = n0;
      c2[i] = n2;
    }
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  for (int i = 0; i < kBlocks; ++i) {
    numbers[4 * i] = c0[i];
    numbers[4 * i + 1] = c1[i];
    numbers[4 * i + 2] = c2[i];
    numbers[4 * i + 3] = c3[i];
  }
}

template <class T>
void drop(const DropoutStream& stream, uint64_t threshold, float scale, T* values, int64_t count) {
  const auto last = static_cast<uint32_t>(threshold - 1);  // which 32 bits hold, and vectors compare fast
  if (threshold == 0) scale = 0;                           // where there is none
  uint32_t numbers[kNumbers];
  float factors[kNumbers];
  T rest[kNumbers];
  for (int64_t begin = 0; begin < count; begin += kNumbers) {
    draw(stream, static_cast<uint32_t>(begin / 4), numbers);
    for (int i = 0; i < kNumbers; ++i) factors[i] = numbers[i] <= last ? scale : 0.0f;
    const int64_t here = count - begin < kNumbers ? count - begin : kNumbers;
    T* part = values + begin;
    if (here < kNumbers) {
      std::memset(rest, 0, sizeof rest);
      std::memcpy(rest, part, static_cast<size_t>(here) * sizeof(T));
      part = rest;
    }
    for (int i = 0; i < kNumbers; i += kWidth) store(part + i, load(part + i) * load(factors + i));
    if (here < kNumbers) std::memcpy(values + begin, rest, static_cast<size_t>(here) * sizeof(T));
  }
}

}  // namespace
}  // namespace ddpm::cpu
