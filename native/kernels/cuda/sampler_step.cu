#include "kernels/cuda/random.cuh"
#include "kernels/cuda/sampler_step.h"

namespace ddpm::cuda {
namespace {

// A block of four random numbers, and the elements that they are for, a thread.
struct Four {
  int64_t image;
  int first, count;  // elements of the image

  __device__ Four(int64_t index, int elements) {
    const int blocks = (elements + 3) / 4;
    image = index / blocks;
    first = static_cast<int>(index % blocks) * 4;
    count = min(4, elements - first);
  }
};
int64_t fours(int64_t images, int64_t elements) { return images * ((elements + 3) / 4); }

__global__ void step(const SamplerCoefficients* steps, int64_t threads, int elements, const float* x, const float* eps,
                     bool clip, float* prev) {
  const int64_t index = flat_index();
  if (index >= threads) return;
  const Four four(index, elements);
  const SamplerCoefficients k = steps[four.image];
  Floats<4> z{};
  if (k.sigma != 0) {
    const RandomStream stream(k.seed, Purpose::kSamplingNoise, k.image, k.position);
    z = normals(stream, static_cast<uint32_t>(four.first / 4));
  }
  for (int i = 0; i < four.count; ++i) {
    const int64_t place = four.image * elements + four.first + i;
    const float here = x[place], e = eps[place];
    float x_0 = k.x0_from_x * here + k.x0_from_eps * e;
    // Clipping hides an infinite eps, and fminf a NaN; eps - eps brings them back.
    if (clip) x_0 = fmaxf(-1.0f, fminf(1.0f, x_0)) + (e - e) + (here - here);
    prev[place] = k.prev_from_x0 * x_0 + k.prev_from_x * here + k.prev_from_eps * e + k.sigma * z.v[i];
  }
}

__global__ void noise(uint64_t seed, int64_t first, int64_t threads, int elements, float* out) {
  const int64_t index = flat_index();
  if (index >= threads) return;
  const Four four(index, elements);
  const RandomStream stream(seed, Purpose::kSamplingNoise, static_cast<uint64_t>(first + four.image));
  const auto z = normals(stream, static_cast<uint32_t>(four.first / 4));
  for (int i = 0; i < four.count; ++i) out[four.image * elements + four.first + i] = z.v[i];
}

}  // namespace

void sampler_step(const SamplerCoefficients* steps, int64_t images, int64_t elements, const float* x, const float* eps,
                  bool clip, float* prev, Stream stream) {
  const int64_t threads = fours(images, elements);
  step<<<blocks_for(threads), kBlock, 0, stream>>>(steps, threads, static_cast<int>(elements), x, eps, clip, prev);
  check_launch();
}

void sampling_noise(uint64_t seed, int64_t first, int64_t images, int64_t elements, float* out, Stream stream) {
  const int64_t threads = fours(images, elements);
  noise<<<blocks_for(threads), kBlock, 0, stream>>>(seed, first, threads, static_cast<int>(elements), out);
  check_launch();
}

}  // namespace ddpm::cuda
