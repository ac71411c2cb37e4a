#include "kernels/cpu/adam_kernels.h"

#include "kernels/cpu/instruction_set.h"

namespace ddpm::cpu {

extern const AdamKernel adam_kernel_baseline;
#if defined(DDPM_X86_KERNELS)
extern const AdamKernel adam_kernel_avx2;
extern const AdamKernel adam_kernel_avx512;
#endif

AdamKernel adam_kernel() {
#if defined(DDPM_X86_KERNELS)
  if (instruction_set() == InstructionSet::kAvx512) return adam_kernel_avx512;
  if (instruction_set() == InstructionSet::kAvx2) return adam_kernel_avx2;
#endif
  return adam_kernel_baseline;
}

}  // namespace ddpm::cpu
