#include "kernels/cpu/norm_kernels_impl.h"

namespace ddpm::cpu {

extern const NormKernels<float> norm_kernels_float32_avx2 = kernels<float>();
extern const NormKernels<uint16_t> norm_kernels_bfloat16_avx2 = kernels<uint16_t>();

}  // namespace ddpm::cpu
