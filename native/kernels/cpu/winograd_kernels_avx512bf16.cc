#include "kernels/cpu/winograd_kernels_impl.h"

namespace ddpm::cpu {

extern const WinogradKernels<uint16_t> winograd_kernels_avx512bf16_bfloat16 = winograd<uint16_t>();

}  // namespace ddpm::cpu
