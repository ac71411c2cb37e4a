#pragma once

#include <ATen/ATen.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <tuple>

#include "device/device.h"
#include "kernels/cuda/optimizer.h"
#include "training/device_inputs.h"
#include "training/ema.h"
#include "training/optimizer.h"
#include "training/training_state.h"

namespace ddpm {

// Optimizer updates on a CUDA device: the passes are captured and launched as a whole, and whether an update is made is
// decided on the device, which tells of it, the loss and the norm once, at the end of the step.
class DeviceUpdates {
 public:
  // One forward and backward pass: adds to the gradient, and returns the pass's part of the loss. `key`: the pass's
  // cuda::PassKey, on the device. The flag is null where the pass is captured.
  using Pass =
      std::function<at::Tensor(const PassInputs& inputs, const at::Tensor& key, const std::atomic<bool>* cancelled)>;

  explicit DeviceUpdates(at::Device device);

  void begin();
  // Images [first, first + n) of the `images` of update `update`; `recompute` as in Passes.
  void pass(const PassInputs& inputs, uint64_t update, int64_t first, int64_t images, bool recompute, const Pass& pass,
            const std::atomic<bool>& cancelled);
  // Makes the update, if loss and gradient are finite and the weights stay so; `gradient` is clipped in place.
  cuda::UpdateReport finish(TrainingState& state, ParameterSet& gradient, Adam& adam, const Ema& average);

 private:
  struct Captured {
    bool tried = false;
    PassInputs inputs;                   // that the graph reads
    at::Tensor key;                      // likewise
    std::unique_ptr<DeviceGraph> graph;  // null: not captured
  };

  at::Device device_;
  at::Tensor loss_;     // float64
  at::Tensor partial_;  // float64: of the gradient's norm
  at::Tensor report_;   // bytes of a cuda::UpdateReport, there
  at::Tensor told_;     // and here, in pinned memory
  std::map<std::tuple<int64_t, int64_t, bool>, Captured>
      passes_;  // by the images of the pass and the update, and Passes::recompute
};

}  // namespace ddpm
