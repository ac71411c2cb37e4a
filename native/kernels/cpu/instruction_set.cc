#include "kernels/cpu/instruction_set.h"

namespace ddpm::cpu {

InstructionSet instruction_set() {
#if defined(DDPM_X86_KERNELS)
  static const InstructionSet best = [] {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq")) {
      return InstructionSet::kAvx512;
    }
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return avx2 ? InstructionSet::kAvx2 : InstructionSet::kBaseline;
  }();
  return best;
#else
  return InstructionSet::kBaseline;
#endif
}

}  // namespace ddpm::cpu
