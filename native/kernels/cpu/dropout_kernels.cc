#include "kernels/cpu/dropout_kernels.h"

#include "kernels/cpu/choose.h"

namespace ddpm::cpu {

DDPM_KERNEL(DropoutKernel<float>, dropout_kernel_float32);
DDPM_KERNEL(DropoutKernel<uint16_t>, dropout_kernel_bfloat16);

DropoutKernel<float> dropout_kernel(float) { return DDPM_BEST(dropout_kernel_float32); }
DropoutKernel<uint16_t> dropout_kernel(uint16_t) { return DDPM_BEST(dropout_kernel_bfloat16); }

}  // namespace ddpm::cpu
