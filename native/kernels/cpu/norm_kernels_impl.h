#pragma once

// Included once by each file that compiles the kernels for an instruction set: see vec.h for what may be included here.
#include "kernels/cpu/norm_kernels.h"
#include "kernels/cpu/vec.h"

namespace ddpm::cpu {
namespace {

inline Vec silu_of(Vec v) { return v / (exp(-v) + 1.0f); }

// d/dv SiLU(v) = s (1 + v (1 - s)), s being the sigmoid of v.
inline Vec silu_slope(Vec v) {
  const Vec s = broadcast(1.0f) / (exp(-v) + 1.0f);
  return s * (v * (1.0f - s) + 1.0f);
}

// Calls body(c, width) for the channels in vectors, and then tail(c) for those that do not fill one.
template <class Body, class Tail>
inline void over_channels(int64_t channels, Body body, Tail tail) {
  int64_t c = 0;
  for (; c + kWidth <= channels; c += kWidth) body(c);
  if (c < channels) tail(c, static_cast<int>(channels - c));
}

// The last channels, in a vector of their own: what is beyond them is zero, and is not written back.
template <class T>
inline Vec load_part(const T* p, int count) {
  T values[kWidth] = {};
  for (int i = 0; i < count; ++i) values[i] = p[i];
  return load(values);
}
template <class T>
inline void store_part(T* p, Vec v, int count) {
  T values[kWidth];
  store(values, v);
  for (int i = 0; i < count; ++i) p[i] = values[i];
}

// One vector of channels over all pixels: `step(x)` for the values of each.
template <class T>
void moments(const T* x, int64_t pixels, int64_t channels, const float* origin, float* sum, float* square) {
  // Two pixels at a time: the additions of one need not wait for those of the other.
  const auto run = [&](Vec o, auto get, Vec& s, Vec& q) {
    Vec s0{}, s1{}, q0{}, q1{};
    int64_t i = 0;
    for (; i + 2 <= pixels; i += 2) {
      const Vec a = get(i) - o, b = get(i + 1) - o;
      s0 += a;
      s1 += b;
      q0 += a * a;
      q1 += b * b;
    }
    if (i < pixels) {
      const Vec a = get(i) - o;
      s0 += a;
      q0 += a * a;
    }
    s += s0 + s1;
    q += q0 + q1;
  };
  over_channels(
      channels,
      [&](int64_t c) {
        Vec s = load(sum + c), q = load(square + c);
        run(load(origin + c), [&](int64_t i) { return load(x + i * channels + c); }, s, q);
        store(sum + c, s);
        store(square + c, q);
      },
      [&](int64_t c, int n) {
        Vec s = load_part(sum + c, n), q = load_part(square + c, n);
        run(load_part(origin + c, n), [&](int64_t i) { return load_part(x + i * channels + c, n); }, s, q);
        store_part(sum + c, s, n);
        store_part(square + c, q, n);
      });
}

template <class T>
void normalize(const T* x, int64_t pixels, int64_t channels, const float* origin, const float* scale,
               const float* shift, bool silu, T* y, int64_t y_pitch) {
  const auto run = [&](auto f) {
    for (int64_t i = 0; i < pixels; ++i) {
      const T* in = x + i * channels;
      T* out = y + i * y_pitch;
      over_channels(
          channels,
          [&](int64_t c) { store(out + c, f((load(in + c) - load(origin + c)) * load(scale + c) + load(shift + c))); },
          [&](int64_t c, int n) {
            const Vec v = load_part(in + c, n) - load_part(origin + c, n);
            store_part(out + c, f(v * load_part(scale + c, n) + load_part(shift + c, n)), n);
          });
    }
  };
  if (silu) {
    run(silu_of);
  } else {
    run([](Vec v) { return v; });
  }
}

template <class T>
void gradient_moments(const T* x, const T* dy, int64_t dy_pitch, int64_t pixels, int64_t channels, const float* origin,
                      const float* scale, const float* shift, bool silu, float* sum_g, float* sum_gx) {
  const auto run = [&](Vec o, Vec a, Vec b, auto get_x, auto get_dy, Vec& sg, Vec& sgx) {
    for (int64_t i = 0; i < pixels; ++i) {
      const Vec v = get_x(i) - o;
      Vec g = get_dy(i);
      if (silu) g *= silu_slope(v * a + b);
      sg += g;
      sgx += g * v;
    }
  };
  over_channels(
      channels,
      [&](int64_t c) {
        Vec sg = load(sum_g + c), sgx = load(sum_gx + c);
        run(
            load(origin + c), load(scale + c), load(shift + c), [&](int64_t i) { return load(x + i * channels + c); },
            [&](int64_t i) { return load(dy + i * dy_pitch + c); }, sg, sgx);
        store(sum_g + c, sg);
        store(sum_gx + c, sgx);
      },
      [&](int64_t c, int n) {
        Vec sg = load_part(sum_g + c, n), sgx = load_part(sum_gx + c, n);
        run(
            load_part(origin + c, n), load_part(scale + c, n), load_part(shift + c, n),
            [&](int64_t i) { return load_part(x + i * channels + c, n); },
            [&](int64_t i) { return load_part(dy + i * dy_pitch + c, n); }, sg, sgx);
        store_part(sum_g + c, sg, n);
        store_part(sum_gx + c, sgx, n);
      });
}

template <class T>
void gradient(const T* x, const T* dy, int64_t dy_pitch, int64_t pixels, int64_t channels, const float* origin,
              const float* scale, const float* shift, bool silu, const float* a, const float* b, const float* c, T* dx,
              float* sum_dx) {
  for (int64_t i = 0; i < pixels; ++i) {
    const T* in = x + i * channels;
    const T* up = dy + i * dy_pitch;
    T* out = dx + i * channels;
    over_channels(
        channels,
        [&](int64_t k) {
          const Vec v = load(in + k) - load(origin + k);
          Vec g = load(up + k);
          if (silu) g *= silu_slope(v * load(scale + k) + load(shift + k));
          const Vec d = load(a + k) * g + load(b + k) * v + load(c + k);
          store(out + k, d);
          store(sum_dx + k, load(sum_dx + k) + d);
        },
        [&](int64_t k, int n) {
          const Vec v = load_part(in + k, n) - load_part(origin + k, n);
          Vec g = load_part(up + k, n);
          if (silu) g *= silu_slope(v * load_part(scale + k, n) + load_part(shift + k, n));
          const Vec d = load_part(a + k, n) * g + load_part(b + k, n) * v + load_part(c + k, n);
          store_part(out + k, d, n);
          store_part(sum_dx + k, load_part(sum_dx + k, n) + d, n);
        });
  }
}

template <class T>
constexpr NormKernels<T> kernels() {
  return {moments<T>, normalize<T>, gradient_moments<T>, gradient<T>};
}

}  // namespace
}  // namespace ddpm::cpu
