// Every kernel of native/kernels/cuda against formulas in float64, run on the CPU. A line for each check: its name, the
// largest error by the largest value, and the bound; the exit code is 1 where one is beyond it.
#include <cuda_bf16.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/cuda/dropout.h"
#include "kernels/cuda/group_norm.h"
#include "kernels/cuda/images.h"
#include "kernels/cuda/optimizer.h"
#include "kernels/cuda/sampler_step.h"
#include "kernels/philox.h"

namespace ddpm::cuda {
namespace {

bool wrong = false;

void report(const std::string& name, double error, double bound) {
  const bool met = error <= bound;  // not NaN
  std::printf("%s %s %.3g %.3g\n", met ? "ok" : "WRONG", name.c_str(), error, bound);
  wrong |= !met;
}

// Memory of a device: what lies around it is NaN to those that read it, and must not be written to.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t count)
      : count_(count), bytes_(2 * kGuard + count * static_cast<int64_t>(sizeof(T)), kPoison) {}
  ~Buffer() {
    for (int64_t i = 0; i < kGuard; ++i) {
      if (bytes_[static_cast<size_t>(i)] != kPoison || bytes_[bytes_.size() - 1 - static_cast<size_t>(i)] != kPoison) {
        report("memory around a buffer", 1, 0);
        return;
      }
    }
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() { return reinterpret_cast<T*>(bytes_.data() + kGuard); }
  T& operator[](int64_t i) { return data()[i]; }
  int64_t size() const { return count_; }

 private:
  static constexpr int64_t kGuard = 4096;
  static constexpr uint8_t kPoison = 0xff;  // NaN in every type
  int64_t count_;
  std::vector<uint8_t> bytes_;
};

float value_of(float x) { return x; }
float value_of(__nv_bfloat16 x) { return __bfloat162float(x); }
void put(float& to, double value) { to = static_cast<float>(value); }
void put(__nv_bfloat16& to, double value) { to = __float2bfloat16(static_cast<float>(value)); }

// Numbers of N(0, 1).
template <class T>
void fill(Buffer<T>& buffer, uint64_t seed, double scale = 1, double offset = 0) {
  std::vector<float> z(static_cast<size_t>(buffer.size()));
  fill_normal(RandomStream(seed, Purpose::kInitialWeights, 1), z.data(), buffer.size());
  for (int64_t i = 0; i < buffer.size(); ++i) put(buffer[i], scale * z[static_cast<size_t>(i)] + offset);
}

struct Errors {
  double largest_error = 0, largest_value = 0;

  void add(double got, double expected) {
    const double error = std::abs(got - expected);
    largest_error = error <= largest_error ? largest_error : error;  // NaN stays
    largest_value = std::max(largest_value, std::abs(expected));
  }
  double relative() const { return largest_error / std::max(largest_value, 1e-30); }
};

template <class T>
void check_dropout(const std::string& type) {
  constexpr int64_t images = 3, elements = 4 * 70 + 3;
  constexpr double probability = 0.3;
  Buffer<T> x(images * elements), y(images * elements);
  fill(x, 1);
  Buffer<PassKey> key(1);
  key[0] = {17, 5};
  dropout(x.data(), std::is_same_v<T, __nv_bfloat16>, images, elements, probability, 99, 2, key.data(), y.data(),
          nullptr);
  Errors errors;
  for (int64_t image = 0; image < images; ++image) {
    std::vector<float> mask(elements);
    fill_dropout_mask(RandomStream(99, Purpose::kDropout, 17, static_cast<uint64_t>(5 + image), 2), mask.data(),
                      elements, probability);
    for (int64_t i = 0; i < elements; ++i) {
      const int64_t place = image * elements + i;
      errors.add(value_of(y[place]), static_cast<double>(value_of(x[place])) * mask[static_cast<size_t>(i)]);
    }
  }
  report("dropout " + type, errors.relative(), std::is_same_v<T, float> ? 1e-7 : 4e-3);
}

struct NormCase {
  int64_t images, pixels, first, second, groups;
  bool shifted, silu;
  double offset;
};

// The formulas of group normalization and its gradient, value by value.
template <class T>
void check_norm(const NormCase& at, const std::string& type) {
  const auto [images, pixels, first, second, groups, shifted, silu, offset] = at;
  const NormShape shape{images, pixels, {first, second}, groups};
  const int64_t channels = first + second, size = channels / groups, all = images * pixels;
  const double epsilon = 1e-6;
  constexpr bool half = std::is_same_v<T, __nv_bfloat16>;
  Buffer<T> x(all * first), skip(std::max<int64_t>(all * second, 1)), dy(all * channels), y(all * channels);
  Buffer<T> dx(all * first), dskip(std::max<int64_t>(all * second, 1));
  fill(x, 2, 1.5, offset);
  fill(skip, 3, 0.7, offset);
  fill(dy, 4);
  const int64_t pitch = channels + 8;
  Buffer<float> shift(images * pitch), weight(channels), bias(channels);
  fill(shift, 5);
  fill(weight, 6, 0.3, 1);
  fill(bias, 7, 0.3);
  Buffer<float> sums(norm_sums(shape)), statistics(int64_t{kNormRows} * images * channels);
  Buffer<double> totals(images * 2 * channels);
  Buffer<float> coefficients(3 * images * channels), d_shift(images * channels), d_weight(channels), d_bias(channels);
  const NormMaps maps{x.data(), second > 0 ? skip.data() : nullptr, half};
  group_norm(shape, maps, shifted ? shift.data() : nullptr, pitch, weight.data(), bias.data(), epsilon, silu,
             {sums.data(), totals.data()}, statistics.data(), y.data(), nullptr);
  group_norm_gradient(shape, maps, dy.data(), weight.data(), silu, statistics.data(), {sums.data(), totals.data()},
                      coefficients.data(), {dx.data(), second > 0 ? dskip.data() : nullptr, half},
                      shifted ? d_shift.data() : nullptr, d_weight.data(), d_bias.data(), nullptr);

  const auto input = [&](int64_t pixel, int64_t c) -> double {
    const double value = c < first ? value_of(x[pixel * first + c]) : value_of(skip[pixel * second + c - first]);
    return value + (shifted ? shift[pixel / pixels * pitch + c] : 0.0);
  };
  Errors output, by_input, by_shift, by_weight, by_bias;
  std::vector<double> weights(static_cast<size_t>(channels)), biases(static_cast<size_t>(channels));
  for (int64_t image = 0; image < images; ++image) {
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t begin = group * size, n = pixels * size;
      const auto each = [&](auto f) {
        for (int64_t p = image * pixels; p < (image + 1) * pixels; ++p) {
          for (int64_t c = begin; c < begin + size; ++c) f(p, c);
        }
      };
      double mean = 0, variance = 0;
      each([&](int64_t p, int64_t c) { mean += input(p, c) / static_cast<double>(n); });
      each([&](int64_t p, int64_t c) { variance += std::pow(input(p, c) - mean, 2) / static_cast<double>(n); });
      const double rstd = 1 / std::sqrt(variance + epsilon);
      const auto hat = [&](int64_t p, int64_t c) { return (input(p, c) - mean) * rstd; };
      const auto g = [&](int64_t p, int64_t c) {
        const double v = weight[c] * hat(p, c) + bias[c], s = 1 / (1 + std::exp(-v));
        return value_of(dy[p * channels + c]) * (silu ? s * (1 + v * (1 - s)) : 1.0);
      };
      double mean_g = 0, mean_gx = 0;
      each([&](int64_t p, int64_t c) {
        const double v = weight[c] * hat(p, c) + bias[c];
        output.add(value_of(y[p * channels + c]), silu ? v / (1 + std::exp(-v)) : v);
        mean_g += weight[c] * g(p, c) / static_cast<double>(n);
        mean_gx += weight[c] * g(p, c) * hat(p, c) / static_cast<double>(n);
        weights[static_cast<size_t>(c)] += g(p, c) * hat(p, c);
        biases[static_cast<size_t>(c)] += g(p, c);
      });
      std::vector<double> shifts(static_cast<size_t>(size));
      each([&](int64_t p, int64_t c) {
        const double expected = rstd * (weight[c] * g(p, c) - mean_g - hat(p, c) * mean_gx);
        by_input.add(c < first ? value_of(dx[p * first + c]) : value_of(dskip[p * second + c - first]), expected);
        shifts[static_cast<size_t>(c - begin)] += expected;
      });
      for (int64_t c = begin; shifted && c < begin + size; ++c) {
        by_shift.add(d_shift[image * channels + c], shifts[static_cast<size_t>(c - begin)]);
      }
    }
  }
  for (int64_t c = 0; c < channels; ++c) {
    by_weight.add(d_weight[c], weights[static_cast<size_t>(c)]);
    by_bias.add(d_bias[c], biases[static_cast<size_t>(c)]);
  }
  const std::string name = "group norm " + type + " " + std::to_string(images) + "x" + std::to_string(pixels) + " " +
                           std::to_string(first) + "+" + std::to_string(second) + " channels, " +
                           std::to_string(groups) + " groups" + (offset != 0 ? ", far from zero" : "") + ": ";
  // Far from zero bfloat16 itself has few digits left; the maps are compared as they were rounded.
  const double bound = half ? 8e-3 : 2e-5;
  report(name + "output", output.relative(), bound);
  report(name + "gradient by the input", by_input.relative(), bound);
  // A shift that is the same for a whole group of one channel changes nothing.
  if (shifted && size > 1) report(name + "gradient by the shift", by_shift.relative(), 1e-4);
  report(name + "gradient by the weight", by_weight.relative(), 1e-4);
  report(name + "gradient by the bias", by_bias.relative(), 1e-4);
}

void check_noised_images() {
  constexpr int64_t images = 3, channels = 3, height = 5, width = 7, plane = height * width;
  constexpr int64_t elements = channels * plane;
  Buffer<uint8_t> levels(images * elements);
  for (int64_t i = 0; i < levels.size(); ++i) levels[i] = static_cast<uint8_t>(37 * i);
  Buffer<NoisedImage> plan(images);
  for (int64_t i = 0; i < images; ++i) {
    plan[i] = {0.9f - 0.2f * static_cast<float>(i), 0.1f + 0.3f * static_cast<float>(i), static_cast<uint32_t>(11 + i),
               static_cast<uint32_t>(i % 2)};
  }
  Buffer<float> x_t(images * elements), eps(images * elements);
  noised_images({images, channels, height, width}, levels.data(), plan.data(), 7, 8, x_t.data(), eps.data(), nullptr);
  Errors noise, noised;
  for (int64_t image = 0; image < images; ++image) {
    std::vector<float> z(elements);
    fill_normal(RandomStream(7, Purpose::kTrainingNoise, 8, plan[image].image), z.data(), elements);
    for (int64_t i = 0; i < elements; ++i) {
      const int64_t c = i / plane, row = i % plane / width, column = i % width;
      const int64_t from = plan[image].mirror != 0 ? width - 1 - column : column;
      const double x_0 = levels[(image * plane + row * width + from) * channels + c] / 127.5 - 1;
      const double e = z[static_cast<size_t>(i)];
      noise.add(eps[image * elements + i], e);
      noised.add(x_t[image * elements + i], plan[image].signal * x_0 + plan[image].noise * e);
    }
  }
  report("noise of training", noise.relative(), 1e-6);
  report("noised images", noised.relative(), 1e-6);
}

void check_levels() {
  constexpr int64_t images = 3, channels = 2, height = 3, width = 5, plane = height * width;
  Buffer<float> x(images * channels * plane);
  fill(x, 9);
  x[5] = std::numeric_limits<float>::infinity();
  x[2 * channels * plane + 1] = std::numeric_limits<float>::quiet_NaN();
  Buffer<uint8_t> levels(images * channels * plane), finite(images);
  for (int64_t i = 0; i < images; ++i) finite[i] = 1;
  images_to_levels({images, channels, height, width}, x.data(), levels.data(), finite.data(), nullptr);
  double differing = std::abs(finite[0] - 0) + std::abs(finite[1] - 1) + std::abs(finite[2] - 0);
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t image = i / (channels * plane), c = i / plane % channels, pixel = i % plane;
    if (!std::isfinite(x[i])) continue;
    const double level = std::min(255.0, std::max(0.0, std::round((x[i] + 1.0) * 127.5)));
    differing += std::abs(levels[(image * plane + pixel) * channels + c] - level);
  }
  report("levels", differing, 0);
}

void check_update(int64_t count, double clip, double largest_norm, double loss, float bad, Verdict expected) {
  Buffer<float> g(count), w(count), m(count), v(count), average(count);
  fill(g, 20, 2);
  fill(w, 21);
  fill(m, 22, 0.1);
  fill(v, 23, 0.1);
  fill(average, 24);
  for (int64_t i = 0; i < count; ++i) v[i] = std::abs(v[i]);
  if (bad != 0) g[count / 2] = bad;
  std::vector<double> before[5];
  for (Buffer<float>* buffer : {&g, &w, &m, &v, &average}) {
    before[buffer == &g   ? 0
           : buffer == &w ? 1
           : buffer == &m ? 2
           : buffer == &v ? 3
                          : 4]
        .assign(buffer->data(), buffer->data() + count);
  }
  Buffer<double> losses(1), partial(kNormBlocks);
  losses[0] = loss;
  Buffer<UpdateReport> told(1);
  const AdamStep step{0.9f, 0.999f, 0.1f, 0.001f, 0.01f, 1.5f, 1e-8f, 0.99f, 0.3f};
  judge(g.data(), count, losses.data(), largest_norm, clip, partial.data(), told.data(), nullptr);
  adam_and_average(step, told.data(), count, g.data(), w.data(), m.data(), v.data(), average.data(), nullptr);
  double norm = 0;
  for (const double value : before[0]) norm += value * value;
  norm = std::sqrt(norm);
  const std::string name =
      "update of " + std::to_string(count) + ", verdict " + std::to_string(static_cast<int>(expected));
  report(name + ": the verdict", told[0].verdict == expected ? 0 : 1, 0);
  if (std::isfinite(norm)) report(name + ": the norm", std::abs(told[0].gradient_norm - norm) / norm, 1e-12);
  const bool made = expected == Verdict::kMade;
  const double scale = made && clip > 0 && norm > clip ? static_cast<float>(clip / (norm + 1e-6)) : 1.0;
  Errors weights, first, second, averages;
  for (int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    double mm = before[2][at], vv = before[3][at], ww = before[1][at], aa = before[4][at];
    if (made) {
      const double gg = scale * before[0][at];
      mm = mm * step.beta1 + gg * step.rest1;
      vv = vv * step.beta2 + gg * gg * step.rest2;
      ww = ww * step.weight_scale - step.step_size * mm / (std::sqrt(vv) * step.root_scale + step.epsilon);
      aa += step.ema_share * (ww - aa);
    }
    weights.add(w[i], ww);
    first.add(m[i], mm);
    second.add(v[i], vv);
    averages.add(average[i], aa);
  }
  const double bound = made ? 1e-6 : 0;
  report(name + ": weights", weights.relative(), bound);
  report(name + ": first moment", first.relative(), bound);
  report(name + ": second moment", second.relative(), bound);
  report(name + ": average", averages.relative(), bound);
}

void check_sampler(bool clip) {
  constexpr int64_t images = 3, elements = 4 * 30 + 1;
  Buffer<float> x(images * elements), eps(images * elements), prev(images * elements);
  fill(x, 30, 1.3);
  fill(eps, 31);
  Buffer<SamplerCoefficients> steps(images);
  for (int64_t i = 0; i < images; ++i) {
    const auto k = static_cast<float>(i + 1);
    steps[i] = {0.8f * k,
                -0.3f * k,
                0.5f,
                0.2f * k,
                0.1f,
                i == 1 ? 0.0f : 0.4f,
                static_cast<uint64_t>(50 + i),
                static_cast<uint32_t>(7 * i),
                static_cast<uint32_t>(3 + i)};
  }
  sampler_step(steps.data(), images, elements, x.data(), eps.data(), clip, prev.data(), nullptr);
  Errors errors;
  for (int64_t image = 0; image < images; ++image) {
    const SamplerCoefficients& k = steps[image];
    std::vector<float> z(elements);
    fill_normal(RandomStream(k.seed, Purpose::kSamplingNoise, k.image, k.position), z.data(), elements);
    for (int64_t i = 0; i < elements; ++i) {
      const int64_t place = image * elements + i;
      double x_0 = static_cast<double>(k.x0_from_x) * x[place] + static_cast<double>(k.x0_from_eps) * eps[place];
      if (clip) x_0 = std::min(1.0, std::max(-1.0, x_0));
      errors.add(prev[place], k.prev_from_x0 * x_0 + static_cast<double>(k.prev_from_x) * x[place] +
                                  static_cast<double>(k.prev_from_eps) * eps[place] +
                                  static_cast<double>(k.sigma) * z[static_cast<size_t>(i)]);
    }
  }
  report(std::string("sampler step") + (clip ? ", clipped" : ""), errors.relative(), 1e-6);
}

void check_sampling_noise() {
  constexpr int64_t images = 3, elements = 4 * 20 + 2;
  Buffer<float> out(images * elements);
  sampling_noise(77, 5, images, elements, out.data(), nullptr);
  Errors errors;
  for (int64_t image = 0; image < images; ++image) {
    std::vector<float> z(elements);
    fill_normal(RandomStream(77, Purpose::kSamplingNoise, static_cast<uint64_t>(5 + image)), z.data(), elements);
    for (int64_t i = 0; i < elements; ++i) errors.add(out[image * elements + i], z[static_cast<size_t>(i)]);
  }
  report("noise of sampling", errors.relative(), 1e-6);
}

}  // namespace
}  // namespace ddpm::cuda

// The checks of the kernels named: dropout, norm, images, update, sampler; all without a name.
int main(int count, char** names) {
  using namespace ddpm::cuda;
  const auto asked = [&](const char* name) { return count < 2 || std::string(names[1]) == name; };
  if (asked("dropout")) {
    check_dropout<float>("float32");
    check_dropout<__nv_bfloat16>("bfloat16");
  }
  for (const NormCase& at : {
           NormCase{2, 300, 32, 0, 8, true, true, 0},    // packs, pieces of which the last is not full
           NormCase{3, 20, 16, 24, 5, true, true, 0},    // groups that lie across two maps
           NormCase{2, 130, 6, 3, 3, false, true, 0},    // channels one by one
           NormCase{5, 7, 40, 0, 40, true, false, 0},    // groups of one channel; no activation
           NormCase{1, 257, 8, 8, 2, true, true, 1000},  // far from zero
           NormCase{2, 1, 64, 0, 4, false, true, 0},     // one pixel
           NormCase{1, 2200, 40, 0, 1, true, true, 0},   // work for all lanes: 18 pieces, 40 channels in a group
       }) {
    if (!asked("norm")) break;
    check_norm<float>(at, "float32");
    if (at.offset == 0) check_norm<__nv_bfloat16>(at, "bfloat16");
  }
  if (asked("images")) {
    check_noised_images();
    check_levels();
  }
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (asked("update")) {
    check_update(4 * 700, 1, 1e30, 0.5, 0, Verdict::kMade);
    check_update(4 * 3, 0, 1e30, 0.5, 0, Verdict::kMade);
    check_update(4 * 700, 1, 1e30, kInfinity, 0, Verdict::kLossNotFinite);
    check_update(4 * 700, 1, 1e30, 0.5, kInfinity, Verdict::kGradientNotFinite);
    check_update(4 * 700, 1, 1, 0.5, 0, Verdict::kTooLarge);
  }
  if (asked("sampler")) {
    check_sampler(false);
    check_sampler(true);
    check_sampling_noise();
  }
  return wrong ? 1 : 0;
}
