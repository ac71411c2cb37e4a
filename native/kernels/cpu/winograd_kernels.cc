#include "kernels/cpu/winograd_kernels.h"

#include "kernels/cpu/instruction_set.h"

namespace ddpm::cpu {

#if defined(DDPM_X86_KERNELS)

extern const WinogradKernels<float> winograd_kernels_avx2_float32;
extern const WinogradKernels<float> winograd_kernels_avx512_float32;
extern const WinogradKernels<uint16_t> winograd_kernels_avx512bf16_bfloat16;

const WinogradKernels<float>* winograd_kernels(float) {
  switch (instruction_set()) {
    case InstructionSet::kAvx512:
      return &winograd_kernels_avx512_float32;
    case InstructionSet::kAvx2:
      return &winograd_kernels_avx2_float32;
    default:
      return nullptr;
  }
}
const WinogradKernels<uint16_t>* winograd_kernels(uint16_t) {
  return has_bfloat16_products() ? &winograd_kernels_avx512bf16_bfloat16 : nullptr;
}

#else

const WinogradKernels<float>* winograd_kernels(float) { return nullptr; }
const WinogradKernels<uint16_t>* winograd_kernels(uint16_t) { return nullptr; }

#endif

}  // namespace ddpm::cpu
