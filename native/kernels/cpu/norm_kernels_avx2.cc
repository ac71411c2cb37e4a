#include "kernels/cpu/norm_kernels_impl.h"

namespace ddpm::cpu {

extern const NormKernels<float> norm_kernels_avx2_float32 = kernels<float>();
extern const NormKernels<uint16_t> norm_kernels_avx2_bfloat16 = kernels<uint16_t>();

}  // namespace ddpm::cpu
