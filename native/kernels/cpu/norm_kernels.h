#pragma once

#include <cstdint>

// The inner loops of group normalization over channels-last feature maps, for float32 and bfloat16 (its bits in a
// uint16_t). All arrays of channels are float32. A kernel works on `pixels` consecutive pixels of one image; a map that
// is part of a wider one (two maps side by side) has the wider one's channels from one pixel to the next.

namespace ddpm::cpu {

template <class T>
struct NormKernels {
  // sum += Σ (x - origin) and square += Σ (x - origin)² for each channel.
  void (*moments)(const T* x, int64_t pixels, int64_t channels, const float* origin, float* sum, float* square);

  // y = f(scale (x - origin) + shift), f being SiLU or the identity. `y_pitch`: elements from one pixel of y to the
  // next.
  void (*normalize)(const T* x, int64_t pixels, int64_t channels, const float* origin, const float* scale,
                    const float* shift, bool silu, T* y, int64_t y_pitch);

  // The way back, for g = f'(scale (x - origin) + shift) dy:  sum_g += Σ g  and  sum_gx += Σ g (x - origin)  for each
  // channel.
  void (*gradient_moments)(const T* x, const T* dy, int64_t dy_pitch, int64_t pixels, int64_t channels,
                           const float* origin, const float* scale, const float* shift, bool silu, float* sum_g,
                           float* sum_gx);

  // dx = a g + b (x - origin) + c, and sum_dx += Σ dx for each channel.
  void (*gradient)(const T* x, const T* dy, int64_t dy_pitch, int64_t pixels, int64_t channels, const float* origin,
                   const float* scale, const float* shift, bool silu, const float* a, const float* b, const float* c,
                   T* dx, float* sum_dx);
};

// For the processor at hand.
const NormKernels<float>& norm_kernels(float);
const NormKernels<uint16_t>& norm_kernels(uint16_t);

}  // namespace ddpm::cpu
