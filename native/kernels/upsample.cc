#include "kernels/upsample.h"

#include <ATen/Parallel.h>

#include <cstring>
#include <vector>

namespace ddpm {

at::Tensor upsampling_weight(const at::Tensor& weight) {
  // Along one side, result 2i takes w0 x[i-1] + (w1 + w2) x[i], and 2i + 1 takes (w0 + w1) x[i] + w2 x[i+1].
  const auto halves = [](const at::Tensor& w, int64_t side, bool odd) {
    const at::Tensor w0 = w.select(side, 0), w1 = w.select(side, 1), w2 = w.select(side, 2);
    return odd ? at::stack({w0 + w1, w2}, side) : at::stack({w0, w1 + w2}, side);
  };
  std::vector<at::Tensor> phases;
  for (const bool odd_row : {false, true}) {
    for (const bool odd_column : {false, true}) phases.push_back(halves(halves(weight, 2, odd_row), 3, odd_column));
  }
  return at::cat(phases);
}

at::Tensor interleave_phases(const at::Tensor& phases) {
  const int64_t batch = phases.size(0), channels = phases.size(1) / 4;
  const int64_t height = phases.size(2) - 1, width = phases.size(3) - 1;
  const at::Tensor from = phases.contiguous(at::MemoryFormat::ChannelsLast);
  at::Tensor to = at::empty({batch, channels, 2 * height, 2 * width}, phases.options(), at::MemoryFormat::ChannelsLast);
  const auto bytes = static_cast<size_t>(channels * phases.element_size());
  const auto* source = static_cast<const char*>(from.const_data_ptr());
  auto* target = static_cast<char*>(to.mutable_data_ptr());
  at::parallel_for(0, batch * 2 * height, 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t image = row / (2 * height), y = row % (2 * height);
      for (int64_t x = 0; x < 2 * width; ++x) {
        // Odd results begin one further in the small map.
        const int64_t pixel = (image * (height + 1) + (y + 1) / 2) * (width + 1) + (x + 1) / 2;
        const int64_t phase = 2 * (y % 2) + x % 2;
        std::memcpy(target + static_cast<size_t>(row * 2 * width + x) * bytes,
                    source + static_cast<size_t>(4 * pixel + phase) * bytes, bytes);
      }
    }
  });
  return to;
}

}  // namespace ddpm
