#include <initializer_list>
#include <type_traits>

#include "kernels/cuda/group_norm.cuh"

namespace ddpm::cuda {
namespace {

// d/dv SiLU(v) = s (1 + v (1 - s)), s being the sigmoid of v.
__device__ inline float silu_slope(float v) {
  const float s = __fdividef(1.0f, 1.0f + __expf(-v));
  return s * (1.0f + v * (1.0f - s));
}

// The statistics' rows, [images, channels] each.
struct Rows {
  const float *scale, *shift, *origin, *offset, *rstd, *sum;
};
Rows rows_of(const float* statistics, const NormShape& shape) {
  const auto row = [&](NormRow which) { return statistics + which * shape.images * shape.all_channels(); };
  return {row(kScale), row(kShift), row(kOrigin), row(kOffset), row(kRstd), row(kSum)};
}

// x - origin.
template <int V>
__device__ inline Floats<V> from_origin(Floats<V> x, const Rows& rows, int64_t place) {
  const auto origin = load<V>(rows.origin + place);
#pragma unroll
  for (int i = 0; i < V; ++i) x.v[i] -= origin.v[i];
  return x;
}

// g = f'(scale (x - origin) + shift) dy, the gradient by what weight and bias are applied to give.
template <int V>
__device__ inline Floats<V> before_activation(const Floats<V>& x_from_origin, Floats<V> dy, const Rows& rows,
                                              int64_t place, bool silu) {
  if (!silu) return dy;
  const auto a = load<V>(rows.scale + place), b = load<V>(rows.shift + place);
#pragma unroll
  for (int i = 0; i < V; ++i) dy.v[i] *= silu_slope(a.v[i] * x_from_origin.v[i] + b.v[i]);
  return dy;
}

// Σ g and Σ g (x - origin) of each channel over a piece of an image.
template <class T, int V>
__global__ void gradient_moments(Maps<const T> maps, const T* dy, int pixels, Rows rows, bool silu, float* sums) {
  const int channels = maps.all_channels();
  sum_piece<V>(pixels, channels, sums, [&](int image, int64_t pixel, int c, float* sum_g, float* sum_gx) {
    const int64_t place = int64_t{image} * channels + c;
    const auto x = from_origin<V>(load<V>(maps.at(pixel, c)), rows, place);
    const auto g = before_activation<V>(x, load<V>(dy + pixel * channels + c), rows, place, silu);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      sum_g[i] += g.v[i];
      sum_gx[i] += g.v[i] * x.v[i];
    }
  });
}

// The coefficients of dx = a g + b (x - origin) + c, a warp for each group. With N values in the group, x̂ the
// normalized ones and both means taken over the group,
//   dx = rstd (weight g - mean(weight g) - x̂ mean(weight g x̂)),  x̂ = rstd (x - origin + offset).
// d_shift is the sum of dx over the pixels.
__global__ void gradient_finish(int channels, int images, int pixels, int groups, const float* weight, Rows rows,
                                const float* sums, double* totals, float* coefficients, float* d_shift) {
  const Group group(images, groups, channels);
  if (!group.exists) return;
  const int lane = threadIdx.x;
  const auto n = static_cast<double>(pixels);
  const double values = n * (group.end - group.begin);
  total_pieces(group, (pixels + kPixelsAPiece - 1) / kPixelsAPiece, channels, sums, totals);
  const double* sum_g = totals + int64_t{group.image} * 2 * channels;
  const double* sum_gx = sum_g + channels;
  const int64_t first = int64_t{group.image} * channels, a_row = int64_t{images} * channels;
  const double rstd = rows.rstd[first + group.begin];

  double mean_g = 0, mean_gx = 0;
  for (int c = group.begin + lane; c < group.end; c += kWarp) {
    mean_g += weight[c] * sum_g[c];
    mean_gx += weight[c] * rstd * (sum_gx[c] + rows.offset[first + c] * sum_g[c]);
  }
  mean_g = warp_sum(mean_g) / values;
  mean_gx = warp_sum(mean_gx) / values;
  for (int c = group.begin + lane; c < group.end; c += kWarp) {
    const double a = rstd * weight[c], b = -rstd * rstd * mean_gx;
    const double constant = -rstd * mean_g + b * rows.offset[first + c];
    coefficients[first + c] = static_cast<float>(a);
    coefficients[a_row + first + c] = static_cast<float>(b);
    coefficients[2 * a_row + first + c] = static_cast<float>(constant);
    if (d_shift != nullptr) {
      d_shift[first + c] = static_cast<float>(a * sum_g[c] + b * rows.sum[first + c] + n * constant);
    }
  }
}

// dx = a g + b (x - origin) + c, a pack of channels a thread.
template <class T, int V>
__global__ void gradient(Maps<const T> maps, const T* dy, int64_t all_pixels, int pixels, Rows rows, bool silu,
                         const float* coefficients, int64_t a_row, Maps<T> gradients) {
  const int channels = maps.all_channels(), packs = channels / V;
  const int64_t index = flat_index();
  if (index >= all_pixels * packs) return;
  const int64_t pixel = index / packs;
  const int c = static_cast<int>(index % packs) * V;
  const int64_t place = pixel / pixels * channels + c;
  const auto x = from_origin<V>(load<V>(maps.at(pixel, c)), rows, place);
  auto d = before_activation<V>(x, load<V>(dy + index * V), rows, place, silu);
  const auto by_g = load<V>(coefficients + place), by_x = load<V>(coefficients + a_row + place),
             constant = load<V>(coefficients + 2 * a_row + place);
#pragma unroll
  for (int i = 0; i < V; ++i) d.v[i] = by_g.v[i] * d.v[i] + by_x.v[i] * x.v[i] + constant.v[i];
  store(gradients.at(pixel, c), d);
}

// d_bias = Σ g and d_weight = Σ g x̂ over the images. x goes over channels, y over images.
constexpr int kImageRows = 8;
__global__ void parameter_gradients(int channels, int images, Rows rows, const double* totals, float* d_weight,
                                    float* d_bias) {
  __shared__ double part[2][kImageRows][kWarp];
  const int c = blockIdx.x * kWarp + threadIdx.x;
  double by_bias = 0, by_weight = 0;
  if (c < channels) {
    for (int image = threadIdx.y; image < images; image += kImageRows) {
      const double* sum_g = totals + int64_t{image} * 2 * channels;
      const int64_t place = int64_t{image} * channels + c;
      by_bias += sum_g[c];
      by_weight += rows.rstd[place] * (sum_g[channels + c] + rows.offset[place] * sum_g[c]);
    }
  }
  part[0][threadIdx.y][threadIdx.x] = by_bias;
  part[1][threadIdx.y][threadIdx.x] = by_weight;
  __syncthreads();
  if (threadIdx.y > 0 || c >= channels) return;
  for (int row = 1; row < kImageRows; ++row) {
    by_bias += part[0][row][threadIdx.x];
    by_weight += part[1][row][threadIdx.x];
  }
  d_bias[c] = static_cast<float>(by_bias);
  d_weight[c] = static_cast<float>(by_weight);
}

}  // namespace

void group_norm_gradient(const NormShape& shape, const NormMaps& tensors, const void* dy, const float* weight,
                         bool silu, const float* statistics, const NormScratch& scratch, float* coefficients,
                         const NormMaps& gradients, float* d_shift, float* d_weight, float* d_bias, Stream stream) {
  const int images = static_cast<int>(shape.images), pixels = static_cast<int>(shape.pixels);
  const int channels = static_cast<int>(shape.all_channels());
  const Rows rows = rows_of(statistics, shape);
  with_packs(
      shape, tensors.bfloat16, {tensors.x, tensors.skip, dy, gradients.x, gradients.skip}, [&](auto type, auto width) {
        using T = decltype(type);
        constexpr int V = decltype(width)::value;
        const auto maps = maps_of<const T>(shape, tensors);
        const auto* upstream = static_cast<const T*>(dy);
        const int packs = channels / V;
        const dim3 block = sum_block(packs);
        gradient_moments<T, V>
            <<<sum_grid(shape, packs, block), block, 0, stream>>>(maps, upstream, pixels, rows, silu, scratch.sums);
        check_launch();
        gradient_finish<<<group_blocks(shape), dim3(kWarp, kGroupsABlock), 0, stream>>>(
            channels, images, pixels, static_cast<int>(shape.groups), weight, rows, scratch.sums, scratch.totals,
            coefficients, d_shift);
        check_launch();
        const int64_t all_pixels = shape.images * shape.pixels;
        gradient<T, V><<<blocks_for(all_pixels * packs), kBlock, 0, stream>>>(
            maps, upstream, all_pixels, pixels, rows, silu, coefficients, shape.images * shape.all_channels(),
            maps_of<T>(shape, gradients));
        check_launch();
      });
  parameter_gradients<<<blocks_for(channels, kWarp), dim3(kWarp, kImageRows), 0, stream>>>(
      channels, images, rows, scratch.totals, d_weight, d_bias);
  check_launch();
}

}  // namespace ddpm::cuda
