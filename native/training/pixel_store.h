#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace ddpm {

// Images of one shape as uint8 levels, [n, H, W, C]: in memory, growing at the end, or mapped read-only from a file.
//
// Any thread may read the images below a count() that it has seen, also while another thread appends: pixels never move
// once they are in.
class PixelStore {
 public:
  struct Shape {
    size_t height = 0;
    size_t width = 0;
    size_t channels = 0;
  };

  // Memory is taken in chunks, each twice as large as the one before, up to this; so a small set stays small, and a
  // large one is never copied to grow.
  static constexpr size_t kLargestChunkBytes = size_t{64} << 20;

  // An empty store in memory. Throws ERR_DATASET for a shape without pixels or beyond what memory can address.
  explicit PixelStore(const Shape& shape, size_t largest_chunk_bytes = kLargestChunkBytes);

  // Maps `count` images that start `byte_offset` bytes into a file, whose name is UTF-8. The file must not change while
  // the store lives. Throws ERR_IO with the system's reason, ERR_DATASET where the file is too short.
  static std::shared_ptr<PixelStore> map(const std::string& path, const Shape& shape, size_t count,
                                         uint64_t byte_offset);

  ~PixelStore();
  PixelStore(const PixelStore&) = delete;
  PixelStore& operator=(const PixelStore&) = delete;

  // Copies `count` images in at the end. Throws ERR_OUT_OF_MEMORY, and ERR_DATASET for a mapped store; the images that
  // were there stay as they are.
  void append(const uint8_t* pixels, size_t count);

  size_t height() const { return shape_.height; }
  size_t width() const { return shape_.width; }
  size_t channels() const { return shape_.channels; }
  size_t image_bytes() const { return image_bytes_; }
  size_t count() const { return count_.load(std::memory_order_acquire); }

  // Bytes of memory that the store holds; 0 for a mapped one. For the thread that appends.
  size_t memory_bytes() const { return memory_bytes_; }

  // The levels of image `index` < count(), [H, W, C]; good for as long as the store lives.
  const uint8_t* image(size_t index) const;

 private:
  class FileMapping;

  struct Place {
    size_t chunk;
    size_t image;  // within the chunk
  };

  size_t chunk_images(size_t chunk) const;
  Place locate(size_t index) const;
  void add_chunk();

  Shape shape_;
  size_t image_bytes_;
  size_t first_chunk_images_;
  size_t doublings_;  // how many chunks double before their size stays

  std::atomic<size_t> count_{0};
  size_t memory_bytes_ = 0;
  std::mutex append_mutex_;

  // Chunk pointers by number. A full table is replaced by a longer copy and kept, for readers may still hold it.
  std::atomic<uint8_t* const*> table_{nullptr};
  size_t table_size_ = 0;
  std::vector<std::unique_ptr<uint8_t*[]>> tables_;
  std::vector<std::unique_ptr<uint8_t[]>> chunks_;

  std::unique_ptr<FileMapping> mapping_;
  const uint8_t* mapped_ = nullptr;
};

}  // namespace ddpm
