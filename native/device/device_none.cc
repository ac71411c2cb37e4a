// For builds without CUDA, in which no tensor is on a CUDA device.
#include "device/device.h"
#include "error.h"

namespace ddpm {
namespace {

[[noreturn]] void absent() { throw Error("ERR_NATIVE", "this build is one without CUDA"); }

}  // namespace

bool built_for_cuda() { return false; }

std::string why_not_cuda(c10::DeviceIndex) { return "this build is one without CUDA"; }

struct DeviceScope::Cuda {};

DeviceScope::DeviceScope(at::Device device) {
  if (device.is_cuda()) absent();
}

DeviceScope::~DeviceScope() = default;

cuda::Stream stream_of(const at::Tensor&) { absent(); }

void wait_for(at::Device) { absent(); }

struct DevicePace::Cuda {};

DevicePace::DevicePace() = default;

DevicePace::~DevicePace() = default;

void DevicePace::step(at::Device) {}

Float32Scope::Float32Scope(at::Device, bool) : held_(false) {}

Float32Scope::~Float32Scope() = default;

PassCounts pass_counts() { return {}; }

void count_uncaptured_pass() {}

DeviceMemory device_memory(c10::DeviceIndex) { return {}; }

void reset_most_reserved(c10::DeviceIndex) {}

struct DeviceGraph::Cuda {};

DeviceGraph::DeviceGraph(std::unique_ptr<Cuda> cuda) : cuda_(std::move(cuda)) {}

std::unique_ptr<DeviceGraph> DeviceGraph::capture(at::Device, const std::function<void()>&) { return nullptr; }

DeviceGraph::~DeviceGraph() = default;

void DeviceGraph::launch() { absent(); }

}  // namespace ddpm
