#include "engine/memory_pool.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <new>
#include <string_view>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ddpm {
namespace {

// The C library serves smaller blocks well.
constexpr size_t kSmallest = size_t{64} << 10;
constexpr size_t kPage = 4096;

// A block that lies unused serves what is smaller by as much at most: what a step needs is then there in few sizes, and
// little of it is more than is asked for.
constexpr double kMostSlack = 1.5;

// What is in use and what lies unused are together at most this much more than what was in use at once. Were it less,
// the same blocks would come and go in every step.
constexpr size_t kMargin = size_t{128} << 20;

// Every byte of a NaN, in each of the types that tensors have.
constexpr unsigned char kNaN = 0xff;

bool poison_asked_for() {
  static const bool asked = [] {
    const char* poison = std::getenv("DDPM_POISON");
    return poison != nullptr && std::string_view(poison) == "1";
  }();
  return asked;
}

// Blocks come from the system and go back to it by themselves. The C library would put them into heaps of its own, in
// which a freed block stays the process's for as long as there is one behind it: after training 280 MB did.
void* from_system(size_t size) {
#if defined(__linux__)
  if (size >= kSmallest) {
    void* block = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) C10_THROW_ERROR(OutOfMemoryError, c10::str("can't allocate memory: ", size, " bytes"));
    return block;
  }
#endif
  return c10::alloc_cpu(size);
}

void to_system(void* block, [[maybe_unused]] size_t size) {
#if defined(__linux__)
  if (size >= kSmallest) {
    munmap(block, size);
    return;
  }
#endif
  c10::free_cpu(block);
}

// Stands before each block, which begins on a cache line as LibTorch's do.
struct alignas(64) Header {
  size_t size;   // of header and block
  Header* next;  // of those of one size that lie unused
};

class MemoryPool final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const size_t wanted = bytes + sizeof(Header);
    const size_t size = wanted < kSmallest ? wanted : (wanted + kPage - 1) / kPage * kPage;
    Header* block = take(size);
    void* data = block + 1;
    if (poison_asked_for()) std::memset(data, kNaN, block->size - sizeof(Header));
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
  using Unused = std::map<size_t, Header*>;  // by size

  static void to_system_all(Header* chain) {
    while (chain != nullptr) {
      Header* next = chain->next;
      to_system(chain, chain->size);
      chain = next;
    }
  }

  void free_all() {
    Unused blocks;
    {
      const std::lock_guard lock(mutex_);
      blocks.swap(unused_);
      unused_bytes_ = 0;
      most_in_use_ = in_use_;
    }
    for (auto& [size, chain] : blocks) to_system_all(chain);
  }

  Header* take(size_t size) {
    if (size < kSmallest) return make(size);
    Header* too_many = nullptr;
    {
      const std::lock_guard lock(mutex_);
      const auto found = unused_.lower_bound(size);
      const bool fits =
          found != unused_.end() && static_cast<double>(found->first) <= kMostSlack * static_cast<double>(size);
      in_use_ += fits ? found->first : size;
      most_in_use_ = std::max(most_in_use_, in_use_);
      if (fits) return take_from(found);
      while (!unused_.empty() && in_use_ + unused_bytes_ > most_in_use_ + kMargin) {
        Header* block = take_from(std::prev(unused_.end()));
        block->next = too_many;
        too_many = block;
      }
    }
    to_system_all(too_many);
    try {
      return make(size);
    } catch (const c10::Error&) {
      // What lies here unused may be what is missing, here or where others ask for it: oneDNN does not survive it when
      // it has no room for its code. So nothing is kept until work pauses.
      short_of_memory_ = true;
      free_all();
    }
    try {
      return make(size);
    } catch (const c10::Error&) {
      no_longer_in_use(size);
      throw;
    }
  }

  Header* take_from(Unused::iterator chain) {
    Header* block = chain->second;
    unused_bytes_ -= block->size;
    chain->second = block->next;
    if (chain->second == nullptr) unused_.erase(chain);
    return block;
  }

  void no_longer_in_use(size_t size) {
    const std::lock_guard lock(mutex_);
    in_use_ -= size;
  }

  static Header* make(size_t size) {
    auto* block = static_cast<Header*>(from_system(size));
    block->size = size;
    return block;
  }

  static void give_back(void* data);

  std::mutex mutex_;
  Unused unused_;
  size_t unused_bytes_ = 0;
  size_t in_use_ = 0, most_in_use_ = 0;  // bytes of the others from kSmallest on
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
  const size_t size = header->size;
  if (size < kSmallest) {
    to_system(header, size);
    return;
  }
  MemoryPool& all = pool();
  {
    const std::lock_guard lock(all.mutex_);
    all.in_use_ -= size;
    if (!all.short_of_memory_) {
      try {
        Header*& first = all.unused_[size];
        header->next = first;
        first = header;
        all.unused_bytes_ += size;
        return;
      } catch (const std::bad_alloc&) {  // no room for the list: and nobody to tell of it
      }
    }
  }
  to_system(header, size);
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

bool memory_is_poisoned() {
  constexpr size_t bytes = 64;
  const c10::DataPtr block = pool().allocate(bytes);
  const auto* first = static_cast<const unsigned char*>(block.get());
  return std::all_of(first, first + bytes, [](unsigned char byte) { return byte == kNaN; });
}

void empty_memory_pool() { pool().empty(); }

}  // namespace ddpm
