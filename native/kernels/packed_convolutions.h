#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <map>
#include <utility>
#include <vector>

namespace ddpm {

// The convolutions of a network that only predicts: their weights are brought into the type and layout that our kernels
// or oneDNN's, or on a CUDA device cuDNN's, read once, at their first use, instead of in every call, unless that would
// take much more memory than the weights themselves; and what is to be added to a result is added as it is written
// where they can. Feature maps are channels-last, of the type that it was made for.
class PackedConvolutions {
 public:
  // Weight [out, in, k, k] and bias [out], which may be undefined.
  struct Weights {
    at::Tensor weight;
    at::Tensor bias;
  };

  // `direct`: by oneDNN or cuDNN all of them, none in fewer products.
  explicit PackedConvolutions(at::ScalarType type, bool direct = false) : type_(type), direct_(direct) {}

  // Whether this LibTorch has what it takes on this processor for this type. On a CUDA device there is always a way.
  static bool available(at::ScalarType type);

  at::ScalarType type() const { return type_; }

  // conv(x) + added, `added` being of the result's shape, or undefined. `owner` and `part` name the weights, which
  // `weights` gives when they are asked for the first time.
  at::Tensor operator()(const at::Tensor& x, const void* owner, int part, const std::function<Weights()>& weights,
                        int64_t stride, int64_t padding, const at::Tensor& added = {});

  // A convolution of the network, written down for the time of these alone to be taken.
  struct Call {
    at::Tensor x;
    const void* owner;
    int part;
    std::function<Weights()> weights;
    int64_t stride, padding;
  };
  // Where to write them down; null, as it is at first: nowhere.
  std::vector<Call>* calls = nullptr;

 private:
  struct Packed : Weights {
    bool winograd = false;
  };

  at::ScalarType type_;
  bool direct_;
  std::map<std::pair<const void*, int>, Packed> packed_;
  size_t larger_kept_ = 0;  // bytes of those that are larger than the plain weights
};

}  // namespace ddpm
