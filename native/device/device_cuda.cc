// Streams, memory and graphs of CUDA devices. c10's headers rather than ATen's context, which would have us link
// libraries that we do not use.
#include <ATen/Context.h>
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "device/device.h"

namespace ddpm {
namespace {

// The oldest compute capability that our kernels are compiled for (CMAKE_CUDA_ARCHITECTURES), and that has bfloat16.
constexpr int kOldestMajor = 8;

void allow_tf32(bool allowed) {
  at::globalContext().setAllowTF32CuDNN(allowed);
  at::globalContext().setAllowTF32CuBLAS(allowed);
}

// Float32 means float32, as on the CPU, and the same numbers every time: what a training that is taken up again is
// compared with.
void configure() {
  static std::once_flag once;
  std::call_once(once, [] {
    auto& context = at::globalContext();
    allow_tf32(false);
    context.setDeterministicCuDNN(true);
    context.setBenchmarkCuDNN(false);
  });
}

// The process's setting of TF32, and whose it is.
class Float32Setting {
 public:
  void enter(bool tf32) {
    std::unique_lock lock(mutex_);
    const uint64_t ticket = tickets_++;
    // In the order of arrival: whoever wants the other setting is not passed by for ever.
    changed_.wait(lock, [&] { return ticket == next_ && (holders_ == 0 || tf32_ == tf32); });
    ++next_;
    ++holders_;
    if (tf32_ != tf32) allow_tf32(tf32_ = tf32);
    changed_.notify_all();
  }

  void leave() {
    const std::lock_guard lock(mutex_);
    --holders_;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t tickets_ = 0, next_ = 0;
  int holders_ = 0;
  bool tf32_ = false;
};

Float32Setting& float32_setting() {
  static auto* made = new Float32Setting;
  return *made;
}

struct Counts {
  std::mutex mutex;
  PassCounts counts;
};
Counts& counts() {
  static auto* made = new Counts;
  return *made;
}
template <class Change>
void count(Change change) {
  const std::lock_guard lock(counts().mutex);
  change(counts().counts);
}

// The allocator gives nothing back to the system while anyone captures.
std::mutex& capture_mutex() {
  static std::mutex mutex;
  return mutex;
}

// Streams that belong to one thread at a time. LibTorch's pool hands out the same 32 again and again, and what one
// thread does on a stream that another captures would become part of that graph. They live as long as the process, and
// are taken up again: LibTorch keeps a workspace for every stream that it has seen.
class Streams {
 public:
  c10::cuda::CUDAStream take(c10::DeviceIndex device) {
    const std::lock_guard lock(mutex_);
    for (Entry& entry : all_) {
      if (entry.taken || entry.stream.device_index() != device) continue;
      entry.taken = true;
      return entry.stream;
    }
    const c10::cuda::CUDAGuard guard(device);
    cudaStream_t made = nullptr;
    C10_CUDA_CHECK(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking));
    all_.push_back({c10::cuda::getStreamFromExternal(made, device), true});
    return all_.back().stream;
  }

  void give_back(const c10::cuda::CUDAStream& stream) {
    const std::lock_guard lock(mutex_);
    std::find_if(all_.begin(), all_.end(), [&](const Entry& entry) { return entry.stream == stream; })->taken = false;
  }

 private:
  struct Entry {
    c10::cuda::CUDAStream stream;
    bool taken;
  };
  std::mutex mutex_;
  std::deque<Entry> all_;
};

Streams& streams() {
  static auto* made = new Streams;
  return *made;
}

// The memory of this thread's graphs. They run one after another, and nothing in it is needed from one to the next but
// what somebody holds a tensor of: so they share it, and together take little more than the largest of them.
using PoolId = decltype(at::cuda::graph_pool_handle());
std::shared_ptr<const PoolId> graph_memory() {
  thread_local std::weak_ptr<const PoolId> shared;  // until the last graph is gone
  auto memory = shared.lock();
  if (!memory) shared = memory = std::make_shared<const PoolId>(at::cuda::graph_pool_handle());
  return memory;
}

}  // namespace

bool built_for_cuda() { return true; }

std::string why_not_cuda(c10::DeviceIndex index) {
  const int count = c10::cuda::device_count();
  if (count == 0) {
    int driver = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) return "there is no NVIDIA driver";
    const auto release = [](int version) {
      return std::to_string(version / 1000) + '.' + std::to_string(version % 1000 / 10);
    };
    return "the NVIDIA driver, which is for CUDA " + release(driver) + " (this build: " + release(CUDART_VERSION) +
           "), tells of no device";
  }
  if (index >= count) {
    return "the machine's devices are 'cuda:0' to 'cuda:" + std::to_string(count - 1) + "'";
  }
  int major = 0, minor = 0;
  for (const auto& [value, which] :
       {std::pair{&major, cudaDevAttrComputeCapabilityMajor}, std::pair{&minor, cudaDevAttrComputeCapabilityMinor}}) {
    const cudaError_t status = cudaDeviceGetAttribute(value, which, index);
    if (status != cudaSuccess) return cudaGetErrorString(status);
  }
  if (major >= kOldestMajor) return {};
  return "the card has compute capability " + std::to_string(major) + '.' + std::to_string(minor) + ", and " +
         std::to_string(kOldestMajor) + ".0 is the least";
}

struct DeviceScope::Cuda {
  explicit Cuda(at::Device device) : stream(streams().take(device.index())), guard(stream) {}
  ~Cuda() { streams().give_back(stream); }

  c10::cuda::CUDAStream stream;
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
    at::getHostAllocator(at::kCUDA)->empty_cache();  // pinned memory
  } catch (const std::exception&) {
    // A device that has failed gives nothing back; whoever waited for its work was told.
  }
}

cuda::Stream stream_of(const at::Tensor& tensor) {
  return c10::cuda::getCurrentCUDAStream(tensor.device().index()).stream();
}

void wait_for(at::Device device) { c10::cuda::getCurrentCUDAStream(device.index()).synchronize(); }

struct DevicePace::Cuda {
  // The end of a step, which a thread sleeps for. Made when it is first recorded, on the device that is then current.
  struct Event {
    cudaEvent_t event = nullptr;

    ~Event() {
      if (event != nullptr) static_cast<void>(cudaEventDestroy(event));
    }
    void record(cudaStream_t stream) {
      if (event == nullptr) {
        C10_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync));
      }
      C10_CUDA_CHECK(cudaEventRecord(event, stream));
    }
    void wait() const {
      if (event != nullptr) C10_CUDA_CHECK(cudaEventSynchronize(event));
    }
  };

  Event ends[2];  // of the last two steps
  int newest = 0;
};

DevicePace::DevicePace() : cuda_(std::make_unique<Cuda>()) {}

DevicePace::~DevicePace() = default;

void DevicePace::step(at::Device device) {
  if (!device.is_cuda()) return;
  cuda_->newest = 1 - cuda_->newest;
  cuda_->ends[cuda_->newest].record(c10::cuda::getCurrentCUDAStream(device.index()).stream());
  cuda_->ends[1 - cuda_->newest].wait();  // for nothing, before there was a second step
}

Float32Scope::Float32Scope(at::Device device, bool tf32) : held_(device.is_cuda()) {
  if (held_) float32_setting().enter(tf32);
}

Float32Scope::~Float32Scope() {
  if (held_) float32_setting().leave();
}

PassCounts pass_counts() {
  const std::lock_guard lock(counts().mutex);
  return counts().counts;
}

void count_uncaptured_pass() {
  count([](PassCounts& passes) { ++passes.uncaptured; });
}

DeviceMemory device_memory(c10::DeviceIndex index) {
  if (!why_not_cuda(index).empty()) return {};
  const c10::cuda::CUDAGuard guard(index);
  size_t free = 0, total = 0;
  C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  DeviceMemory memory{static_cast<int64_t>(free), static_cast<int64_t>(total)};
  if (c10::cuda::CUDACachingAllocator::get()->initialized()) {
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(index);
    const auto& reserved = stats.reserved_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
    memory.reserved = reserved.current;
    memory.most_reserved = reserved.peak;
  }
  return memory;
}

void reset_most_reserved(c10::DeviceIndex index) {
  if (!why_not_cuda(index).empty() || !c10::cuda::CUDACachingAllocator::get()->initialized()) return;
  c10::cuda::CUDACachingAllocator::resetPeakStats(index);
}

struct DeviceGraph::Cuda {
  std::shared_ptr<const PoolId> memory = graph_memory();
  at::cuda::CUDAGraph graph;
};

DeviceGraph::DeviceGraph(std::unique_ptr<Cuda> cuda) : cuda_(std::move(cuda)) {}

DeviceGraph::~DeviceGraph() = default;

std::unique_ptr<DeviceGraph> DeviceGraph::capture(at::Device device, const std::function<void()>& work) {
  auto cuda = std::make_unique<Cuda>();
  wait_for(device);
  const std::lock_guard lock(capture_mutex());
  // What the work took when it was done one by one is not needed any more: graphs have memory of their own.
  c10::cuda::CUDACachingAllocator::emptyCache();
  bool began = false;
  try {
    // Of this thread alone: others may meanwhile use CUDA as they like.
    cuda->graph.capture_begin(*cuda->memory, cudaStreamCaptureModeThreadLocal);
    began = true;
    work();
    cuda->graph.capture_end();
  } catch (const std::exception& failure) {
    count([&](PassCounts& passes) {
      ++passes.refused;
      passes.why = failure.what();
    });
    if (began) {
      try {
        cuda->graph.capture_end();  // takes the stream out of the capture
      } catch (const std::exception&) {
      }
    }
    static_cast<void>(cudaGetLastError());  // the failure was told, and is not one of the next call
    cuda.reset();                           // before another thread empties the cache
    return nullptr;
  }
  count([](PassCounts& passes) { ++passes.captured; });
  return std::unique_ptr<DeviceGraph>(new DeviceGraph(std::move(cuda)));
}

void DeviceGraph::launch() {
  cuda_->graph.replay();
  count([](PassCounts& passes) { ++passes.launched; });
}

}  // namespace ddpm
