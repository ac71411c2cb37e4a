#pragma once

#include <cstdint>

namespace ddpm {

// What a random stream is drawn for. The values are part of what a seed means: a change changes every picture.
enum class Purpose : uint32_t {
  kInitialWeights = 1,
  kShuffle = 2,
  kTrainingTimestep = 3,
  kTrainingNoise = 4,
  kHorizontalFlip = 5,
  kSamplingNoise = 6,
  kDropout = 0x10000,  // + the index of the layer
};

// Names one stream of random numbers. The generator is counter-based: the n-th number of a stream is a function of
// these fields and n alone, so nothing has to be carried from call to call, saved, or shared between threads, and an
// image gets the same noise whatever batch it is part of.
struct RandomStream {
  uint64_t seed;
  uint32_t purpose;
  uint32_t a;  // what the purpose says: the optimizer update, the image, the parameter, the epoch
  uint32_t b;  // and its second coordinate: the image within the update, the sampler's step

  constexpr RandomStream(uint64_t seed_, Purpose purpose_, uint64_t a_, uint64_t b_ = 0, uint32_t layer = 0)
      : seed(seed_),
        purpose(static_cast<uint32_t>(purpose_) + layer),
        a(static_cast<uint32_t>(a_)),
        b(static_cast<uint32_t>(b_)) {}
};

struct Random4 {
  uint32_t v[4];
};

// Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"): four 32-bit numbers
// from block `block` of a stream. What is constexpr here is called on a device too.
constexpr Random4 philox4x32(const RandomStream& stream, uint32_t block) {
  uint32_t c0 = block, c1 = stream.a, c2 = stream.b, c3 = stream.purpose;
  uint32_t k0 = static_cast<uint32_t>(stream.seed), k1 = static_cast<uint32_t>(stream.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c0;
    const uint64_t p1 = uint64_t{0xCD9E8D57} * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {{c0, c1, c2, c3}};
}

// An integer in [0, bound), from block `block` of the stream; the bias of the multiply-shift is below bound / 2^32.
constexpr uint32_t uniform_below(const RandomStream& stream, uint32_t block, uint32_t bound) {
  return static_cast<uint32_t>((uint64_t{philox4x32(stream, block).v[0]} * bound) >> 32);
}

// Inverted dropout: what has a number below `threshold` is kept, times `scale`.
struct DropoutRule {
  uint64_t threshold;  // 0 to 2^32
  float scale;
};
constexpr DropoutRule dropout_rule(double probability) {
  const auto keep = static_cast<float>(1 - probability);
  return {static_cast<uint64_t>(static_cast<double>(keep) * 0x1p32), 1.0f / keep};
}

// The first n numbers of the stream.
void fill_normal(const RandomStream& stream, float* out, int64_t n);                          // N(0, 1)
void fill_uniform(const RandomStream& stream, float* out, int64_t n, float low, float high);  // U[low, high)
// The mask of inverted dropout: the scale where a value is kept, else 0.
void fill_dropout_mask(const RandomStream& stream, float* out, int64_t n, double probability);

}  // namespace ddpm
