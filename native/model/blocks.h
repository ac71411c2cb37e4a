#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string>

#include "model/layers.h"
#include "model/unet_config.h"

namespace ddpm {

// Sinusoidal position of t, then two dense layers: Appendix B, after Vaswani et al. 2017.
struct TimeEmbedding {
  int64_t channels = 0;  // of the sinusoid: that of the finest level
  bool flip_sin_to_cos = false;
  double frequency_shift = 0;
  Linear linear_1;
  Linear linear_2;

  TimeEmbedding() = default;
  TimeEmbedding(ParameterSource& source, const std::string& name, const UNetConfig& config);
  at::Tensor operator()(const at::Tensor& t) const;  // [B] -> [B, 4 * channels]
};

// GroupNorm, SiLU, conv; plus the projected time embedding; GroupNorm, SiLU, dropout, conv from zero; plus the input
// (through a 1x1 convolution where the channels change). The input may be two feature maps side by side.
struct ResidualBlock {
  GroupNorm norm1;
  Conv2d conv1;
  Linear time_emb_proj;
  GroupNorm norm2;
  double dropout_probability = 0;
  uint32_t index = 0;  // among the network's residual blocks
  Conv2d conv2;
  std::optional<Conv2d> conv_shortcut;

  ResidualBlock(ParameterSource& source, const std::string& name, int64_t in, int64_t out, uint32_t index,
                const UNetConfig& config);
  // What the embedding [B, 4 * channels], after its SiLU, adds to the feature map: [B, out].
  at::Tensor time_shift(const at::Tensor& embedding) const { return time_emb_proj(embedding); }
  // x [B, C1, H, W], skip [B, C2, H, W] or undefined, with in = C1 + C2; time_shift [B, out] -> [B, out, H, W]
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& skip, const at::Tensor& time_shift,
                        const ForwardContext& context) const;
};

// Self-attention over the pixels of a feature map, added to its input; the output projection starts from zero.
struct SelfAttention {
  int64_t heads = 1;
  GroupNorm group_norm;
  Linear to_q;
  Linear to_k;
  Linear to_v;
  Linear to_out;

  SelfAttention(ParameterSource& source, const std::string& name, int64_t channels, const UNetConfig& config);
  at::Tensor operator()(const at::Tensor& x, const ForwardContext& context) const;  // [B, channels, H, W] -> the same
};

// Half the size by a convolution of stride 2.
struct Downsample {
  bool asymmetric = true;
  Conv2d conv;

  Downsample(ParameterSource& source, const std::string& name, int64_t channels, const UNetConfig& config);
  at::Tensor operator()(const at::Tensor& x, const ForwardContext& context) const;  // [B, C, H, W] -> [B, C, H/2, W/2]
};

// Twice the size by nearest neighbour, then a convolution.
struct Upsample {
  Conv2d conv;

  Upsample(ParameterSource& source, const std::string& name, int64_t channels);
  at::Tensor operator()(const at::Tensor& x, const ForwardContext& context) const;  // [B, C, H, W] -> [B, C, 2H, 2W]
};

}  // namespace ddpm
