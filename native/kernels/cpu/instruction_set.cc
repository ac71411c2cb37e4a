#include "kernels/cpu/instruction_set.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace ddpm::cpu {
namespace {

// What DDPM_CPU_ISA allows, for tests of the other kernels.
[[maybe_unused]] InstructionSet allowed() {
  const char* name = std::getenv("DDPM_CPU_ISA");
  const std::string_view text = name == nullptr ? "" : name;
  if (text == "baseline") return InstructionSet::kBaseline;
  return text == "avx2" ? InstructionSet::kAvx2 : InstructionSet::kAvx512;
}

}  // namespace

InstructionSet instruction_set() {
#if defined(DDPM_X86_KERNELS)
  static const InstructionSet best = [] {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq")) {
      return std::min(InstructionSet::kAvx512, allowed());
    }
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return std::min(avx2 ? InstructionSet::kAvx2 : InstructionSet::kBaseline, allowed());
  }();
  return best;
#else
  return InstructionSet::kBaseline;
#endif
}

bool has_bfloat16_products() {
#if defined(DDPM_X86_KERNELS)
  return instruction_set() == InstructionSet::kAvx512 && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

}  // namespace ddpm::cpu
