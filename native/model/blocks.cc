#include "model/blocks.h"

#include <cmath>

#include "kernels/fast_paths.h"

namespace ddpm {

TimeEmbedding::TimeEmbedding(ParameterSource& source, const std::string& name, const UNetConfig& config)
    : channels(config.block_out_channels.front()),
      flip_sin_to_cos(config.flip_sin_to_cos),
      frequency_shift(config.frequency_shift),
      linear_1(source, name + ".linear_1", channels, config.time_embedding_channels()),
      linear_2(source, name + ".linear_2", config.time_embedding_channels(), config.time_embedding_channels()) {}

at::Tensor TimeEmbedding::operator()(const at::Tensor& t) const {
  // The frequencies are computed in float32 as the published models were trained with: at t = 999 a float64 exponent
  // would shift the phase by more than the agreement we promise.
  const int64_t half = channels / 2;
  at::Tensor frequency = at::arange(half, linear_1.weight.options().dtype(at::kFloat).requires_grad(false));
  frequency = (frequency * -std::log(10000.0) / (static_cast<double>(half) - frequency_shift)).exp();  // [half]
  const at::Tensor phase = t.to(at::kFloat).unsqueeze(1) * frequency;                                  // [B, half]
  const at::Tensor sinusoid =                                                                          // [B, channels]
      flip_sin_to_cos ? at::cat({phase.cos(), phase.sin()}, 1) : at::cat({phase.sin(), phase.cos()}, 1);
  return linear_2(at::silu(linear_1(sinusoid)));  // [B, 4 * channels]
}

ResidualBlock::ResidualBlock(ParameterSource& source, const std::string& name, int64_t in, int64_t out,
                             uint32_t dropout_layer_, const UNetConfig& config)
    : norm1(source, name + ".norm1", in, config.norm_groups, config.norm_epsilon),
      conv1(source, name + ".conv1", in, out, 3),
      time_emb_proj(source, name + ".time_emb_proj", config.time_embedding_channels(), out),
      norm2(source, name + ".norm2", out, config.norm_groups, config.norm_epsilon),
      dropout_probability(config.dropout),
      dropout_layer(dropout_layer_),
      conv2(source, name + ".conv2", out, out, 3, Init::kZero) {
  if (in != out) conv_shortcut.emplace(source, name + ".conv_shortcut", in, out, 1);
}

at::Tensor ResidualBlock::operator()(const at::Tensor& x, const at::Tensor& embedding,
                                     const ForwardContext& context) const {
  context.poll(x);
  at::Tensor h = conv1(at::silu(norm1(x)));                    // [B, out, H, W]
  h = h + time_emb_proj(embedding).unsqueeze(2).unsqueeze(3);  // + [B, out, 1, 1]
  h = at::silu(norm2(h));
  if (context.dropout != nullptr) h = dropout(h, dropout_probability, dropout_layer, *context.dropout);
  h = conv2(h);
  return (conv_shortcut ? (*conv_shortcut)(x) : x) + h;
}

SelfAttention::SelfAttention(ParameterSource& source, const std::string& name, int64_t channels,
                             const UNetConfig& config)
    : heads(config.attention_head_channels > 0 ? channels / config.attention_head_channels : 1),
      group_norm(source, name + ".group_norm", channels, config.norm_groups, config.norm_epsilon),
      to_q(source, name + ".to_q", channels, channels),
      to_k(source, name + ".to_k", channels, channels),
      to_v(source, name + ".to_v", channels, channels),
      to_out(source, name + ".to_out.0", channels, channels, Init::kZero) {}

at::Tensor SelfAttention::operator()(const at::Tensor& x) const {
  const int64_t batch = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
  // Normalized as an image, a channels-last map stays as it is; as a sequence, it is brought into planes first.
  const at::Tensor normalized = fast_paths() ? group_norm(x).flatten(2) : group_norm(x.flatten(2));
  const at::Tensor tokens = normalized.transpose(1, 2);  // [B, HW, C]
  const auto split = [&](const at::Tensor& projected) {  // [B, heads, HW, C / heads]
    return projected.view({batch, height * width, heads, channels / heads}).transpose(1, 2);
  };
  // softmax(q kT / sqrt(C / heads)) v
  at::Tensor h = at::scaled_dot_product_attention(split(to_q(tokens)), split(to_k(tokens)), split(to_v(tokens)));
  h = to_out(h.transpose(1, 2).reshape({batch, height * width, channels}));  // [B, HW, C]
  return h.transpose(1, 2).view({batch, channels, height, width}) + x;
}

Downsample::Downsample(ParameterSource& source, const std::string& name, int64_t channels, const UNetConfig& config)
    : asymmetric(!config.symmetric_downsample_padding),
      conv(source, name + ".conv", channels, channels, 3, Init::kFanAverage, 2, asymmetric ? 0 : 1) {}

at::Tensor Downsample::operator()(const at::Tensor& x) const {
  return conv(asymmetric ? at::constant_pad_nd(x, {0, 1, 0, 1}) : x);
}

Upsample::Upsample(ParameterSource& source, const std::string& name, int64_t channels)
    : conv(source, name + ".conv", channels, channels, 3) {}

at::Tensor Upsample::operator()(const at::Tensor& x) const {
  return conv(at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}));
}

}  // namespace ddpm
