#pragma once

#include "kernels/cpu/instruction_set.h"

// For kernels that are compiled for each instruction set, as NAME_baseline, NAME_avx2 and NAME_avx512.

namespace ddpm::cpu {

template <class Kernel>
const Kernel& best_of(const Kernel& baseline, const Kernel& avx2, const Kernel& avx512) {
  switch (instruction_set()) {
    case InstructionSet::kAvx512:
      return avx512;
    case InstructionSet::kAvx2:
      return avx2;
    default:
      return baseline;
  }
}

// DDPM_KERNEL declares them; DDPM_BEST is the one for the processor at hand.
#if defined(DDPM_X86_KERNELS)
#define DDPM_KERNEL(Type, name)      \
  extern const Type name##_baseline; \
  extern const Type name##_avx2;     \
  extern const Type name##_avx512
#define DDPM_BEST(name) best_of(name##_baseline, name##_avx2, name##_avx512)
#else
#define DDPM_KERNEL(Type, name) extern const Type name##_baseline
#define DDPM_BEST(name) name##_baseline
#endif

}  // namespace ddpm::cpu
