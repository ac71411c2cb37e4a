#include "kernels/group_norm_device.h"

#include "device/device.h"
#include "kernels/cuda/group_norm.h"

namespace ddpm {
namespace {

cuda::NormShape shape_of(const at::Tensor& x, const at::Tensor& skip, int64_t groups) {
  return {x.size(0), x.size(2) * x.size(3), {x.size(1), skip.defined() ? skip.size(1) : 0}, groups};
}

// The kernels are told of maps that they only read by the same struct, which has no const in it.
void* data_of(const at::Tensor& x) { return x.defined() ? const_cast<void*>(x.const_data_ptr()) : nullptr; }
cuda::NormMaps maps_of(const at::Tensor& x, const at::Tensor& skip) {
  return {data_of(x), data_of(skip), x.scalar_type() == at::kBFloat16};
}

struct Scratch {
  at::Tensor sums, totals;

  Scratch(const cuda::NormShape& shape, const at::Tensor& x)
      : sums(at::empty({cuda::norm_sums(shape)}, x.options().dtype(at::kFloat))),
        totals(at::empty({shape.images, 2, shape.all_channels()}, x.options().dtype(at::kDouble))) {}

  cuda::NormScratch pointers() { return {sums.mutable_data_ptr<float>(), totals.mutable_data_ptr<double>()}; }
};

}  // namespace

std::pair<at::Tensor, at::Tensor> group_norm_on_device(const at::Tensor& x, const at::Tensor& skip,
                                                       const at::Tensor& shift, const at::Tensor& weight,
                                                       const at::Tensor& bias, int64_t groups, double epsilon,
                                                       bool silu) {
  const cuda::NormShape shape = shape_of(x, skip, groups);
  at::Tensor y =
      at::empty({x.size(0), shape.all_channels(), x.size(2), x.size(3)}, x.options(), at::MemoryFormat::ChannelsLast);
  at::Tensor statistics =
      at::empty({cuda::kNormRows, shape.images, shape.all_channels()}, x.options().dtype(at::kFloat));
  Scratch scratch(shape, x);
  cuda::group_norm(shape, maps_of(x, skip), shift.defined() ? shift.const_data_ptr<float>() : nullptr,
                   shift.defined() ? shift.stride(0) : 0, weight.const_data_ptr<float>(), bias.const_data_ptr<float>(),
                   epsilon, silu, scratch.pointers(), statistics.mutable_data_ptr<float>(), y.mutable_data_ptr(),
                   stream_of(x));
  return {y, statistics};
}

NormGradients group_norm_gradient_on_device(const at::Tensor& x, const at::Tensor& skip, bool shifted,
                                            const at::Tensor& weight, const at::Tensor& statistics,
                                            const at::Tensor& dy, int64_t groups, bool silu) {
  const cuda::NormShape shape = shape_of(x, skip, groups);
  const at::TensorOptions floats = x.options().dtype(at::kFloat);
  NormGradients made;
  made.x = at::empty_like(x);
  if (skip.defined()) made.skip = at::empty_like(skip);
  if (shifted) made.shift = at::empty({shape.images, shape.all_channels()}, floats);
  made.weight = at::empty_like(weight);
  made.bias = at::empty_like(weight);
  const at::Tensor coefficients = at::empty({3, shape.images, shape.all_channels()}, floats);
  Scratch scratch(shape, x);
  cuda::group_norm_gradient(shape, maps_of(x, skip), dy.const_data_ptr(), weight.const_data_ptr<float>(), silu,
                            statistics.const_data_ptr<float>(), scratch.pointers(),
                            coefficients.mutable_data_ptr<float>(), maps_of(made.x, made.skip),
                            shifted ? made.shift.mutable_data_ptr<float>() : nullptr,
                            made.weight.mutable_data_ptr<float>(), made.bias.mutable_data_ptr<float>(), stream_of(x));
  return made;
}

}  // namespace ddpm
