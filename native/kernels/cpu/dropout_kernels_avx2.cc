#include "kernels/cpu/dropout_kernels_impl.h"

namespace ddpm::cpu {

extern const DropoutKernels<float> dropout_kernels_avx2_float32 = dropout_kernels<float>();
extern const DropoutKernels<uint16_t> dropout_kernels_avx2_bfloat16 = dropout_kernels<uint16_t>();

}  // namespace ddpm::cpu
