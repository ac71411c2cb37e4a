#include "model/layers.h"

#include <ATen/Parallel.h>

#include "error.h"
#include "kernels/convolution.h"
#include "kernels/dropout_device.h"
#include "kernels/fast_paths.h"
#include "kernels/group_norm.h"
#include "kernels/philox.h"
#include "kernels/trained_convolution.h"
#include "kernels/winograd.h"
#include "model/precision.h"

namespace ddpm {

void ForwardContext::poll(const at::Tensor& x) const {
  if (cancelled == nullptr) return;
  const auto check = [flag = cancelled] {
    if (flag->load(std::memory_order_relaxed)) throw Cancelled();
  };
  check();
  if (x.requires_grad()) x.register_hook([check](const at::Tensor&) { check(); });
}

namespace {

at::ScalarType computed_in(const at::Tensor& x) {
  return current_precision(x.device().type()) == Precision::kBFloat16 ? at::kBFloat16 : at::kFloat;
}

}  // namespace

Conv2d::Conv2d(ParameterSource& source, const std::string& name, int64_t in, int64_t out, int64_t kernel, Init init,
               int64_t stride_, int64_t padding_)
    : weight(source.parameter(name + ".weight", {out, in, kernel, kernel}, init)),
      bias(source.parameter(name + ".bias", {out}, Init::kZero)),
      stride(stride_),
      padding(padding_ < 0 ? (kernel - 1) / 2 : padding_) {}

at::Tensor Conv2d::operator()(const at::Tensor& x, const ForwardContext& context, const at::Tensor& skip,
                              const at::Tensor& added) const {
  if (context.convolutions == nullptr) {
    const at::ScalarType type = computed_in(x);
    if (fast_paths() && !skip.defined() && winograd_fits(weight, stride, padding, x.size(2), x.size(3), type)) {
      return trained_convolution(x.to(type), weight, bias, added);
    }
    const auto convolve = [&](const at::Tensor& map, const at::Tensor& part, const at::Tensor& shift) {
      return sound_conv2d(map, part, shift, stride, padding, type);
    };
    at::Tensor y;
    if (!skip.defined()) {
      y = convolve(x, weight, bias);
    } else if (!fast_paths()) {
      y = convolve(at::cat({x, skip}, 1), weight, bias);
    } else {  // as below
      const at::Tensor of_skip = weight.narrow(1, x.size(1), skip.size(1));
      y = convolve(x, weight.narrow(1, 0, x.size(1)), bias) + convolve(skip, of_skip, {});
    }
    return added.defined() ? added + y : y;
  }
  const auto convolve = [&](const at::Tensor& map, int part,
                            const std::function<PackedConvolutions::Weights()>& weights, const at::Tensor& plus) {
    PackedConvolutions& packed = *context.convolutions;
    if (packed.calls != nullptr) packed.calls->push_back({map, this, part, weights, stride, padding});
    return packed(map, this, part, weights, stride, padding, plus);
  };
  if (!skip.defined()) {
    return convolve(x, 0, [this] { return PackedConvolutions::Weights{weight, bias}; }, added);
  }
  // A convolution of two maps side by side is the sum of one of each, so they need not be put together.
  const int64_t first = x.size(1), second = skip.size(1);
  const auto of_x = [this, first] { return PackedConvolutions::Weights{weight.narrow(1, 0, first), bias}; };
  const auto of_skip = [=, this] { return PackedConvolutions::Weights{weight.narrow(1, first, second), {}}; };
  return convolve(skip, 2, of_skip, convolve(x, 1, of_x, added));
}

namespace {

std::optional<DropoutBefore> dropout_before(const Dropout& dropout, const DropoutKey* key) {
  if (key == nullptr || dropout.probability <= 0) return std::nullopt;
  return DropoutBefore{dropout.probability, dropout.layer, key->seed, key->update, key->first_image};
}

}  // namespace

at::Tensor normalized_convolution(const GroupNorm& norm, const Conv2d& conv, const at::Tensor& x,
                                  const ForwardContext& context, const NormalizedInputs& inputs) {
  const at::Tensor shift = inputs.shift.defined() ? inputs.shift.to(at::kFloat) : inputs.shift;
  if (fast_paths() && context.convolutions == nullptr && x.is_cpu()) {
    const at::ScalarType type = computed_in(x);
    const auto typed = [type](const at::Tensor& map) { return map.defined() ? map.to(type) : map; };
    return normalized_convolution(
        x.to(type), typed(inputs.skip), shift, {norm.weight, norm.bias, norm.groups, norm.epsilon},
        dropout_before(inputs.dropout, context.dropout), conv.weight, conv.bias, typed(inputs.added));
  }
  at::Tensor h = norm(x, inputs.skip, inputs.shift, /*silu=*/true);
  if (context.dropout != nullptr) h = dropout(h, inputs.dropout.probability, inputs.dropout.layer, *context.dropout);
  return conv(h, context, {}, inputs.added);
}

Linear::Linear(ParameterSource& source, const std::string& name, int64_t in, int64_t out, Init init)
    : weight(source.parameter(name + ".weight", {out, in}, init)),
      bias(source.parameter(name + ".bias", {out}, Init::kZero)) {}

at::Tensor Linear::operator()(const at::Tensor& x) const { return at::linear(x, weight, bias); }

GroupNorm::GroupNorm(ParameterSource& source, const std::string& name, int64_t channels, int64_t groups_,
                     double epsilon_)
    : weight(source.parameter(name + ".weight", {channels}, Init::kOne)),
      bias(source.parameter(name + ".bias", {channels}, Init::kZero)),
      groups(groups_),
      epsilon(epsilon_) {}

at::Tensor GroupNorm::operator()(const at::Tensor& x) const { return at::group_norm(x, groups, weight, bias, epsilon); }

at::Tensor GroupNorm::operator()(const at::Tensor& x, const at::Tensor& skip, const at::Tensor& shift,
                                 bool silu) const {
  if (fast_paths() && (x.is_cpu() || x.is_cuda())) {
    return fused_group_norm(x, skip, shift.defined() ? shift.to(at::kFloat) : shift, weight, bias, groups, epsilon,
                            silu);
  }
  at::Tensor map = skip.defined() ? at::cat({x, skip}, 1) : x;
  if (shift.defined()) map = map + shift.unsqueeze(2).unsqueeze(3);
  map = (*this)(map);
  return silu ? at::silu(map) : map;
}

at::Tensor dropout(const at::Tensor& x, double probability, uint32_t layer, const DropoutKey& key) {
  if (probability <= 0) return x;
  if (key.on_device.defined()) return dropout_on_device(x, probability, layer, key.seed, key.on_device);
  const int64_t images = x.size(0);
  const int64_t elements = x.numel() / std::max<int64_t>(images, 1);
  // [B, C, H, W] on the CPU; channels last whatever x is, since x's layout may change with the batch size.
  at::Tensor mask = at::empty(x.sizes(), at::device(at::kCPU).dtype(at::kFloat), at::MemoryFormat::ChannelsLast);
  auto* data = mask.mutable_data_ptr<float>();
  at::parallel_for(0, images, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const RandomStream stream(key.seed, Purpose::kDropout, key.update, key.first_image + static_cast<uint64_t>(i),
                                layer);
      fill_dropout_mask(stream, data + i * elements, elements, probability);
    }
  });
  return x * mask.to(x.options());
}

}  // namespace ddpm
