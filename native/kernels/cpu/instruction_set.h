#pragma once

namespace ddpm::cpu {

// The best instruction set that kernels are compiled for and this processor has.
enum class InstructionSet { kBaseline, kAvx2, kAvx512 };

InstructionSet instruction_set();

}  // namespace ddpm::cpu
