#include "kernels/dropout_device.h"

#include <torch/csrc/autograd/custom_function.h>

#include "device/device.h"
#include "kernels/cuda/dropout.h"

namespace ddpm {
namespace {

at::Tensor masked(const at::Tensor& x, double probability, int64_t layer, int64_t seed, const at::Tensor& key) {
  const at::Tensor map = x.contiguous(at::MemoryFormat::ChannelsLast);
  at::Tensor y = at::empty_like(map);
  cuda::dropout(map.const_data_ptr(), map.scalar_type() == at::kBFloat16, map.size(0), map.numel() / map.size(0),
                probability, static_cast<uint64_t>(seed), static_cast<uint32_t>(layer),
                static_cast<const cuda::PassKey*>(key.const_data_ptr()), y.mutable_data_ptr(), stream_of(map));
  return y;
}

class Dropout : public torch::autograd::Function<Dropout> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, double probability,
                            int64_t layer, int64_t seed, const at::Tensor& key) {
    context->save_for_backward({key});
    context->saved_data["probability"] = probability;
    context->saved_data["layer"] = layer;
    context->saved_data["seed"] = seed;
    return masked(x, probability, layer, seed, key);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list upstream) {
    const at::Tensor dx =
        masked(upstream[0], context->saved_data["probability"].toDouble(), context->saved_data["layer"].toInt(),
               context->saved_data["seed"].toInt(), context->get_saved_variables()[0]);
    return {dx, {}, {}, {}, {}};
  }
};

}  // namespace

at::Tensor dropout_on_device(const at::Tensor& x, double probability, uint32_t layer, uint64_t seed,
                             const at::Tensor& key) {
  return Dropout::apply(x, probability, static_cast<int64_t>(layer), static_cast<int64_t>(seed), key);
}

}  // namespace ddpm
