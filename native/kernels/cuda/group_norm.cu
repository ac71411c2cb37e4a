#include <cmath>
#include <initializer_list>
#include <type_traits>

#include "kernels/cuda/group_norm.cuh"

namespace ddpm::cuda {
namespace {

// Σ (x - origin) and Σ (x - origin)² of each channel over a piece of an image.
template <class T, int V>
__global__ void moments(Maps<const T> maps, int pixels, float* sums) {
  sum_piece<V>(pixels, maps.all_channels(), sums, [&](int image, int64_t pixel, int c, float* sum, float* square) {
    const auto origin = load<V>(maps.at(int64_t{image} * pixels, c));
    const auto x = load<V>(maps.at(pixel, c));
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const float d = x.v[i] - origin.v[i];
      sum[i] += d;
      square[i] += d * d;
    }
  });
}

// Mean and variance of a group, value after value in float64: for squares beyond float32.
template <class T>
__device__ void moments_in_float64(const Maps<const T>& maps, const float* shift, const Group& group, int pixels,
                                   double& mean, double& variance) {
  const int width = group.end - group.begin;
  const int64_t values = int64_t{width} * pixels;
  const auto value = [&](int64_t i) {
    const int c = group.begin + static_cast<int>(i % width);
    return static_cast<double>(to_float(*maps.at(int64_t{group.image} * pixels + i / width, c))) +
           (shift != nullptr ? shift[c] : 0.0f);
  };
  double sum = 0;
  for (int64_t i = threadIdx.x; i < values; i += kWarp) sum += value(i);
  mean = warp_sum(sum) / static_cast<double>(values);
  sum = 0;
  for (int64_t i = threadIdx.x; i < values; i += kWarp) sum += (value(i) - mean) * (value(i) - mean);
  variance = warp_sum(sum) / static_cast<double>(values);
}

// The statistics of each group, a warp for each. With d_c = origin + shift - mean and n pixels,
//   mean = Σ_c (Σ(x - origin) + n (origin + shift)) / N,
//   variance = Σ_c (Σ(x - origin)² + 2 d_c Σ(x - origin) + n d_c²) / N.
template <class T>
__global__ void finish(Maps<const T> maps, int images, int pixels, int groups, const float* shift, int64_t shift_pitch,
                       const float* weight, const float* bias, double epsilon, const float* sums, double* totals,
                       float* statistics) {
  const int channels = maps.all_channels();
  const Group group(images, groups, channels);
  if (!group.exists) return;
  const int lane = threadIdx.x;
  const auto n = static_cast<double>(pixels);
  const double values = n * (group.end - group.begin);
  const float* moved = shift == nullptr ? nullptr : shift + group.image * shift_pitch;
  total_pieces(group, (pixels + kPixelsAPiece - 1) / kPixelsAPiece, channels, sums, totals);
  const double* sum = totals + int64_t{group.image} * 2 * channels;
  const double* square = sum + channels;
  const auto origin = [&](int c) { return to_float(*maps.at(int64_t{group.image} * pixels, c)); };
  const auto start = [&](int c) {
    return static_cast<double>(origin(c)) + (moved != nullptr ? static_cast<double>(moved[c]) : 0.0);
  };

  double part = 0;
  for (int c = group.begin + lane; c < group.end; c += kWarp) part += sum[c] + n * start(c);
  double mean = warp_sum(part) / values;
  part = 0;
  for (int c = group.begin + lane; c < group.end; c += kWarp) {
    const double d = start(c) - mean;
    part += square[c] + 2 * d * sum[c] + n * d * d;
  }
  double variance = warp_sum(part) / values;
  if (!isfinite(variance)) moments_in_float64(maps, moved, group, pixels, mean, variance);
  const double rstd = 1 / sqrt((variance < 0 ? 0 : variance) + epsilon);

  const auto row = [&](NormRow which, int c) -> float& {
    return statistics[(int64_t{which} * images + group.image) * channels + c];
  };
  for (int c = group.begin + lane; c < group.end; c += kWarp) {
    const double scale = rstd * weight[c];
    row(kScale, c) = static_cast<float>(scale);
    row(kShift, c) = static_cast<float>(bias[c] + (start(c) - origin(c) - mean) * scale);
    row(kOrigin, c) = origin(c);
    row(kOffset, c) = static_cast<float>(start(c) - mean);
    row(kRstd, c) = static_cast<float>(rstd);
    row(kSum, c) = static_cast<float>(sum[c]);
  }
}

// y = f(scale x + shift), a pack of channels a thread.
template <class T, int V>
__global__ void normalize(Maps<const T> maps, int64_t all_pixels, int pixels, const float* scale, const float* shift,
                          bool silu, T* y) {
  const int channels = maps.all_channels(), packs = channels / V;
  const int64_t index = flat_index();
  if (index >= all_pixels * packs) return;
  const int64_t pixel = index / packs;
  const int c = static_cast<int>(index % packs) * V;
  const int64_t place = pixel / pixels * channels + c;
  auto values = load<V>(maps.at(pixel, c));
  const auto a = load<V>(scale + place), b = load<V>(shift + place);
#pragma unroll
  for (int i = 0; i < V; ++i) {
    const float v = a.v[i] * values.v[i] + b.v[i];
    values.v[i] = silu ? __fdividef(v, 1.0f + __expf(-v)) : v;
  }
  store(y + index * V, values);
}

}  // namespace

int64_t norm_sums(const NormShape& shape) { return shape.images * pieces_of(shape.pixels) * 2 * shape.all_channels(); }

void group_norm(const NormShape& shape, const NormMaps& tensors, const float* shift, int64_t shift_pitch,
                const float* weight, const float* bias, double epsilon, bool silu, const NormScratch& scratch,
                float* statistics, void* y, Stream stream) {
  const int images = static_cast<int>(shape.images), pixels = static_cast<int>(shape.pixels);
  const int64_t a_row = shape.images * shape.all_channels();
  with_packs(shape, tensors.bfloat16, {tensors.x, tensors.skip, y}, [&](auto type, auto width) {
    using T = decltype(type);
    constexpr int V = decltype(width)::value;
    const auto maps = maps_of<const T>(shape, tensors);
    const int packs = maps.all_channels() / V;
    const dim3 block = sum_block(packs);
    moments<T, V><<<sum_grid(shape, packs, block), block, 0, stream>>>(maps, pixels, scratch.sums);
    check_launch();
    finish<T><<<group_blocks(shape), dim3(kWarp, kGroupsABlock), 0, stream>>>(
        maps, images, pixels, static_cast<int>(shape.groups), shift, shift_pitch, weight, bias, epsilon, scratch.sums,
        scratch.totals, statistics);
    check_launch();
    const int64_t all_pixels = shape.images * shape.pixels;
    normalize<T, V><<<blocks_for(all_pixels * packs), kBlock, 0, stream>>>(
        maps, all_pixels, pixels, statistics + kScale * a_row, statistics + kShift * a_row, silu, static_cast<T*>(y));
    check_launch();
  });
}

}  // namespace ddpm::cuda
