#include "kernels/cpu/dropout_kernels_impl.h"

namespace ddpm::cpu {

extern const DropoutKernel<float> dropout_kernel_float32_baseline = drop<float>;
extern const DropoutKernel<uint16_t> dropout_kernel_bfloat16_baseline = drop<uint16_t>;

}  // namespace ddpm::cpu
