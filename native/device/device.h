#pragma once

#include <ATen/ATen.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/stream.h"

namespace ddpm {

// Whether this build is one for CUDA.
bool built_for_cuda();

// Why this build cannot compute on the CUDA device of that number here; empty where it can.
std::string why_not_cuda(c10::DeviceIndex index);

// While it lives, this thread works on the device. A CUDA device gets a stream of the thread's own for it, on which all
// that the thread asks for is done in that order; what is freed is given back to the system at the end.
class DeviceScope {
 public:
  explicit DeviceScope(at::Device device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  struct Cuda;
  std::unique_ptr<Cuda> cuda_;  // null on the CPU
};

// Where this thread's work on the tensor's CUDA device goes.
cuda::Stream stream_of(const at::Tensor& tensor);

// Waits until this thread's work on the CUDA device is done.
void wait_for(at::Device device);

// Lets a thread be one step ahead of its CUDA device and no more: what it tells of its progress is then true, and what
// is cancelled ends soon. On the CPU nothing is ever ahead.
class DevicePace {
 public:
  DevicePace();
  ~DevicePace();
  // Ends a step: waits until the one before it is done.
  void step(at::Device device);

 private:
  struct Cuda;
  std::unique_ptr<Cuda> cuda_;
};

// While it lives, products and convolutions of float32 tensors on CUDA devices are exact, or round what they multiply
// to TF32. LibTorch has one setting for the process: a thread that wants the other one waits, in the order of arrival,
// until those that have this one are done. Nothing is captured by a thread that has a scope: capture first, then the
// scope. On the CPU it does nothing.
class Float32Scope {
 public:
  Float32Scope(at::Device device, bool tf32);
  ~Float32Scope();
  Float32Scope(const Float32Scope&) = delete;
  Float32Scope& operator=(const Float32Scope&) = delete;

 private:
  bool held_;
};

// A copy of a CPU tensor on the device; on a CUDA device nobody waits for it: it goes by way of pinned memory, which
// the device reads by itself. The tensor itself where the device is the CPU.
inline at::Tensor upload(const at::Tensor& host, at::Device device) {
  if (!device.is_cuda()) return host.to(device);
  return (host.is_pinned() ? host : host.pin_memory()).to(device, /*non_blocking=*/true);
}
inline at::Tensor upload(at::IntArrayRef values, at::Device device) {
  return upload(at::tensor(values, at::kLong), device);
}
// Plain values, as bytes.
template <class T>
at::Tensor upload_values(const std::vector<T>& values, at::Device device) {
  const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
  at::Tensor host = at::empty({bytes}, at::TensorOptions().dtype(at::kByte).pinned_memory(device.is_cuda()));
  std::memcpy(host.mutable_data_ptr(), values.data(), static_cast<size_t>(bytes));
  return upload(host, device);
}

// How the process's passes over CUDA devices were run.
struct PassCounts {
  int64_t captured = 0;    // CUDA graphs made
  int64_t refused = 0;     // captures that failed
  int64_t launched = 0;    // passes that were a launch of a graph
  int64_t uncaptured = 0;  // passes that ran kernel by kernel
  std::string why;         // the last refused capture's reason
};
PassCounts pass_counts();
// To be called for each pass that runs kernel by kernel.
void count_uncaptured_pass();

// Bytes of a CUDA device: free and in all, and what this process's allocator holds and held at most.
struct DeviceMemory {
  int64_t free = 0, total = 0;
  int64_t reserved = 0, most_reserved = 0;
};
DeviceMemory device_memory(c10::DeviceIndex index);
// Begins `most_reserved` anew.
void reset_most_reserved(c10::DeviceIndex index);

// Work on a CUDA device that is written down once and then given to the device as a whole, again and again: the same
// kernels on the same memory. The work must not wait for the device, and nothing of it is done while it is written
// down. It has to have been done before, so that what is set up at its first time is there. What it leaves in tensors
// that it made itself is good until this thread launches another graph.
class DeviceGraph {
 public:
  // Null where it cannot be written down (an operator waits for the device, there is no memory): it then has to be done
  // as ever.
  static std::unique_ptr<DeviceGraph> capture(at::Device device, const std::function<void()>& work);
  ~DeviceGraph();
  void launch();

 private:
  struct Cuda;
  explicit DeviceGraph(std::unique_ptr<Cuda> cuda);
  std::unique_ptr<Cuda> cuda_;
};

}  // namespace ddpm
