// Streams, memory and graphs of CUDA devices. c10's headers rather than ATen's context, which would have us link
// libraries that we do not use.
#include <ATen/Context.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <mutex>

#include "device/device.h"

namespace ddpm {
namespace {

// Float32 means float32, as on the CPU, and the same numbers every time: what a training that is taken up again is
// compared with.
void configure() {
  static std::once_flag once;
  std::call_once(once, [] {
    auto& context = at::globalContext();
    context.setAllowTF32CuDNN(false);
    context.setAllowTF32CuBLAS(false);
    context.setDeterministicCuDNN(true);
    context.setBenchmarkCuDNN(false);
  });
}

// The allocator gives nothing back to the system while anyone captures.
std::mutex& capture_mutex() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace

struct DeviceScope::Cuda {
  explicit Cuda(at::Device device) : guard(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index())) {}
  c10::cuda::CUDAStreamGuard guard;  // of the device too
};

DeviceScope::DeviceScope(at::Device device) {
  if (!device.is_cuda()) return;
  configure();
  cuda_ = std::make_unique<Cuda>(device);
}

DeviceScope::~DeviceScope() {
  if (!cuda_) return;
  const std::lock_guard lock(capture_mutex());
  try {
    c10::cuda::CUDACachingAllocator::emptyCache();
  } catch (const std::exception&) {
    // A device that has failed gives nothing back; whoever waited for its work was told.
  }
}

cuda::Stream stream_of(const at::Tensor& tensor) {
  return c10::cuda::getCurrentCUDAStream(tensor.device().index()).stream();
}

void wait_for(at::Device device) { c10::cuda::getCurrentCUDAStream(device.index()).synchronize(); }

struct DevicePace::Cuda {
  c10::cuda::CUDAEvent ends[2];  // of the last step and the one before
  int newest = 0;
};

DevicePace::DevicePace() : cuda_(std::make_unique<Cuda>()) {}

DevicePace::~DevicePace() = default;

void DevicePace::step(at::Device device) {
  if (!device.is_cuda()) return;
  cuda_->newest = 1 - cuda_->newest;
  cuda_->ends[cuda_->newest].record(c10::cuda::getCurrentCUDAStream(device.index()));
  cuda_->ends[1 - cuda_->newest].synchronize();  // which does nothing before there was a second step
}

struct DeviceGraph::Cuda {
  c10::DeviceIndex device;
  at::cuda::CUDAGraph graph;
};

DeviceGraph::DeviceGraph(std::unique_ptr<Cuda> cuda) : cuda_(std::move(cuda)) {}

DeviceGraph::~DeviceGraph() = default;

std::unique_ptr<DeviceGraph> DeviceGraph::capture(at::Device device, const std::function<void()>& work) {
  auto cuda = std::make_unique<Cuda>();
  cuda->device = device.index();
  wait_for(device);
  const std::lock_guard lock(capture_mutex());
  // What the work took when it was done one by one is not needed any more: the graph has memory of its own.
  c10::cuda::CUDACachingAllocator::emptyCache();
  bool began = false;
  try {
    // Of this thread alone: others may meanwhile use CUDA as they like.
    cuda->graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    began = true;
    work();
    cuda->graph.capture_end();
  } catch (const std::exception&) {
    if (began) {
      try {
        cuda->graph.capture_end();  // takes the stream out of the capture
      } catch (const std::exception&) {
      }
    }
    static_cast<void>(cudaGetLastError());  // the failure was told, and is not one of the next call
    return nullptr;
  }
  return std::unique_ptr<DeviceGraph>(new DeviceGraph(std::move(cuda)));
}

void DeviceGraph::launch() { cuda_->graph.replay(); }

}  // namespace ddpm
