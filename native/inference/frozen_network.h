#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "device/device.h"
#include "inference/forward_graphs.h"
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
  // Packed weights are known by the addresses of their layers.
  FrozenNetwork(const FrozenNetwork&) = delete;
  FrozenNetwork& operator=(const FrozenNetwork&) = delete;

  // Goes on with a copy of the weights.
  void detach() {
    weights_ = weights_.clone();
    network_ = UNet(config_, weights_);
    prepare();
  }

  // x [B, in, H, W] on the CPU or the device, one t and (for a network with classes) one label an image
  // -> [B, out, H, W] on the device, float32; on a CUDA device good until the thread's next call
  at::Tensor operator()(const at::Tensor& x, at::IntArrayRef t, at::IntArrayRef labels, ForwardContext context) const {
    const at::Device device = weights_.flat().device();
    at::NoGradGuard no_gradients;
    context.convolutions = convolutions_.get();
    context.time_shifts = time_shifts_.get();
    // Packed convolutions say themselves what they compute in.
    PrecisionScope scope(convolutions_ ? Precision::kFloat32 : precision_, device);
    const at::Tensor label_tensor = labels.empty() ? at::Tensor() : upload(labels, device);
    const at::Tensor input = x.device() == device ? x : upload(x, device), timesteps = upload(t, device);
    const auto forward = [&](const at::Tensor& x_t, const at::Tensor& step, const at::Tensor& label) {
      const Float32Scope float32(device, precision_ == Precision::kTf32);
      return network_(x_t, step, label, context).to(at::kFloat).contiguous();
    };
    // Nothing is captured while the convolutions are written down.
    const bool written_down = convolutions_ && convolutions_->calls != nullptr;
    if (!graphs_ || written_down) return forward(input, timesteps, label_tensor);
    context.poll(input);
    context.cancelled = nullptr;  // a graph is not interrupted
    return (*graphs_)(input, timesteps, label_tensor, forward);
  }

  // Seconds that the network's convolutions take by themselves on `images` images, as LibTorch has them, direct and
  // with packed weights, once for each repeat: what everything is measured against. Empty where they are not packed.
  std::vector<double> time_convolutions(int64_t images, int64_t repeats) const;

  at::Device device() const { return weights_.flat().device(); }

 private:
  void prepare() {
    const at::ScalarType type = precision_ == Precision::kBFloat16 ? at::kBFloat16 : at::kFloat;
    const bool has_path = device().is_cuda() || (device().is_cpu() && PackedConvolutions::available(type));
    const bool can_pack = fast_paths() && has_path;
    convolutions_ = can_pack ? std::make_unique<PackedConvolutions>(type) : nullptr;
    time_shifts_ = fast_paths() && device().is_cpu() ? std::make_unique<TimeShifts>() : nullptr;
    graphs_ = fast_paths() && device().is_cuda() ? std::make_unique<ForwardGraphs>() : nullptr;
  }

  UNetConfig config_;
  Precision precision_;
  ParameterSet weights_;
  UNet network_;
  std::unique_ptr<PackedConvolutions> convolutions_;  // null where there is no such path
  std::unique_ptr<TimeShifts> time_shifts_;           // likewise
  std::unique_ptr<ForwardGraphs> graphs_;             // likewise
};

}  // namespace ddpm
