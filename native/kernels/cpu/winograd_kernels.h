#pragma once

#include <cstdint>

// The inner loops of 3x3 convolutions by Winograd's minimal filtering F(2x2, 3x3) (Lavin and Gray 2016, section 4.1):
// a tile of 2x2 results comes from 4x4 pixels by 16 products a pair of channels instead of 36. With Bᵀ, G, Aᵀ of that
// paper,
//   y = Aᵀ [ Σ over channels (G g Gᵀ) ⊙ (Bᵀ d B) ] A
// where the sum over channels, for many tiles at once, is 16 products of matrices.
//
// Feature maps are channels-last, padded by 1, of float32 or bfloat16 (its bits in a uint16_t); sums are float32.

namespace ddpm::cpu {

// Positions of a transformed tile.
constexpr int64_t kWinogradPositions = 16;
// Both numbers of channels are multiples of this.
constexpr int64_t kWinogradChannels = 16;

template <class T>
struct WinogradConvolution {
  int64_t height, width, in, out;
  const T* x;         // [images, height, width, in]
  const T* weights;   // as pack() leaves them
  const float* bias;  // [out], or null
  const T* added;     // [images, height, width, out], or null
  T* y;               // [images, height, width, out]: the convolution + bias + added
};

template <class T>
struct WinogradKernels {
  // Outputs whose weights lie together, and tiles that the products work on at once.
  int64_t block, rows;

  // Transforms the weights of the outputs from `first` to `last`, which begin with a block. Weight (o, i, k) is
  // weight[o * out_pitch + i * in_pitch + k], or with 8 - k, turned around, as the way back needs it. `packed` holds
  // all 16 * in * out.
  void (*pack)(const float* weight, int64_t out_pitch, int64_t in_pitch, bool turned, int64_t in, int64_t out,
               int64_t first, int64_t last, T* packed);

  // Tiles from `first_tile` on, counted through all images, and outputs from `first_out`, a block's first, to
  // `last_out`. `scratch` holds scratch_bytes(tiles, in), aligned to 64 bytes.
  void (*convolve)(const WinogradConvolution<T>& convolution, int64_t first_tile, int64_t tiles, int64_t first_out,
                   int64_t last_out, void* scratch);
  int64_t (*scratch_bytes)(int64_t tiles, int64_t in);
};

// For the processor at hand; null where it has none that is faster than LibTorch's convolutions.
const WinogradKernels<float>* winograd_kernels(float);
const WinogradKernels<uint16_t>* winograd_kernels(uint16_t);

}  // namespace ddpm::cpu
