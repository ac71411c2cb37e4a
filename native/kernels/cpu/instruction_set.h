#pragma once

namespace ddpm::cpu {

// The best instruction set that kernels are compiled for and this processor has.
enum class InstructionSet { kBaseline, kAvx2, kAvx512 };

InstructionSet instruction_set();

// Whether, beyond kAvx512, it multiplies bfloat16 (AVX-512 BF16).
bool has_bfloat16_products();

}  // namespace ddpm::cpu
