#pragma once

// The launchers in this folder are declared without CUDA's headers and without LibTorch's: what includes both takes
// half a minute to compile, a kernel by itself a second or two.
struct CUstream_st;

namespace ddpm::cuda {

using Stream = CUstream_st*;  // cudaStream_t

}  // namespace ddpm::cuda
