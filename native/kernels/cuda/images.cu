#include "kernels/cuda/images.h"
#include "kernels/cuda/random.cuh"

namespace ddpm::cuda {
namespace {

// Four elements of an image, in the order [C, H, W] that its noise is drawn in, a thread.
__global__ void make_noised(int64_t threads, int channels, int height, int width, const uint8_t* levels,
                            const NoisedImage* plan, uint64_t seed, uint64_t update, float* x_t, float* eps) {
  const int64_t index = flat_index();
  if (index >= threads) return;
  const int plane = height * width, elements = channels * plane;
  const int blocks = (elements + 3) / 4;
  const int64_t image = index / blocks;
  const int first = static_cast<int>(index % blocks) * 4;
  const NoisedImage p = plan[image];
  const auto z =
      normals(RandomStream(seed, Purpose::kTrainingNoise, update, p.image), static_cast<uint32_t>(first / 4));
  for (int i = 0; i < 4 && first + i < elements; ++i) {
    const int element = first + i;
    const int c = element / plane, y = element % plane / width, x = element % width;
    const int from = p.mirror != 0 ? width - 1 - x : x;
    const uint8_t level = levels[(image * plane + int64_t{y} * width + from) * channels + c];
    const float x_0 = static_cast<float>(level) / 127.5f - 1.0f;
    const int64_t place = image * elements + element;
    x_t[place] = p.signal * x_0 + p.noise * z.v[i];
    eps[place] = z.v[i];
  }
}

// A level a thread.
__global__ void make_levels(int64_t threads, int channels, int height, int width, const float* x, uint8_t* levels,
                            uint8_t* finite) {
  const int64_t index = flat_index();
  if (index >= threads) return;
  const int plane = height * width;
  const int c = static_cast<int>(index % channels);
  const int64_t pixel = index / channels;  // of all images
  const int64_t image = pixel / plane;
  const float value = x[(image * channels + c) * plane + pixel % plane];
  const float level = roundf((value + 1.0f) * 127.5f);
  if (!isfinite(value)) finite[image] = 0;  // whichever thread is the last, it writes the same
  levels[index] = static_cast<uint8_t>(fminf(fmaxf(level, 0.0f), 255.0f));
}

}  // namespace

void noised_images(const ImageShape& shape, const uint8_t* levels, const NoisedImage* plan, uint64_t seed,
                   uint64_t update, float* x_t, float* eps, Stream stream) {
  const int64_t elements = shape.channels * shape.height * shape.width;
  const int64_t threads = shape.images * ((elements + 3) / 4);
  make_noised<<<blocks_for(threads), kBlock, 0, stream>>>(threads, static_cast<int>(shape.channels),
                                                          static_cast<int>(shape.height), static_cast<int>(shape.width),
                                                          levels, plan, seed, update, x_t, eps);
  check_launch();
}

void images_to_levels(const ImageShape& shape, const float* x, uint8_t* levels, uint8_t* finite, Stream stream) {
  const int64_t threads = shape.images * shape.channels * shape.height * shape.width;
  make_levels<<<blocks_for(threads), kBlock, 0, stream>>>(threads, static_cast<int>(shape.channels),
                                                          static_cast<int>(shape.height), static_cast<int>(shape.width),
                                                          x, levels, finite);
  check_launch();
}

}  // namespace ddpm::cuda
