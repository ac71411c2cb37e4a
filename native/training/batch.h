#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "training/pixel_store.h"

namespace ddpm {

// What one pass of Algorithm 1 is computed on: images, and what lines 3 and 4 draw for them.
struct Batch {
  at::Tensor x_0;                // [n, C, H, W] in [-1, 1]
  std::vector<int64_t> t;        // one an image
  at::Tensor eps;                // [n, C, H, W]
  at::Tensor labels;             // [n] int64; undefined for an unconditional model
  std::vector<int64_t> indices;  // of the images in their data set; empty where they are of none
  // Instead of x_0 and eps, for a device that makes them itself (training/device_inputs.h):
  at::Tensor levels;              // [n, H, W, C] uint8, in pinned memory
  std::vector<uint8_t> mirrored;  // one an image: 1 for left to right
};

// Puts batches together. Everything is a function of the seed, the update and the position in the data order, so that
// a run goes on from any point without carried state: the images follow each other through one random permutation of
// the data set after another, so a data set smaller than a batch is gone through more than once in it.
class BatchSource {
 public:
  struct Options {
    uint64_t seed = 0;
    int64_t timesteps = 0;
    bool horizontal_flip = false;
    bool on_device = false;  // the device makes x_0 and eps of the levels
  };
  // `labels`: one an image, or empty.
  BatchSource(std::shared_ptr<const PixelStore> images, std::vector<int64_t> labels, const Options& options);

  // Images [first, first + count) of optimizer update `update`, which begins `images_seen` images into the data order.
  struct Place {
    uint64_t update;
    int64_t images_seen, first, count;
    bool operator==(const Place&) const = default;
  };
  // On all of this thread's OpenMP threads, or on this one alone.
  Batch batch(const Place& place, bool parallel = true);

 private:
  size_t image_at(int64_t position);  // the data set's index at a position of the data order

  std::shared_ptr<const PixelStore> images_;
  std::vector<int64_t> labels_;
  Options options_;
  int64_t epoch_ = -1;  // that order_ is of
  std::vector<uint32_t> order_;
};

}  // namespace ddpm
