#include "model/recompute.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <memory>
#include <utility>

#include "model/precision.h"

namespace ddpm {
namespace {

using Part = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

// Carries the part through the context, which keeps values of LibTorch's own types alone; and what the part is computed
// in, which is no longer set on the way back.
struct Holder : torch::CustomClassHolder {
  Holder(Part part_, at::DeviceType device_)
      : part(std::move(part_)), device(device_), precision(current_precision(device_)) {}

  Part part;
  at::DeviceType device;
  Precision precision;
};

class Recomputed : public torch::autograd::Function<Recomputed> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, at::TensorList inputs,
                            const c10::intrusive_ptr<Holder>& holder) {
    context->save_for_backward(inputs.vec());
    context->saved_data["part"] = c10::IValue::make_capsule(holder);
    return holder->part(inputs.vec());  // without a graph: grad mode is off here
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list upstream) {
    const auto holder = c10::static_intrusive_pointer_cast<Holder>(context->saved_data["part"].toCapsule());
    std::vector<at::Tensor> inputs;
    for (const auto& saved : context->get_saved_variables()) {
      inputs.push_back(saved.detach());
      if (saved.is_floating_point()) inputs.back().requires_grad_(true);
    }
    at::Tensor output;
    {
      at::AutoGradMode with_gradients(true);
      PrecisionScope scope(holder->precision, holder->device);
      output = holder->part(inputs);
    }
    torch::autograd::backward({output}, {upstream.front()});
    torch::autograd::variable_list gradients;
    for (const auto& input : inputs) gradients.push_back(input.grad());
    gradients.emplace_back();  // of the part
    return gradients;
  }
};

}  // namespace

at::Tensor recomputed(Part part, const std::vector<at::Tensor>& inputs) {
  return Recomputed::apply(at::TensorList(inputs),
                           c10::make_intrusive<Holder>(std::move(part), inputs.front().device().type()));
}

}  // namespace ddpm
