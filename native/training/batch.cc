#include "training/batch.h"

#include <ATen/Parallel.h>

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

Batch BatchSource::batch(uint64_t update, int64_t images_seen, int64_t first, int64_t count) {
  const auto height = static_cast<int64_t>(images_->height());
  const auto width = static_cast<int64_t>(images_->width());
  const auto channels = static_cast<int64_t>(images_->channels());
  const int64_t elements = channels * height * width;

  Batch made;
  made.x_0 = at::empty({count, channels, height, width}, at::kFloat);
  made.eps = at::empty({count, channels, height, width}, at::kFloat);
  std::vector<int64_t> labels;
  for (int64_t i = first; i < first + count; ++i) {
    const size_t index = image_at(images_seen + i);
    made.indices.push_back(static_cast<int64_t>(index));
    if (!labels_.empty()) labels.push_back(labels_[index]);
    const RandomStream stream(options_.seed, Purpose::kTrainingTimestep, update, static_cast<uint64_t>(i));
    made.t.push_back(uniform_below(stream, 0, static_cast<uint32_t>(options_.timesteps)));  // Algorithm 1, line 3
  }
  if (!labels.empty()) made.labels = at::tensor(labels, at::kLong);

  auto* x_0 = made.x_0.mutable_data_ptr<float>();
  auto* eps = made.eps.mutable_data_ptr<float>();
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto image = static_cast<uint64_t>(first + i);
      const bool mirror =
          options_.horizontal_flip &&
          uniform_below(RandomStream(options_.seed, Purpose::kHorizontalFlip, update, image), 0, 2) == 1;
      const auto index = static_cast<size_t>(made.indices[static_cast<size_t>(i)]);
      levels_to_image(images_->image(index), height, width, channels, mirror, x_0 + i * elements);
      fill_normal(RandomStream(options_.seed, Purpose::kTrainingNoise, update, image), eps + i * elements, elements);
    }
  });
  return made;
}

}  // namespace ddpm
