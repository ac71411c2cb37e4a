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

// How much larger than the variance the sums may be that it is left over from, as on the CPU.
constexpr double kMostCancellation = 256;

// Mean and variance of a group, value after value in float64, by all lanes of its warp: for squares beyond float32, and
// for first pixels that are far from all others. sum[c] becomes the sum of the channel's values, without the shift.
template <class T>
__device__ void moments_in_float64(const Maps<const T>& maps, const float* shift, const Group& group, int pixels,
                                   double* sum, double& mean, double& variance) {
  const int lane = threadIdx.x;
  const double values = static_cast<double>(pixels) * (group.end - group.begin);
  const auto moved = [&](int c) { return shift != nullptr ? static_cast<double>(shift[c]) : 0.0; };
  const auto over_pixels = [&](int c, auto f) {
    double part = 0;
    for (int pixel = lane; pixel < pixels; pixel += kWarp) {
      part += f(static_cast<double>(to_float(*maps.at(int64_t{group.image} * pixels + pixel, c))));
    }
    return warp_sum(part);
  };
  mean = variance = 0;
  for (int c = group.begin; c < group.end; ++c) {
    const double total = over_pixels(c, [](double x) { return x; });
    if (lane == 0) sum[c] = total;
    mean += total + pixels * moved(c);
  }
  mean /= values;
  for (int c = group.begin; c < group.end; ++c) {
    const double off = moved(c) - mean;
    variance += over_pixels(c, [off](double x) { return (x + off) * (x + off); });
  }
  variance /= values;
  __syncwarp();  // the other lanes read the sums
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
  const float* shifts = shift == nullptr ? nullptr : shift + group.image * shift_pitch;
  total_pieces(group, (pixels + kPixelsAPiece - 1) / kPixelsAPiece, channels, sums, totals);
  double* sum = totals + int64_t{group.image} * 2 * channels;
  const double* square = sum + channels;
  const auto moved = [&](int c) { return shifts != nullptr ? static_cast<double>(shifts[c]) : 0.0; };
  const auto first_pixel = [&](int c) { return to_float(*maps.at(int64_t{group.image} * pixels, c)); };

  double part = 0;
  for (int c = group.begin + lane; c < group.end; c += kWarp) part += sum[c] + n * (first_pixel(c) + moved(c));
  double mean = warp_sum(part) / values;
  part = 0;
  double sizes = 0;
  for (int c = group.begin + lane; c < group.end; c += kWarp) {
    const double d = first_pixel(c) + moved(c) - mean, mixed = 2 * d * sum[c];
    part += square[c] + mixed + n * d * d;
    sizes += square[c] + fabs(mixed);
  }
  double variance = warp_sum(part) / values;
  sizes = warp_sum(sizes) / values;
  // The same for all lanes.
  const bool anew = !isfinite(variance) || sizes > kMostCancellation * variance;
  if (anew) moments_in_float64(maps, shifts, group, pixels, sum, mean, variance);
  const double rstd = 1 / sqrt((variance < 0 ? 0 : variance) + epsilon);

  const auto row = [&](NormRow which, int c) -> float& {
    return statistics[(int64_t{which} * images + group.image) * channels + c];
  };
  for (int c = group.begin + lane; c < group.end; c += kWarp) {
    const float origin = anew ? static_cast<float>(mean - moved(c)) : first_pixel(c);
    const double scale = rstd * weight[c], offset = origin + moved(c) - mean;
    row(kScale, c) = static_cast<float>(scale);
    row(kShift, c) = static_cast<float>(bias[c] + offset * scale);
    row(kOrigin, c) = origin;
    row(kOffset, c) = static_cast<float>(offset);
    row(kRstd, c) = static_cast<float>(rstd);
    row(kSum, c) = static_cast<float>(anew ? sum[c] - n * origin : sum[c]);
  }
}

// y = f(scale (x - origin) + shift), a pack of channels a thread.
template <class T, int V>
__global__ void normalize(Maps<const T> maps, int64_t all_pixels, int pixels, const float* origin, const float* scale,
                          const float* shift, bool silu, T* y) {
  const int channels = maps.all_channels(), packs = channels / V;
  const int64_t index = flat_index();
  if (index >= all_pixels * packs) return;
  const int64_t pixel = index / packs;
  const int c = static_cast<int>(index % packs) * V;
  const int64_t place = pixel / pixels * channels + c;
  auto values = load<V>(maps.at(pixel, c));
  const auto o = load<V>(origin + place), a = load<V>(scale + place), b = load<V>(shift + place);
#pragma unroll
  for (int i = 0; i < V; ++i) {
    const float v = a.v[i] * (values.v[i] - o.v[i]) + b.v[i];
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
        maps, all_pixels, pixels, statistics + kOrigin * a_row, statistics + kScale * a_row,
        statistics + kShift * a_row, silu, static_cast<T*>(y));
    check_launch();
  });
}

}  // namespace ddpm::cuda
