#include "kernels/cpu/winograd_kernels_impl.h"

namespace ddpm::cpu {

extern const WinogradKernels<float> winograd_kernels_avx512_float32 = winograd<float>();

}  // namespace ddpm::cpu
