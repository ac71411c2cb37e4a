#include "training/batch.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "diffusion/pixels.h"
#include "kernels/philox.h"

namespace ddpm {

BatchSource::BatchSource(std::shared_ptr<const PixelStore> images, std::vector<int64_t> labels, const Options& options)
    : images_(std::move(images)), labels_(std::move(labels)), options_(options) {}

size_t BatchSource::image_at(int64_t position) {
  const auto count = static_cast<int64_t>(images_->count());
  const int64_t epoch = position / count;
  if (epoch != epoch_) {
    order_.resize(static_cast<size_t>(count));
    std::iota(order_.begin(), order_.end(), 0u);
    const RandomStream stream(options_.seed, Purpose::kShuffle, static_cast<uint64_t>(epoch));
    for (auto i = static_cast<uint32_t>(count - 1); i > 0; --i) {  // Fisher and Yates
      std::swap(order_[i], order_[uniform_below(stream, i, i + 1)]);
    }
    epoch_ = epoch;
  }
  return order_[static_cast<size_t>(position % count)];
}

Batch BatchSource::batch(const Place& place, bool parallel) {
  const auto height = static_cast<int64_t>(images_->height());
  const auto width = static_cast<int64_t>(images_->width());
  const auto channels = static_cast<int64_t>(images_->channels());
  const int64_t elements = channels * height * width;
  const auto [update, images_seen, first, count] = place;

  Batch made;
  std::vector<int64_t> labels;
  for (int64_t i = first; i < first + count; ++i) {
    const size_t index = image_at(images_seen + i);
    made.indices.push_back(static_cast<int64_t>(index));
    if (!labels_.empty()) labels.push_back(labels_[index]);
    const auto image = static_cast<uint64_t>(i);
    const RandomStream timestep(options_.seed, Purpose::kTrainingTimestep, update, image);
    made.t.push_back(uniform_below(timestep, 0, static_cast<uint32_t>(options_.timesteps)));  // Algorithm 1, line 3
    const RandomStream flip(options_.seed, Purpose::kHorizontalFlip, update, image);
    made.mirrored.push_back(options_.horizontal_flip && uniform_below(flip, 0, 2) == 1 ? 1 : 0);
  }
  if (!labels.empty()) made.labels = at::tensor(labels, at::kLong);

  const auto levels_of = [&](int64_t i) {
    return images_->image(static_cast<size_t>(made.indices[static_cast<size_t>(i)]));
  };
  if (options_.on_device) {
    made.levels = at::empty({count, height, width, channels}, at::TensorOptions().dtype(at::kByte).pinned_memory(true));
    auto* levels = made.levels.mutable_data_ptr<uint8_t>();
    for (int64_t i = 0; i < count; ++i) std::copy_n(levels_of(i), elements, levels + i * elements);
    return made;
  }
  made.x_0 = at::empty({count, channels, height, width}, at::kFloat);
  made.eps = at::empty({count, channels, height, width}, at::kFloat);
  auto* x_0 = made.x_0.mutable_data_ptr<float>();
  auto* eps = made.eps.mutable_data_ptr<float>();
  const auto draw = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      levels_to_image(levels_of(i), height, width, channels, made.mirrored[static_cast<size_t>(i)] == 1,
                      x_0 + i * elements);
      const RandomStream noise(options_.seed, Purpose::kTrainingNoise, place.update,
                               static_cast<uint64_t>(place.first + i));
      fill_normal(noise, eps + i * elements, elements);
    }
  };
  if (parallel) {
    at::parallel_for(0, count, 1, draw);
  } else {
    draw(0, count);
  }
  return made;
}

}  // namespace ddpm
