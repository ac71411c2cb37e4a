#include "engine/memory_pool.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <cstring>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace ddpm {
namespace {

// The C library serves smaller blocks well.
constexpr size_t kSmallest = size_t{64} << 10;
constexpr size_t kPage = 4096;

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
    std::map<size_t, std::vector<void*>> blocks;
    {
      const std::lock_guard lock(mutex_);
      blocks.swap(free_);
    }
    for (auto& [size, list] : blocks) {
      for (void* block : list) c10::free_cpu(block);
    }
  }

 private:
  void* take(size_t size) {
    if (size >= kSmallest) {
      const std::lock_guard lock(mutex_);
      const auto found = free_.find(size);
      if (found != free_.end()) {
        void* block = found->second.back();
        found->second.pop_back();
        if (found->second.empty()) free_.erase(found);
        return block;
      }
    }
    try {
      return c10::alloc_cpu(size);
    } catch (const c10::Error&) {
      // What lies here unused may be what is missing.
      empty();
      return c10::alloc_cpu(size);
    }
  }

  static void give_back(void* data);

  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;  // by size
};

// Never destroyed: tensors that live until the process ends give their memory back to it.
MemoryPool& pool() {
  static auto* made = new MemoryPool;
  return *made;
}

void MemoryPool::give_back(void* data) {
  if (data == nullptr) return;
  auto* header = static_cast<Header*>(data) - 1;
  if (header->size < kSmallest) {
    c10::free_cpu(header);
    return;
  }
  MemoryPool& all = pool();
  const std::lock_guard lock(all.mutex_);
  all.free_[header->size].push_back(header);
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
