#pragma once

#include <cstdint>

#include "kernels/adam_step.h"

namespace ddpm::cpu {

// AdamStep's formulas in one pass over everything. The gradient is left scaled.
using AdamKernel = void (*)(const AdamStep& step, float gradient_scale, int64_t count, float* weight, float* gradient,
                            float* exp_avg, float* exp_avg_sq, float* average);

// For the processor at hand.
AdamKernel adam_kernel();

}  // namespace ddpm::cpu
