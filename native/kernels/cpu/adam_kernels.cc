#include "kernels/cpu/adam_kernels.h"

#include "kernels/cpu/choose.h"

namespace ddpm::cpu {

DDPM_KERNEL(AdamKernel, adam_kernel);

AdamKernel adam_kernel() { return DDPM_BEST(adam_kernel); }

}  // namespace ddpm::cpu
