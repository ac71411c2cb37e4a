#include "kernels/cpu/adam_kernels_impl.h"

namespace ddpm::cpu {

extern const AdamKernel adam_kernel_avx2 = adam;

}  // namespace ddpm::cpu
