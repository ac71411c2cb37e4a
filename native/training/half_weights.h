#pragma once

#include <ATen/ATen.h>

#include <string>
#include <unordered_map>

#include "model/parameters.h"

namespace ddpm {

// What convolutions and dense layers multiply by, as a training in bfloat16 computes with it on a CUDA device: copies
// that have the type and the layout which cuDNN reads, made once a pass. Autocast and cuDNN's own preparation would
// convert every weight four times, there and back: 32 bytes a parameter and pass, and five kernels a weight, instead of
// 16 and two.
class HalfWeights {
 public:
  // `gradient` is what the copies' gradients are added to.
  HalfWeights(ParameterSet weights, ParameterSet gradient);

  // The copy, which the network computes with and autograd leaves the gradient in; undefined where there is none,
  // because the parameter is not multiplied by or is small.
  at::Tensor copy_of(const std::string& name) const;

  // Before a pass.
  void refresh();
  // After it.
  void add_gradients();

 private:
  struct Copy {
    at::Tensor weight, gradient;  // float32
    at::Tensor half;
  };
  std::unordered_map<std::string, Copy> copies_;
};

}  // namespace ddpm
