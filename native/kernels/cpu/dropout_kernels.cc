#include "kernels/cpu/dropout_kernels.h"

#include "kernels/cpu/instruction_set.h"

namespace ddpm::cpu {

#define DDPM_DECLARE(name)                                             \
  extern const DropoutKernels<float> dropout_kernels_##name##_float32; \
  extern const DropoutKernels<uint16_t> dropout_kernels_##name##_bfloat16;
DDPM_DECLARE(baseline)
#if defined(DDPM_X86_KERNELS)
DDPM_DECLARE(avx2)
DDPM_DECLARE(avx512)
#endif
#undef DDPM_DECLARE

const DropoutKernels<float>& dropout_kernels(float) {
#if defined(DDPM_X86_KERNELS)
  if (instruction_set() == InstructionSet::kAvx512) return dropout_kernels_avx512_float32;
  if (instruction_set() == InstructionSet::kAvx2) return dropout_kernels_avx2_float32;
#endif
  return dropout_kernels_baseline_float32;
}

const DropoutKernels<uint16_t>& dropout_kernels(uint16_t) {
#if defined(DDPM_X86_KERNELS)
  if (instruction_set() == InstructionSet::kAvx512) return dropout_kernels_avx512_bfloat16;
  if (instruction_set() == InstructionSet::kAvx2) return dropout_kernels_avx2_bfloat16;
#endif
  return dropout_kernels_baseline_bfloat16;
}

}  // namespace ddpm::cpu
