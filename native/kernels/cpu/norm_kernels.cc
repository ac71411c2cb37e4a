#include "kernels/cpu/norm_kernels.h"

#include "kernels/cpu/instruction_set.h"

namespace ddpm::cpu {

#define DDPM_DECLARE(name)                                       \
  extern const NormKernels<float> norm_kernels_##name##_float32; \
  extern const NormKernels<uint16_t> norm_kernels_##name##_bfloat16;
DDPM_DECLARE(baseline)
#if defined(DDPM_X86_KERNELS)
DDPM_DECLARE(avx2)
DDPM_DECLARE(avx512)
#endif
#undef DDPM_DECLARE

namespace {

template <class Kernels>
const Kernels& choose([[maybe_unused]] const Kernels& avx512, [[maybe_unused]] const Kernels& avx2,
                      const Kernels& baseline) {
  switch (instruction_set()) {
    case InstructionSet::kAvx512:
      return avx512;
    case InstructionSet::kAvx2:
      return avx2;
    default:
      return baseline;
  }
}

}  // namespace

#if defined(DDPM_X86_KERNELS)
const NormKernels<float>& norm_kernels(float) {
  return choose(norm_kernels_avx512_float32, norm_kernels_avx2_float32, norm_kernels_baseline_float32);
}
const NormKernels<uint16_t>& norm_kernels(uint16_t) {
  return choose(norm_kernels_avx512_bfloat16, norm_kernels_avx2_bfloat16, norm_kernels_baseline_bfloat16);
}
#else
const NormKernels<float>& norm_kernels(float) { return norm_kernels_baseline_float32; }
const NormKernels<uint16_t>& norm_kernels(uint16_t) { return norm_kernels_baseline_bfloat16; }
#endif

}  // namespace ddpm::cpu
