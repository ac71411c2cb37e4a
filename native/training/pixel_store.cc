#include "training/pixel_store.h"

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#endif

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <new>
#include <system_error>

#include "error.h"

namespace ddpm {

namespace {

constexpr size_t kSmallestChunkBytes = size_t{64} << 10;

// a * b, or the error that such a set cannot be addressed.
size_t checked_product(size_t a, size_t b) {
  if (a != 0 && b > std::numeric_limits<size_t>::max() / a) {
    throw Error("ERR_DATASET", "The data set is larger than memory addresses reach");
  }
  return a * b;
}

[[noreturn]] void throw_system_error(const std::string& path, int code) {
  throw Error("ERR_IO", "Cannot map '" + path + "': " + std::system_category().message(code));
}

}  // namespace

// A read-only view of a range of a file; unmapped at the end of its life.
class PixelStore::FileMapping {
 public:
  FileMapping(const std::string& path, uint64_t byte_offset, size_t bytes);
  ~FileMapping();
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;

  const uint8_t* data() const { return static_cast<const uint8_t*>(base_) + lead_; }

 private:
  // A view must start at a multiple of the system's granularity, so it may start some bytes early.
  void align(uint64_t byte_offset, size_t bytes, uint64_t granularity) {
    lead_ = static_cast<size_t>(byte_offset % granularity);
    view_offset_ = byte_offset - lead_;
    view_bytes_ = bytes + lead_;
  }

  static void require_file_size(const std::string& path, uint64_t file_bytes, uint64_t byte_offset, size_t bytes) {
    if (byte_offset > file_bytes || bytes > file_bytes - byte_offset) {
      throw Error("ERR_DATASET", "'" + path + "' has " + std::to_string(file_bytes) + " bytes, but its images need " +
                                     std::to_string(bytes) + " from byte " + std::to_string(byte_offset));
    }
  }

  void* base_ = nullptr;
  size_t lead_ = 0;
  uint64_t view_offset_ = 0;
  size_t view_bytes_ = 0;
};

#ifdef _WIN32

namespace {

class ScopedHandle {
 public:
  explicit ScopedHandle(HANDLE handle) : handle_(handle) {}
  ~ScopedHandle() {
    if (valid()) CloseHandle(handle_);
  }
  ScopedHandle(const ScopedHandle&) = delete;
  ScopedHandle& operator=(const ScopedHandle&) = delete;

  bool valid() const { return handle_ != nullptr && handle_ != INVALID_HANDLE_VALUE; }
  HANDLE get() const { return handle_; }

 private:
  HANDLE handle_;
};

std::wstring widen(const std::string& text) {
  const int size = static_cast<int>(text.size());
  std::wstring wide(static_cast<size_t>(MultiByteToWideChar(CP_UTF8, 0, text.data(), size, nullptr, 0)), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, text.data(), size, wide.data(), static_cast<int>(wide.size()));
  return wide;
}

}  // namespace

PixelStore::FileMapping::FileMapping(const std::string& path, uint64_t byte_offset, size_t bytes) {
  const auto fail = [&path] { throw_system_error(path, static_cast<int>(GetLastError())); };

  const ScopedHandle file(CreateFileW(widen(path).c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr,
                                      OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr));
  if (!file.valid()) fail();
  LARGE_INTEGER size;
  if (!GetFileSizeEx(file.get(), &size)) fail();
  require_file_size(path, static_cast<uint64_t>(size.QuadPart), byte_offset, bytes);
  if (bytes == 0) return;

  SYSTEM_INFO system;
  GetSystemInfo(&system);
  align(byte_offset, bytes, system.dwAllocationGranularity);
  const ScopedHandle section(CreateFileMappingW(file.get(), nullptr, PAGE_READONLY, 0, 0, nullptr));
  if (!section.valid()) fail();
  base_ = MapViewOfFile(section.get(), FILE_MAP_READ, static_cast<DWORD>(view_offset_ >> 32),
                        static_cast<DWORD>(view_offset_), view_bytes_);
  if (base_ == nullptr) fail();
}

PixelStore::FileMapping::~FileMapping() {
  if (base_ != nullptr) UnmapViewOfFile(base_);
}

#else

namespace {

class ScopedDescriptor {
 public:
  explicit ScopedDescriptor(int descriptor) : descriptor_(descriptor) {}
  ~ScopedDescriptor() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  ScopedDescriptor(const ScopedDescriptor&) = delete;
  ScopedDescriptor& operator=(const ScopedDescriptor&) = delete;

  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

}  // namespace

PixelStore::FileMapping::FileMapping(const std::string& path, uint64_t byte_offset, size_t bytes) {
  // O_NONBLOCK, or opening a named pipe would wait for its writer.
  const ScopedDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) throw_system_error(path, errno);
  struct stat status;
  if (fstat(file.get(), &status) != 0) throw_system_error(path, errno);
  if (!S_ISREG(status.st_mode)) throw Error("ERR_IO", "Cannot map '" + path + "': it is not a regular file");
  require_file_size(path, static_cast<uint64_t>(status.st_size), byte_offset, bytes);
  if (bytes == 0) return;

  align(byte_offset, bytes, static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
  void* base = mmap(nullptr, view_bytes_, PROT_READ, MAP_SHARED, file.get(), static_cast<off_t>(view_offset_));
  if (base == MAP_FAILED) throw_system_error(path, errno);
  base_ = base;
}

PixelStore::FileMapping::~FileMapping() {
  if (base_ != nullptr) munmap(base_, view_bytes_);
}

#endif

PixelStore::PixelStore(const Shape& shape, size_t largest_chunk_bytes)
    : shape_(shape), image_bytes_(checked_product(checked_product(shape.height, shape.width), shape.channels)) {
  if (image_bytes_ == 0) throw Error("ERR_DATASET", "An image needs a height, a width and channels of at least 1");
  first_chunk_images_ = std::max<size_t>(std::min(kSmallestChunkBytes, largest_chunk_bytes) / image_bytes_, 1);
  const size_t growth = std::max<size_t>(largest_chunk_bytes / (first_chunk_images_ * image_bytes_), 1);
  doublings_ = static_cast<size_t>(std::bit_width(growth)) - 1;
}

PixelStore::~PixelStore() = default;

std::shared_ptr<PixelStore> PixelStore::map(const std::string& path, const Shape& shape, size_t count,
                                            uint64_t byte_offset) {
  auto store = std::make_shared<PixelStore>(shape);
  store->mapping_ = std::make_unique<FileMapping>(path, byte_offset, checked_product(count, store->image_bytes_));
  store->mapped_ = store->mapping_->data();
  store->count_.store(count, std::memory_order_release);
  return store;
}

size_t PixelStore::chunk_images(size_t chunk) const { return first_chunk_images_ << std::min(chunk, doublings_); }

PixelStore::Place PixelStore::locate(size_t index) const {
  // The doubling chunks 0 … k−1 hold first·(2^k − 1) images together.
  const size_t doubling_images = first_chunk_images_ * ((size_t{1} << doublings_) - 1);
  if (index < doubling_images) {
    const size_t chunk = static_cast<size_t>(std::bit_width(index / first_chunk_images_ + 1)) - 1;
    return {chunk, index - first_chunk_images_ * ((size_t{1} << chunk) - 1)};
  }
  const size_t rest = index - doubling_images;
  const size_t largest_images = first_chunk_images_ << doublings_;
  return {doublings_ + rest / largest_images, rest % largest_images};
}

const uint8_t* PixelStore::image(size_t index) const {
  if (mapping_ != nullptr) return mapped_ + index * image_bytes_;
  const Place place = locate(index);
  return table_.load(std::memory_order_acquire)[place.chunk] + place.image * image_bytes_;
}

void PixelStore::add_chunk() {
  if (chunks_.size() == table_size_) {
    const size_t size = std::max<size_t>(2 * table_size_, 16);
    auto table = std::make_unique<uint8_t*[]>(size);
    std::copy_n(table_.load(std::memory_order_relaxed), table_size_, table.get());
    tables_.push_back(std::move(table));
    table_.store(tables_.back().get(), std::memory_order_release);
    table_size_ = size;
  }
  const size_t bytes = checked_product(chunk_images(chunks_.size()), image_bytes_);
  // Not cleared: pages that no image reaches cost nothing.
  chunks_.push_back(std::make_unique_for_overwrite<uint8_t[]>(bytes));
  tables_.back()[chunks_.size() - 1] = chunks_.back().get();
  memory_bytes_ += bytes;
}

void PixelStore::append(const uint8_t* pixels, size_t count) {
  if (mapping_ != nullptr) throw Error("ERR_DATASET", "A data set that is mapped from a file cannot grow");
  const std::lock_guard<std::mutex> lock(append_mutex_);
  size_t held = count_.load(std::memory_order_relaxed);
  try {
    while (count > 0) {
      const Place place = locate(held);
      if (place.chunk == chunks_.size()) add_chunk();
      const size_t images = std::min(count, chunk_images(place.chunk) - place.image);
      std::memcpy(chunks_[place.chunk].get() + place.image * image_bytes_, pixels, images * image_bytes_);
      pixels += images * image_bytes_;
      count -= images;
      held += images;
    }
  } catch (const std::bad_alloc&) {
    throw Error("ERR_OUT_OF_MEMORY",
                "No memory for more than " + std::to_string(count_.load(std::memory_order_relaxed)) + " images of " +
                    std::to_string(image_bytes_) + " bytes; use smaller images or a memory-mapped cache");
  }
  // Only now do readers see the new images; what a failed append had copied is overwritten by the next.
  count_.store(held, std::memory_order_release);
}

}  // namespace ddpm
