#include "training/half_weights.h"

#include <ATen/core/grad_mode.h>

#include <utility>

namespace ddpm {

HalfWeights::HalfWeights(ParameterSet weights, ParameterSet gradient) {
  for (const ParameterSpec& spec : weights.layout()->specs()) {
    // Biases and those of normalizations have one dimension; embeddings are looked up.
    if (spec.shape.size() < 2 || spec.init == Init::kNormal) continue;
    const auto format = spec.shape.size() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
    at::Tensor half = at::empty(spec.shape, weights.flat().options().dtype(at::kBFloat16), format);
    half.requires_grad_(true);
    copies_.emplace(spec.name, Copy{weights.view(spec), gradient.view(spec), std::move(half)});
  }
}

at::Tensor HalfWeights::copy_of(const std::string& name) const {
  const auto found = copies_.find(name);
  return found == copies_.end() ? at::Tensor() : found->second.half;
}

void HalfWeights::refresh() {
  const at::NoGradGuard no_gradients;
  for (auto& [name, copy] : copies_) {
    copy.half.copy_(copy.weight);
    copy.half.mutable_grad().reset();  // of a pass that did not come to its end
  }
}

void HalfWeights::add_gradients() {
  const at::NoGradGuard no_gradients;
  for (auto& [name, copy] : copies_) {
    at::Tensor& gradient = copy.half.mutable_grad();
    if (gradient.defined()) copy.gradient.add_(gradient);
    gradient.reset();
  }
}

}  // namespace ddpm
