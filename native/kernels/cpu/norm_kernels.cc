#include "kernels/cpu/norm_kernels.h"

#include "kernels/cpu/choose.h"

namespace ddpm::cpu {

DDPM_KERNEL(NormKernels<float>, norm_kernels_float32);
DDPM_KERNEL(NormKernels<uint16_t>, norm_kernels_bfloat16);

const NormKernels<float>& norm_kernels(float) { return DDPM_BEST(norm_kernels_float32); }
const NormKernels<uint16_t>& norm_kernels(uint16_t) { return DDPM_BEST(norm_kernels_bfloat16); }

}  // namespace ddpm::cpu
