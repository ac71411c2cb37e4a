#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <map>
#include <memory>

#include "device/device.h"

namespace ddpm {

// The forward passes of a network on a CUDA device, captured for each batch size that comes more than once: a pass of
// hundreds of small kernels is then one launch.
class ForwardGraphs {
 public:
  // x [B, C, H, W], t [B], labels [B] (undefined for an unconditional network) -> [B, out, H, W]; all on the device
  using Forward = std::function<at::Tensor(const at::Tensor& x, const at::Tensor& t, const at::Tensor& labels)>;

  // What `forward` gives, in memory that the next call, of this or of other graphs of the thread, may write to.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& t, const at::Tensor& labels, const Forward& forward);

 private:
  struct Captured {
    bool tried = false;
    at::Tensor x, t, labels, output;     // what the graph reads and writes
    std::unique_ptr<DeviceGraph> graph;  // null: not captured
  };

  std::map<int64_t, Captured> by_batch_;
};

}  // namespace ddpm
