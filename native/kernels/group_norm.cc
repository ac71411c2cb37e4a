#include "kernels/group_norm.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <tuple>
#include <type_traits>
#include <vector>

#include "kernels/cpu/norm_kernels.h"
#include "kernels/group_norm_device.h"
#include "kernels/tensors.h"

namespace ddpm {
namespace {

// Pixels whose values are added up in float32 before they go into float64. An image is cut in pieces where there are
// fewer images than threads, but only between two such sums: they are then the same ones however many threads there are
// and images beside it.
constexpr int64_t kPixelsASum = 64;

// How much larger than the variance the sums may be that it is left over from. Float32 sums are good to some 3e-7.
constexpr double kMostCancellation = 256;

struct Shape {
  int64_t images, pixels;
  int64_t channels[2];  // of x and of skip
  int64_t groups;

  int64_t all_channels() const { return channels[0] + channels[1]; }
  int64_t group_channels() const { return all_channels() / groups; }
  double group_values() const { return static_cast<double>(group_channels() * pixels); }
};

// One feature map, channels-last.
template <class T>
struct Map {
  T* data = nullptr;
  int64_t channels = 0;

  T* at(const Shape& shape, int64_t image, int64_t pixel) const {
    return data + (image * shape.pixels + pixel) * channels;
  }
};

// What the way back needs of the way there, for each image and channel; contiguous [kRows, B, C].
struct Statistics {
  enum Row {
    kScale,  // y = f(kScale (x - kOrigin) + kShift)
    kShift,
    kOrigin,  // near the channel's values: no digits are lost where these are far from zero
    kOffset,  // what is to be added to x - kOrigin for the distance from the group's mean
    kRstd,    // 1 / sqrt(variance + epsilon)
    kRows
  };
  float* data;
  int64_t images, channels;

  float* row(Row row, int64_t image) const { return data + (row * images + image) * channels; }
};

int64_t pieces_an_image(const Shape& shape) {
  const int64_t threads = at::get_num_threads();
  if (shape.images >= threads) return 1;
  return std::clamp<int64_t>((threads + shape.images - 1) / shape.images, 1,
                             std::max<int64_t>(1, shape.pixels / kPixelsASum));
}

// The pixels of a piece.
struct Range {
  int64_t begin, end;
};
Range range_of(const Shape& shape, int64_t piece, int64_t pieces) {
  const int64_t sums = (shape.pixels + kPixelsASum - 1) / kPixelsASum;
  const auto begin = [&](int64_t i) { return std::min(shape.pixels, sums * i / pieces * kPixelsASum); };
  return {begin(piece), begin(piece + 1)};
}

// For each image: `first` on each of its pieces, `between` once, then `second` on each of its pieces. Arguments: the
// image, the piece, its pixels.
template <class First, class Between, class Second>
void in_two_passes(const Shape& shape, First first, Between between, Second second) {
  const int64_t pieces = pieces_an_image(shape);
  if (pieces == 1) {  // an image stays in the cache of its core
    at::parallel_for(0, shape.images, 1, [&](int64_t begin, int64_t end) {
      for (int64_t image = begin; image < end; ++image) {
        first(image, 0, Range{0, shape.pixels});
        between(image);
        second(image, 0, Range{0, shape.pixels});
      }
    });
    return;
  }
  const auto over_pieces = [&](auto work) {
    at::parallel_for(0, shape.images * pieces, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) work(i / pieces, i % pieces, range_of(shape, i % pieces, pieces));
    });
  };
  over_pieces(first);
  for (int64_t image = 0; image < shape.images; ++image) between(image);
  over_pieces(second);
}

// Two sums for each channel, in float64, of every piece of every image.
class Sums {
 public:
  explicit Sums(const Shape& shape)
      : pieces_(pieces_an_image(shape)),
        channels_(shape.all_channels()),
        values_(static_cast<size_t>(shape.images * pieces_ * 2 * channels_)) {}

  // Has `add(pixel, count, sum0, sum1)` add to float32 sums, a few pixels at a time, for channels from `first` on.
  template <class Add>
  void collect(int64_t image, int64_t piece, Range range, int64_t first, int64_t count, Add add) {
    std::vector<float> part(static_cast<size_t>(2 * count));
    double* to = at(image, piece) + first;
    for (int64_t pixel = range.begin; pixel < range.end; pixel += kPixelsASum) {
      std::fill(part.begin(), part.end(), 0.0f);
      add(pixel, std::min(kPixelsASum, range.end - pixel), part.data(), part.data() + count);
      for (int64_t c = 0; c < count; ++c) {
        to[c] += part[static_cast<size_t>(c)];
        to[channels_ + c] += part[static_cast<size_t>(count + c)];
      }
    }
  }

  double sum(int64_t image, int which, int64_t channel) const {
    double total = 0;
    for (int64_t piece = 0; piece < pieces_; ++piece) total += at(image, piece)[which * channels_ + channel];
    return total;
  }

 private:
  const double* at(int64_t image, int64_t piece) const {
    return values_.data() + (image * pieces_ + piece) * 2 * channels_;
  }
  double* at(int64_t image, int64_t piece) { return values_.data() + (image * pieces_ + piece) * 2 * channels_; }

  int64_t pieces_, channels_;
  std::vector<double> values_;
};

float to_float(float value) { return value; }
float to_float(uint16_t bits) { return c10::detail::f32_from_bits(bits); }

// y of some pixels of an image.
template <class T>
void normalize(const Shape& shape, const std::array<Map<const T>, 2>& maps, const Statistics& statistics, bool silu,
               int64_t image, Range range, T* y) {
  const int64_t channels = shape.all_channels();
  int64_t first = 0;
  for (const auto& map : maps) {
    if (map.channels == 0) continue;
    cpu::norm_kernels(T{}).normalize(map.at(shape, image, range.begin), range.end - range.begin, map.channels,
                                     statistics.row(Statistics::kOrigin, image) + first,
                                     statistics.row(Statistics::kScale, image) + first,
                                     statistics.row(Statistics::kShift, image) + first, silu,
                                     y + (image * shape.pixels + range.begin) * channels + first, channels);
    first += map.channels;
  }
}

// Mean and variance of channels [begin, end) of an image, one value after another.
template <class T>
std::pair<double, double> moments_in_float64(const Shape& shape, const std::array<Map<const T>, 2>& maps,
                                             const float* shift, int64_t image, int64_t begin, int64_t end) {
  const auto average = [&](auto f) {
    double sum = 0;
    for (int64_t c = begin; c < end; ++c) {
      const Map<const T>& map = c < maps[0].channels ? maps[0] : maps[1];
      const int64_t place = c < maps[0].channels ? c : c - maps[0].channels;
      for (int64_t i = 0; i < shape.pixels; ++i) {
        sum += f(static_cast<double>(to_float(map.at(shape, image, i)[place])) + (shift ? shift[c] : 0.0f));
      }
    }
    return sum / shape.group_values();
  };
  const double mean = average([](double x) { return x; });
  return {mean, average([mean](double x) { return (x - mean) * (x - mean); })};
}

template <class T>
void forward(const Shape& shape, const std::array<Map<const T>, 2>& maps, const float* shift, int64_t shift_pitch,
             const float* weight, const float* bias, double epsilon, bool silu, T* y, const Statistics& statistics) {
  const auto& kernels = cpu::norm_kernels(T{});
  Sums sums(shape);

  const auto add_up = [&](int64_t image, int64_t piece, Range range) {
    int64_t first = 0;
    for (const auto& map : maps) {
      if (map.channels == 0) continue;
      float* origin = statistics.row(Statistics::kOrigin, image) + first;
      std::vector<float> here(static_cast<size_t>(map.channels));
      std::vector<float> none(static_cast<size_t>(map.channels) * 2);
      kernels.moments(map.at(shape, image, 0), 1, map.channels, none.data(), here.data(),
                      none.data() + map.channels);  // the sum over one pixel is its value
      if (piece == 0) std::copy(here.begin(), here.end(), origin);
      sums.collect(image, piece, range, first, map.channels,
                   [&](int64_t pixel, int64_t count, float* sum, float* square) {
                     kernels.moments(map.at(shape, image, pixel), count, map.channels, here.data(), sum, square);
                   });
      first += map.channels;
    }
  };
  const auto finish = [&](int64_t image) {
    const float* moved = shift == nullptr ? nullptr : shift + image * shift_pitch;
    float* origin = statistics.row(Statistics::kOrigin, image);
    const auto n = static_cast<double>(shape.pixels);
    for (int64_t group = 0; group < shape.groups; ++group) {
      const int64_t begin = group * shape.group_channels(), end = begin + shape.group_channels();
      const auto start = [&](int64_t c) { return static_cast<double>(origin[c]) + (moved ? moved[c] : 0.0); };
      double mean = 0;
      for (int64_t c = begin; c < end; ++c) mean += sums.sum(image, 0, c) + n * start(c);
      mean /= shape.group_values();
      double variance = 0, sizes = 0;
      for (int64_t c = begin; c < end; ++c) {
        const double off = start(c) - mean;
        const double squares = sums.sum(image, 1, c), mixed = 2 * off * sums.sum(image, 0, c);
        variance += squares + mixed + n * off * off;
        sizes += squares + std::abs(mixed);
      }
      variance /= shape.group_values();
      sizes /= shape.group_values();
      // Squares beyond float32, or first pixels that are far from all others.
      if (!std::isfinite(variance) || sizes > kMostCancellation * variance) {
        std::tie(mean, variance) = moments_in_float64(shape, maps, moved, image, begin, end);
        for (int64_t c = begin; c < end; ++c) origin[c] = static_cast<float>(mean - (moved ? moved[c] : 0.0));
      }
      const double rstd = 1 / std::sqrt(std::max(variance, 0.0) + epsilon);
      for (int64_t c = begin; c < end; ++c) {
        const double scale = rstd * weight[c], offset = start(c) - mean;
        statistics.row(Statistics::kScale, image)[c] = static_cast<float>(scale);
        statistics.row(Statistics::kShift, image)[c] = static_cast<float>(bias[c] + offset * scale);
        statistics.row(Statistics::kOffset, image)[c] = static_cast<float>(offset);
        statistics.row(Statistics::kRstd, image)[c] = static_cast<float>(rstd);
      }
    }
  };
  const auto write = [&](int64_t image, int64_t, Range range) {
    normalize(shape, maps, statistics, silu, image, range, y);
  };
  in_two_passes(shape, add_up, finish, write);
}

template <class T>
void backward(const Shape& shape, const std::array<Map<const T>, 2>& maps, const std::array<Map<T>, 2>& gradients,
              const T* dy, const float* weight, bool silu, const Statistics& statistics, float* d_shift,
              float* d_weight, float* d_bias) {
  const auto& kernels = cpu::norm_kernels(T{});
  const int64_t channels = shape.all_channels();
  Sums sums(shape);
  Sums written(shape);
  // dx = a g + b (x - origin) + c
  std::vector<float> coefficients(static_cast<size_t>(3 * shape.images * channels));
  const auto coefficient = [&](int which, int64_t image) {
    return coefficients.data() + (which * shape.images + image) * channels;
  };
  const auto row = [&](Statistics::Row row, int64_t image, int64_t first) {
    return statistics.row(row, image) + first;
  };

  const auto add_up = [&](int64_t image, int64_t piece, Range range) {
    int64_t first = 0;
    for (const auto& map : maps) {
      if (map.channels == 0) continue;
      sums.collect(image, piece, range, first, map.channels, [&](int64_t pixel, int64_t count, float* g, float* gx) {
        kernels.gradient_moments(map.at(shape, image, pixel), dy + (image * shape.pixels + pixel) * channels + first,
                                 channels, count, map.channels, row(Statistics::kOrigin, image, first),
                                 row(Statistics::kScale, image, first), row(Statistics::kShift, image, first), silu, g,
                                 gx);
      });
      first += map.channels;
    }
  };
  const auto finish = [&](int64_t image) {
    for (int64_t group = 0; group < shape.groups; ++group) {
      const int64_t begin = group * shape.group_channels(), end = begin + shape.group_channels();
      const double rstd = row(Statistics::kRstd, image, begin)[0];
      double mean_g = 0, mean_gx = 0;  // of the gradient by the normalized values, and of that times these
      for (int64_t c = begin; c < end; ++c) {
        const double offset = row(Statistics::kOffset, image, 0)[c];
        mean_g += weight[c] * sums.sum(image, 0, c);
        mean_gx += weight[c] * rstd * (sums.sum(image, 1, c) + offset * sums.sum(image, 0, c));
      }
      mean_g /= shape.group_values();
      mean_gx /= shape.group_values();
      for (int64_t c = begin; c < end; ++c) {
        const double offset = row(Statistics::kOffset, image, 0)[c];
        coefficient(0, image)[c] = static_cast<float>(rstd * weight[c]);
        coefficient(1, image)[c] = static_cast<float>(-rstd * rstd * mean_gx);
        coefficient(2, image)[c] = static_cast<float>(-rstd * mean_g - rstd * rstd * mean_gx * offset);
      }
    }
  };
  const auto write = [&](int64_t image, int64_t piece, Range range) {
    int64_t first = 0;
    for (size_t i = 0; i < maps.size(); ++i) {
      const auto& map = maps[i];
      if (map.channels == 0) continue;
      written.collect(image, piece, range, first, map.channels, [&](int64_t pixel, int64_t count, float* sum, float*) {
        kernels.gradient(map.at(shape, image, pixel), dy + (image * shape.pixels + pixel) * channels + first, channels,
                         count, map.channels, row(Statistics::kOrigin, image, first),
                         row(Statistics::kScale, image, first), row(Statistics::kShift, image, first), silu,
                         coefficient(0, image) + first, coefficient(1, image) + first, coefficient(2, image) + first,
                         gradients[i].at(shape, image, pixel), sum);
      });
      first += map.channels;
    }
  };
  in_two_passes(shape, add_up, finish, write);

  for (int64_t c = 0; c < channels; ++c) {
    double bias = 0, scale = 0;
    for (int64_t image = 0; image < shape.images; ++image) {
      const double g = sums.sum(image, 0, c);
      bias += g;
      scale += row(Statistics::kRstd, image, 0)[c] *
               (sums.sum(image, 1, c) + static_cast<double>(row(Statistics::kOffset, image, 0)[c]) * g);
      if (d_shift != nullptr) d_shift[image * channels + c] = static_cast<float>(written.sum(image, 0, c));
    }
    d_bias[c] = static_cast<float>(bias);
    d_weight[c] = static_cast<float>(scale);
  }
}

Shape shape_of(const at::Tensor& x, const at::Tensor& skip, int64_t groups) {
  return {x.size(0), x.size(2) * x.size(3), {x.size(1), skip.defined() ? skip.size(1) : 0}, groups};
}

template <class T>
Map<T> map_of(const at::Tensor& x) {
  if (!x.defined()) return {};
  if constexpr (std::is_const_v<T>) {
    return {static_cast<T*>(x.const_data_ptr()), x.size(1)};
  } else {
    return {static_cast<T*>(x.mutable_data_ptr()), x.size(1)};
  }
}

Statistics statistics_in(const at::Tensor& tensor) {
  return {tensor.mutable_data_ptr<float>(), tensor.size(1), tensor.size(2)};
}

at::Tensor new_map(const at::Tensor& x, const Shape& shape) {
  return at::empty({x.size(0), shape.all_channels(), x.size(2), x.size(3)}, x.options(),
                   at::MemoryFormat::ChannelsLast);
}

}  // namespace

std::pair<at::Tensor, at::Tensor> group_norm_forward(const at::Tensor& x, const at::Tensor& skip,
                                                     const at::Tensor& shift, const at::Tensor& weight,
                                                     const at::Tensor& bias, int64_t groups, double epsilon,
                                                     bool silu) {
  const at::Tensor moved = shift.defined() && shift.stride(1) != 1 ? shift.contiguous() : shift;
  if (x.is_cuda()) return group_norm_on_device(x, skip, moved, weight, bias, groups, epsilon, silu);
  const Shape shape = shape_of(x, skip, groups);
  at::Tensor y = new_map(x, shape);
  at::Tensor statistics = at::empty({Statistics::kRows, shape.images, shape.all_channels()}, at::kFloat);
  with_type(x.scalar_type(), [&](auto type) {
    using T = decltype(type);
    forward<T>(shape, {map_of<const T>(x), map_of<const T>(skip)},
               moved.defined() ? moved.const_data_ptr<float>() : nullptr, moved.defined() ? moved.stride(0) : 0,
               weight.const_data_ptr<float>(), bias.const_data_ptr<float>(), epsilon, silu,
               static_cast<T*>(y.mutable_data_ptr()), statistics_in(statistics));
  });
  return {y, statistics};
}

at::Tensor group_norm_again(const at::Tensor& x, const at::Tensor& skip, const at::Tensor& statistics, bool silu) {
  const Shape shape = shape_of(x, skip, /*groups=*/1);
  at::Tensor y = new_map(x, shape);
  with_type(x.scalar_type(), [&](auto type) {
    using T = decltype(type);
    const std::array<Map<const T>, 2> maps{map_of<const T>(x), map_of<const T>(skip)};
    const int64_t pieces = pieces_an_image(shape);
    at::parallel_for(0, shape.images * pieces, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        normalize(shape, maps, statistics_in(statistics), silu, i / pieces, range_of(shape, i % pieces, pieces),
                  static_cast<T*>(y.mutable_data_ptr()));
      }
    });
  });
  return y;
}

NormGradients group_norm_gradient(const at::Tensor& x, const at::Tensor& skip, bool shifted, const at::Tensor& weight,
                                  const at::Tensor& statistics, const at::Tensor& dy_, int64_t groups, bool silu) {
  const at::Tensor dy = channels_last(dy_.to(x.scalar_type()));
  if (x.is_cuda()) return group_norm_gradient_on_device(x, skip, shifted, weight, statistics, dy, groups, silu);
  const Shape shape = shape_of(x, skip, groups);
  NormGradients made{at::empty_like(x), skip.defined() ? at::empty_like(skip) : at::Tensor(), at::Tensor(),
                     at::empty_like(weight), at::empty_like(weight)};
  if (shifted) made.shift = at::empty({shape.images, shape.all_channels()}, at::kFloat);
  with_type(x.scalar_type(), [&](auto type) {
    using T = decltype(type);
    backward<T>(shape, {map_of<const T>(x), map_of<const T>(skip)}, {map_of<T>(made.x), map_of<T>(made.skip)},
                static_cast<const T*>(dy.const_data_ptr()), weight.const_data_ptr<float>(), silu,
                statistics_in(statistics), shifted ? made.shift.mutable_data_ptr<float>() : nullptr,
                made.weight.mutable_data_ptr<float>(), made.bias.mutable_data_ptr<float>());
  });
  return made;
}

namespace {

class FusedGroupNorm : public torch::autograd::Function<FusedGroupNorm> {
 public:
  using Optional = std::optional<at::Tensor>;

  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const Optional& skip_,
                            const Optional& shift_, const at::Tensor& weight, const at::Tensor& bias, int64_t groups,
                            double epsilon, bool silu) {
    const at::Tensor skip = skip_.value_or(at::Tensor()), shift = shift_.value_or(at::Tensor());
    auto [y, statistics] = group_norm_forward(x, skip, shift, weight, bias, groups, epsilon, silu);
    context->save_for_backward({x, skip, weight, statistics});
    context->saved_data["groups"] = groups;
    context->saved_data["silu"] = silu;
    context->saved_data["shift"] = shift.defined();
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list upstream) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &skip = saved[1], &weight = saved[2], &statistics = saved[3];
    const NormGradients made =
        group_norm_gradient(x, skip, context->saved_data["shift"].toBool(), weight, statistics, upstream[0],
                            context->saved_data["groups"].toInt(), context->saved_data["silu"].toBool());
    return {made.x, made.skip, made.shift, made.weight, made.bias, {}, {}, {}};
  }
};

}  // namespace

at::Tensor fused_group_norm(const at::Tensor& x, const at::Tensor& skip, const at::Tensor& shift,
                            const at::Tensor& weight, const at::Tensor& bias, int64_t groups, double epsilon,
                            bool silu) {
  const at::Tensor map = channels_last(x), beside = channels_last(skip);
  const bool differentiated = at::GradMode::is_enabled() &&
                              (x.requires_grad() || weight.requires_grad() ||
                               (skip.defined() && skip.requires_grad()) || (shift.defined() && shift.requires_grad()));
  if (!differentiated) return group_norm_forward(map, beside, shift, weight, bias, groups, epsilon, silu).first;
  return FusedGroupNorm::apply(map, optional(beside), optional(shift), weight, bias, groups, epsilon, silu);
}

}  // namespace ddpm
