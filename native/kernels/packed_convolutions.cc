#include "kernels/packed_convolutions.h"

#include <ATen/Config.h>
#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <string_view>

#include "kernels/convolution.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/winograd.h"

namespace ddpm {
namespace {

using Scalars = c10::List<std::optional<at::Scalar>>;

// Bytes of weights that a network keeps although they are larger than the plain ones: all of a small network's, whose
// passes are so short that transforming them each time would be felt.
constexpr size_t kLargerKept = 8 << 20;

// LibTorch's operators for weights in oneDNN's layouts. They have no C++ functions, and are looked up by name.
const c10::OperatorHandle* find(const char* name, const char* overload) {
  const auto found = c10::Dispatcher::singleton().findSchema({name, overload});
  return found ? new c10::OperatorHandle(*found) : nullptr;  // for as long as the process lives
}

struct Operators {
  const c10::OperatorHandle* pack = find("mkldnn::_reorder_convolution_weight", "");
  const c10::OperatorHandle* convolve = find("mkldnn::_convolution_pointwise", "");
  const c10::OperatorHandle* convolve_and_add = find("mkldnn::_convolution_pointwise", "binary");
};
const Operators& operators() {
  static const Operators found;
  return found;
}

// On a CUDA device.
PackedConvolutions::Weights for_cudnn(const PackedConvolutions::Weights& plain, at::ScalarType type) {
  return {plain.weight.to(type).contiguous(at::MemoryFormat::ChannelsLast),
          plain.bias.defined() ? plain.bias.to(type) : plain.bias};
}

at::Tensor convolve_by_cudnn(const at::Tensor& x, const PackedConvolutions::Weights& packed, int64_t stride,
                             int64_t padding, const at::Tensor& added) {
  const bool of_one_pixel = packed.weight.size(2) == 1 && packed.weight.size(3) == 1 && stride == 1 && padding == 0;
  if (!of_one_pixel) {
    at::Tensor y = at::conv2d(x, packed.weight, packed.bias, stride, padding);
    return added.defined() ? y.add_(added) : y;
  }
  // A product of matrices then: [B, C, H, W], channels-last, is [B H W, C] in memory.
  const auto as_rows = [](const at::Tensor& map) { return map.permute({0, 2, 3, 1}).reshape({-1, map.size(1)}); };
  const at::Tensor weight = packed.weight.view({packed.weight.size(0), packed.weight.size(1)}).t();
  at::Tensor y = packed.bias.defined() ? at::addmm(packed.bias, as_rows(x), weight) : at::mm(as_rows(x), weight);
  if (added.defined()) y.add_(as_rows(added));
  return y.view({x.size(0), x.size(2), x.size(3), y.size(1)}).permute({0, 3, 1, 2});
}

}  // namespace

bool PackedConvolutions::available(at::ScalarType type) {
  const Operators& all = operators();
  if (!all.pack || !all.convolve || !all.convolve_and_add || !at::globalContext().userEnabledMkldnn()) return false;
  // oneDNN computes in bfloat16 from AVX-512 on.
  return type == at::kFloat || (type == at::kBFloat16 && cpu::instruction_set() == cpu::InstructionSet::kAvx512);
}

at::Tensor PackedConvolutions::operator()(const at::Tensor& x, const void* owner, int part,
                                          const std::function<Weights()>& weights, int64_t stride, int64_t padding,
                                          const at::Tensor& added) {
  const std::vector<int64_t> strides{stride, stride}, paddings{padding, padding}, dilations{1, 1};
  const auto keep = [&](const Weights& made, bool winograd) {
    return packed_.emplace(std::pair{owner, part}, Packed{made, winograd}).first;
  };
  auto found = packed_.find({owner, part});
  if (found == packed_.end()) {
    const Weights plain = weights();
    if (x.is_cuda()) {
      found = keep(for_cudnn(plain, type_), false);
    } else if (!direct_ && winograd_fits(plain.weight, stride, padding, x.size(2), x.size(3), type_)) {
      const at::Tensor transformed = winograd_weights(plain.weight, type_);
      // In float32 they are 16/9 of the weights, and reading so much costs nearly what transforming does.
      if (transformed.nbytes() > plain.weight.nbytes()) {
        if (larger_kept_ + transformed.nbytes() > kLargerKept) {
          return winograd_convolution(x, transformed, plain.bias, added);
        }
        larger_kept_ += transformed.nbytes();
      }
      found = keep({transformed, plain.bias}, true);
    } else {
      const at::Tensor weight = plain.weight.to(convolution_type(x, type_, stride)).contiguous();
      std::vector<c10::IValue> stack{weight, paddings, strides, dilations, int64_t{1}, c10::IValue(x.sizes().vec())};
      operators().pack->callBoxed(stack);
      found = keep({stack.at(0).toTensor(), plain.bias}, false);
    }
  }
  const Packed& packed = found->second;
  if (x.is_cuda()) return convolve_by_cudnn(x, packed, stride, padding, added);
  if (packed.winograd) return winograd_convolution(x, packed.weight, packed.bias, added);
  const at::ScalarType type = packed.weight.scalar_type();
  const at::Tensor map = x.to(type);
  const c10::IValue bias = packed.bias.defined() ? c10::IValue(packed.bias.to(type)) : c10::IValue();
  std::vector<c10::IValue> stack;
  if (added.defined()) {
    stack = {map,        added.to(type), packed.weight, bias,          paddings,  strides,      dilations,
             int64_t{1}, "add",          c10::IValue(), c10::IValue(), Scalars(), c10::IValue()};
    operators().convolve_and_add->callBoxed(stack);
  } else {
    stack = {map, packed.weight, bias, paddings, strides, dilations, int64_t{1}, "none", Scalars(), c10::IValue()};
    operators().convolve->callBoxed(stack);
  }
  return stack.at(0).toTensor().to(type_);
}

}  // namespace ddpm
