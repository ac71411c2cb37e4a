#include "kernels/cuda/device.cuh"
#include "kernels/cuda/dropout.h"
#include "kernels/philox.h"

namespace ddpm::cuda {
namespace {

// The elements of one block of four random numbers, a thread.
template <class T>
__global__ void mask(const T* x, int64_t threads, int64_t elements, uint64_t threshold, float scale, uint64_t seed,
                     uint32_t layer, const PassKey* key, T* y) {
  const int64_t index = flat_index();
  if (index >= threads) return;
  const int64_t blocks = (elements + 3) / 4;
  const int64_t image = index / blocks, block = index % blocks;
  const RandomStream stream(seed, Purpose::kDropout, key->update, key->first_image + static_cast<uint64_t>(image),
                            layer);
  const Random4 random = philox4x32(stream, static_cast<uint32_t>(block));
  for (int i = 0; i < 4 && block * 4 + i < elements; ++i) {
    const int64_t place = image * elements + block * 4 + i;
    from_float(y[place], to_float(x[place]) * (random.v[i] < threshold ? scale : 0.0f));
  }
}

}  // namespace

void dropout(const void* x, bool bfloat16, int64_t images, int64_t elements, double probability, uint64_t seed,
             uint32_t layer, const PassKey* key, void* y, Stream stream) {
  const DropoutRule rule = dropout_rule(probability);
  const int64_t threads = images * ((elements + 3) / 4);
  const auto launch = [&](auto type) {
    using T = decltype(type);
    mask<T><<<blocks_for(threads), kBlock, 0, stream>>>(static_cast<const T*>(x), threads, elements, rule.threshold,
                                                        rule.scale, seed, layer, key, static_cast<T*>(y));
    check_launch();
  };
  if (bfloat16) {
    launch(__nv_bfloat16{});
  } else {
    launch(float{});
  }
}

}  // namespace ddpm::cuda
