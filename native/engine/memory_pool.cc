#include "engine/memory_pool.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace ddpm {
namespace {

// The C library serves smaller blocks well.
constexpr size_t kSmallest = size_t{64} << 10;
constexpr size_t kPage = 4096;

// When more than this lies unused and none of it fits, the work has changed, and all of it goes.
constexpr size_t kMostUnused = size_t{256} << 20;

// Stands before each block, which begins on a cache line as LibTorch's do.
struct alignas(64) Header {
  size_t size;  // of header and block
};

class MemoryPool final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const size_t wanted = bytes + sizeof(Header);
    const size_t size = wanted < kSmallest ? wanted : (wanted + kPage - 1) / kPage * kPage;
    auto* header = static_cast<Header*>(take(size));
    header->size = size;
    void* data = header + 1;
    return {data, data, &give_back, c10::Device(c10::DeviceType::CPU)};
  }

  // Also what oneDNN's buffers are freed with, which know their address alone.
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }

  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }

  void empty() {
    short_of_memory_ = false;
    free_all();
  }

 private:
  void free_all() {
    std::map<size_t, std::vector<void*>> blocks;
    {
      const std::lock_guard lock(mutex_);
      blocks.swap(free_);
      unused_ = 0;
    }
    for (auto& [size, list] : blocks) {
      for (void* block : list) c10::free_cpu(block);
    }
  }

  void* take(size_t size) {
    bool too_much = false;
    if (size >= kSmallest) {
      const std::lock_guard lock(mutex_);
      const auto found = free_.find(size);
      if (found != free_.end() && !found->second.empty()) {
        void* block = found->second.back();
        found->second.pop_back();
        if (found->second.empty()) free_.erase(found);
        unused_ -= size;
        return block;
      }
      too_much = unused_ > kMostUnused;
    }
    if (too_much) free_all();
    try {
      return c10::alloc_cpu(size);
    } catch (const c10::Error&) {
      // What lies here unused may be what is missing, here or where others ask for it: oneDNN does not survive it when
      // it has no room for its code. So nothing is kept until work pauses.
      short_of_memory_ = true;
      free_all();
      return c10::alloc_cpu(size);
    }
  }

  static void give_back(void* data);

  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;  // by size
  size_t unused_ = 0;                          // bytes of them
  std::atomic<bool> short_of_memory_{false};
};

// Never destroyed: tensors that live until the process ends give their memory back to it.
MemoryPool& pool() {
  static auto* made = new MemoryPool;
  return *made;
}

void MemoryPool::give_back(void* data) {
  if (data == nullptr) return;
  auto* header = static_cast<Header*>(data) - 1;
  MemoryPool& all = pool();
  if (header->size < kSmallest || all.short_of_memory_) {
    c10::free_cpu(header);
    return;
  }
  const size_t size = header->size;
  try {
    const std::lock_guard lock(all.mutex_);
    all.free_[size].push_back(header);
    all.unused_ += size;
  } catch (const std::bad_alloc&) {  // no room for the list: and nobody to tell of it
    c10::free_cpu(header);
  }
}

}  // namespace

void use_memory_pool() {
  // Above the priority of LibTorch's own, below that of an allocator that a program may set on purpose.
  static const bool set = [] {
    c10::SetCPUAllocator(&pool(), /*priority=*/1);
    return true;
  }();
  static_cast<void>(set);
}

void empty_memory_pool() { pool().empty(); }

}  // namespace ddpm
