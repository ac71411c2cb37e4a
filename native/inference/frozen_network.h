#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/fast_paths.h"
#include "kernels/packed_convolutions.h"
#include "model/precision.h"
#include "model/unet.h"

namespace ddpm {

// A network that only predicts, over weights that do not change while it is held: it shares its owner's storage until
// the owner is about to change it and calls detach().
class FrozenNetwork {
 public:
  FrozenNetwork(const UNetConfig& config, Precision precision, ParameterSet weights)
      : config_(config), precision_(precision), weights_(std::move(weights)), network_(config_, weights_) {
    prepare();
  }

  // Goes on with a copy of the weights.
  void detach() {
    weights_ = weights_.clone();
    network_ = UNet(config_, weights_);
    prepare();
  }

  // x [B, in, H, W] on the CPU or the device, one t and (for a network with classes) one label an image
  // -> [B, out, H, W] on the device, float32
  at::Tensor operator()(const at::Tensor& x, at::IntArrayRef t, at::IntArrayRef labels, ForwardContext context) const {
    const at::Device device = weights_.flat().device();
    at::NoGradGuard no_gradients;
    context.convolutions = convolutions_.get();
    context.time_shifts = time_shifts_.get();
    // Packed convolutions say themselves what they compute in.
    PrecisionScope scope(convolutions_ ? Precision::kFloat32 : precision_, device);
    const at::Tensor label_tensor = labels.empty() ? at::Tensor() : at::tensor(labels, at::kLong).to(device);
    const at::Tensor output = network_(x.to(device), at::tensor(t, at::kLong).to(device), label_tensor, context);
    return output.to(at::kFloat).contiguous();
  }

  // Seconds that the network's convolutions take by themselves on `images` images, once for each repeat: what
  // everything else is measured against. Empty where they are not packed.
  std::vector<double> time_convolutions(int64_t images, int64_t repeats) const;

  at::Device device() const { return weights_.flat().device(); }

 private:
  void prepare() {
    const at::ScalarType type = precision_ == Precision::kBFloat16 ? at::kBFloat16 : at::kFloat;
    const bool can_pack = fast_paths() && device().is_cpu() && PackedConvolutions::available(type);
    convolutions_ = can_pack ? std::make_unique<PackedConvolutions>(type) : nullptr;
    time_shifts_ = fast_paths() && device().is_cpu() ? std::make_unique<TimeShifts>() : nullptr;
  }

  UNetConfig config_;
  Precision precision_;
  ParameterSet weights_;
  UNet network_;
  std::unique_ptr<PackedConvolutions> convolutions_;  // null where there is no such path
  std::unique_ptr<TimeShifts> time_shifts_;           // likewise
};

}  // namespace ddpm
