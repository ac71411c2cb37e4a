// The launchers of this folder for builds without CUDA, in which no tensor is on a CUDA device to call them with.
#include "error.h"
#include "kernels/cuda/dropout.h"
#include "kernels/cuda/group_norm.h"
#include "kernels/cuda/images.h"
#include "kernels/cuda/optimizer.h"
#include "kernels/cuda/sampler_step.h"

namespace ddpm::cuda {
namespace {

[[noreturn]] void absent() { throw Error("ERR_NATIVE", "this build is one without CUDA"); }

}  // namespace

int64_t norm_sums(const NormShape&) { absent(); }

void group_norm(const NormShape&, const NormMaps&, const float*, int64_t, const float*, const float*, double, bool,
                const NormScratch&, float*, void*, Stream) {
  absent();
}

void group_norm_gradient(const NormShape&, const NormMaps&, const void*, const float*, bool, const float*,
                         const NormScratch&, float*, const NormMaps&, float*, float*, float*, Stream) {
  absent();
}

void sampler_step(const SamplerCoefficients*, int64_t, int64_t, const float*, const float*, bool, float*, Stream) {
  absent();
}

void sampling_noise(uint64_t, int64_t, int64_t, int64_t, float*, Stream) { absent(); }

void noised_images(const ImageShape&, const uint8_t*, const NoisedImage*, uint64_t, uint64_t, float*, float*, Stream) {
  absent();
}

void images_to_levels(const ImageShape&, const float*, uint8_t*, uint8_t*, Stream) { absent(); }

void dropout(const void*, bool, int64_t, int64_t, double, uint64_t, uint32_t, const PassKey*, void*, Stream) {
  absent();
}

void judge(const float*, int64_t, const double*, double, double, double*, UpdateReport*, Stream) { absent(); }

void adam_and_average(const AdamStep&, const UpdateReport*, int64_t, float*, float*, float*, float*, float*, Stream) {
  absent();
}

}  // namespace ddpm::cuda
