#pragma once

// Included once by each file that compiles the kernel for an instruction set: see vec.h for what may be included here.
#include "kernels/cpu/adam_kernels.h"
#include "kernels/cpu/vec.h"

namespace ddpm::cpu {
namespace {

void adam(const AdamStep& step, float gradient_scale, int64_t count, float* weight, float* gradient, float* exp_avg,
          float* exp_avg_sq, float* average) {
  const bool clipped = gradient_scale != 1.0f;
  const bool near = step.ema_share >= 0.5f;  // as LibTorch's lerp does it: from the end that is nearer
  // The storage of parameters is a multiple of every vector's length (ParameterLayout::kFlatMultiple).
  for (int64_t i = 0; i < count; i += kWidth) {
    const Vec g = load(gradient + i) * gradient_scale;
    const Vec m = load(exp_avg + i) * step.beta1 + g * step.rest1;
    const Vec v = load(exp_avg_sq + i) * step.beta2 + g * g * step.rest2;
    const Vec w =
        load(weight + i) * step.weight_scale - m * step.step_size / (sqrt(v) * step.root_scale + step.epsilon);
    const Vec mean = load(average + i);
    if (clipped) store(gradient + i, g);
    store(exp_avg + i, m);
    store(exp_avg_sq + i, v);
    store(weight + i, w);
    store(average + i, near ? w - (w - mean) * (1.0f - step.ema_share) : mean + (w - mean) * step.ema_share);
  }
}

}  // namespace
}  // namespace ddpm::cpu
