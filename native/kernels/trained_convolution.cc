#include "kernels/trained_convolution.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <tuple>
#include <utility>

#include "kernels/convolution.h"
#include "kernels/cpu/dropout_kernels.h"
#include "kernels/group_norm.h"
#include "kernels/philox.h"
#include "kernels/tensors.h"
#include "kernels/winograd.h"

namespace ddpm {
namespace {

using Context = torch::autograd::AutogradContext;
using Variables = torch::autograd::variable_list;
using Optional = std::optional<at::Tensor>;

bool by_winograd(const at::Tensor& x, const at::Tensor& weight) {
  return winograd_fits(weight, 1, 1, x.size(2), x.size(3), x.scalar_type());
}

at::Tensor convolve(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& added) {
  const at::ScalarType type = x.scalar_type();
  if (by_winograd(x, weight)) return winograd_convolution(x, winograd_weights(weight, type), bias, added);
  const at::Tensor y = channels_last(sound_conv2d(x, weight.to(type), bias.to(type), 1, 1, type));
  return added.defined() ? y.add_(added) : y;
}

// LibTorch's, of one type or another.
std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(const at::Tensor& dy, const at::Tensor& x,
                                                                    const at::Tensor& weight,
                                                                    std::array<bool, 3> wanted) {
  const at::ScalarType type = convolution_type(x, x.scalar_type(), 1);
  return at::convolution_backward(dy.to(type), x.to(type), weight.to(type), c10::IntArrayRef{weight.size(0)}, {1, 1},
                                  {1, 1}, {1, 1}, false, {0, 0}, 1, wanted);
}

at::Tensor gradient_by_input(at::IntArrayRef shape, const at::Tensor& weight, const at::Tensor& dy) {
  const at::ScalarType type = dy.scalar_type();
  if (by_winograd(dy, weight)) {
    return winograd_convolution(dy, winograd_weights(weight, type, /*transposed=*/true), {}, {});
  }
  const at::Tensor x = at::empty(shape, dy.options(), at::MemoryFormat::ChannelsLast);  // of which nothing is read
  return channels_last(std::get<0>(convolution_backward(dy, x, weight, {true, false, false})).to(type));
}

// By the weight and by the bias.
std::pair<at::Tensor, at::Tensor> gradients_by_parameters(const at::Tensor& x, const at::Tensor& weight,
                                                          const at::Tensor& dy) {
  const at::Tensor shape = at::empty(weight.sizes(), x.options());  // all of the weight that is looked at
  const auto [unused, by_weight, by_bias] = convolution_backward(dy, x, shape, {false, true, true});
  return {by_weight.to(weight.scalar_type()), by_bias.to(weight.scalar_type())};
}

class TrainedConvolution : public torch::autograd::Function<TrainedConvolution> {
 public:
  static at::Tensor forward(Context* context, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            const Optional& added) {
    context->save_for_backward({x, weight});
    context->saved_data["added"] = added.has_value();
    return convolve(x, weight, bias, added.value_or(at::Tensor()));
  }

  static Variables backward(Context* context, Variables upstream) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    const at::Tensor dy = channels_last(upstream[0].to(x.scalar_type()));
    const auto [d_weight, d_bias] = gradients_by_parameters(x, weight, dy);
    const at::Tensor dx = context->needs_input_grad(0) ? gradient_by_input(x.sizes(), weight, dy) : at::Tensor();
    return {dx, d_weight, d_bias, context->saved_data["added"].toBool() ? dy : at::Tensor()};
  }
};

// What the whole of it is told besides its tensors.
struct Settings : torch::CustomClassHolder {
  int64_t groups = 0;
  double epsilon = 0;
  std::optional<DropoutBefore> dropout;
  bool shift = false, added = false;  // which there are
};

void drop(const at::Tensor& map, const DropoutBefore& dropout) {
  const int64_t images = map.size(0), elements = map.numel() / images;
  const DropoutRule rule = dropout_rule(dropout.probability);
  with_type(map.scalar_type(), [&](auto number) {
    auto* values = static_cast<decltype(number)*>(map.mutable_data_ptr());
    const auto kernel = cpu::dropout_kernel(number);
    at::parallel_for(0, images, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const RandomStream stream(dropout.seed, Purpose::kDropout, dropout.update,
                                  dropout.first_image + static_cast<uint64_t>(i), dropout.layer);
        kernel({stream.seed, stream.purpose, stream.a, stream.b}, rule.threshold, rule.scale, values + i * elements,
               elements);
      }
    });
  });
}

class NormalizedConvolution : public torch::autograd::Function<NormalizedConvolution> {
 public:
  static at::Tensor forward(Context* context, const at::Tensor& x, const Optional& skip, const Optional& shift,
                            const at::Tensor& norm_weight, const at::Tensor& norm_bias, const at::Tensor& weight,
                            const at::Tensor& bias, const Optional& added,
                            const c10::intrusive_ptr<Settings>& settings) {
    const at::Tensor beside = skip.value_or(at::Tensor());
    auto [normalized, statistics] = group_norm_forward(x, beside, shift.value_or(at::Tensor()), norm_weight, norm_bias,
                                                       settings->groups, settings->epsilon, /*silu=*/true);
    if (settings->dropout) drop(normalized, *settings->dropout);
    context->save_for_backward({x, beside, norm_weight, statistics, weight});
    context->saved_data["settings"] = c10::IValue::make_capsule(settings);
    return convolve(normalized, weight, bias, added.value_or(at::Tensor()));
  }

  static Variables backward(Context* context, Variables upstream) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &skip = saved[1], &norm_weight = saved[2], &statistics = saved[3],
                     &weight = saved[4];
    const auto settings = c10::static_intrusive_pointer_cast<Settings>(context->saved_data["settings"].toCapsule());
    const at::Tensor dy = channels_last(upstream[0].to(x.scalar_type()));
    at::Tensor map = group_norm_again(x, skip, statistics, /*silu=*/true);
    if (settings->dropout) drop(map, *settings->dropout);
    const auto [d_weight, d_bias] = gradients_by_parameters(map, weight, dy);
    const auto shape = map.sizes().vec();
    map.reset();
    map = gradient_by_input(shape, weight, dy);
    if (settings->dropout) drop(map, *settings->dropout);
    const NormGradients norm =
        group_norm_gradient(x, skip, settings->shift, norm_weight, statistics, map, settings->groups, /*silu=*/true);
    return {norm.x,    norm.skip, norm.shift, norm.weight,
            norm.bias, d_weight,  d_bias,     settings->added ? dy : at::Tensor(),
            {}};
  }
};

}  // namespace

at::Tensor trained_convolution(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                               const at::Tensor& added) {
  return TrainedConvolution::apply(channels_last(x), weight, bias, optional(added));
}

at::Tensor normalized_convolution(const at::Tensor& x, const at::Tensor& skip, const at::Tensor& shift,
                                  const NormBefore& norm, const std::optional<DropoutBefore>& dropout,
                                  const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& added) {
  auto settings = c10::make_intrusive<Settings>();
  settings->groups = norm.groups;
  settings->epsilon = norm.epsilon;
  settings->dropout = dropout;
  settings->shift = shift.defined();
  settings->added = added.defined();
  return NormalizedConvolution::apply(channels_last(x), optional(channels_last(skip)), optional(shift), norm.weight,
                                      norm.bias, weight, bias, optional(added), settings);
}

}  // namespace ddpm
