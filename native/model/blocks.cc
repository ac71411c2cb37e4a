#include "model/blocks.h"

#include <cmath>

#include "kernels/fast_paths.h"
#include "kernels/upsample.h"

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

ResidualBlock::ResidualBlock(ParameterSource& source, const std::string& name, int64_t in, int64_t out, uint32_t index_,
                             const UNetConfig& config)
    : norm1(source, name + ".norm1", in, config.norm_groups, config.norm_epsilon),
      conv1(source, name + ".conv1", in, out, 3),
      time_emb_proj(source, name + ".time_emb_proj", config.time_embedding_channels(), out),
      norm2(source, name + ".norm2", out, config.norm_groups, config.norm_epsilon),
      dropout_probability(config.dropout),
      index(index_),
      conv2(source, name + ".conv2", out, out, 3, Init::kZero) {
  if (in != out) conv_shortcut.emplace(source, name + ".conv_shortcut", in, out, 1);
}

at::Tensor ResidualBlock::operator()(const at::Tensor& x, const at::Tensor& skip, const at::Tensor& time_shift,
                                     const ForwardContext& context) const {
  context.poll(x);
  const at::Tensor h = normalized_convolution(norm1, conv1, x, context, {.skip = skip});  // [B, out, H, W]
  return normalized_convolution(norm2, conv2, h, context,
                                {.shift = time_shift,  // h + [B, out, 1, 1]
                                 .dropout = {dropout_probability, index},
                                 .added = conv_shortcut ? (*conv_shortcut)(x, context, skip) : x});
}

namespace {

// softmax(q kT / sqrt(d)) v  for q, k, v [B, heads, N, d]; `trains`: a way back may follow
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool trains) {
  // LibTorch's flash attention has its products made by a library that has no bfloat16 of its own on every processor;
  // where the scores are small, it is faster to write them down.
  constexpr int64_t kMostScores = 1 << 20;  // of an image
  // On a CUDA device its way back adds up in no fixed order, and no training could be repeated exactly.
  const bool write_down = q.is_cpu() ? q.scalar_type() == at::kBFloat16 : trains;
  if (fast_paths() && write_down && q.size(1) * q.size(2) * k.size(2) <= kMostScores) {
    const at::Tensor scores = at::matmul(q, k.transpose(2, 3)) * (1 / std::sqrt(static_cast<double>(q.size(3))));
    return at::matmul(at::softmax(scores, -1), v);
  }
  return at::scaled_dot_product_attention(q, k, v);
}

}  // namespace

SelfAttention::SelfAttention(ParameterSource& source, const std::string& name, int64_t channels,
                             const UNetConfig& config)
    : heads(config.attention_head_channels > 0 ? channels / config.attention_head_channels : 1),
      group_norm(source, name + ".group_norm", channels, config.norm_groups, config.norm_epsilon),
      to_q(source, name + ".to_q", channels, channels),
      to_k(source, name + ".to_k", channels, channels),
      to_v(source, name + ".to_v", channels, channels),
      to_out(source, name + ".to_out.0", channels, channels, Init::kZero) {}

at::Tensor SelfAttention::operator()(const at::Tensor& x, const ForwardContext& context) const {
  const int64_t batch = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
  const auto split = [&](const at::Tensor& projected) {  // [B, HW, C] -> [B, heads, HW, C / heads]
    return projected.view({batch, height * width, heads, channels / heads}).transpose(1, 2);
  };
  const auto merge = [&](const at::Tensor& h) {  // and back
    return h.transpose(1, 2).reshape({batch, height * width, channels});
  };
  if (context.convolutions != nullptr) {
    // A dense layer over the pixels is a convolution of one pixel; the three that share their input are one.
    const auto as_convolution = [](const at::Tensor& weight) { return weight.unsqueeze(2).unsqueeze(3); };
    const auto all = [&] {
      return PackedConvolutions::Weights{as_convolution(at::cat({to_q.weight, to_k.weight, to_v.weight})),
                                         at::cat({to_q.bias, to_k.bias, to_v.bias})};
    };
    PackedConvolutions& convolve = *context.convolutions;
    const at::Tensor qkv = convolve(group_norm(x, {}, {}, /*silu=*/false), this, 0, all, 1, 0)  // [B, 3 C, H, W]
                               .permute({0, 2, 3, 1})
                               .view({batch, height * width, 3, heads, channels / heads})
                               .permute({2, 0, 3, 1, 4});  // [3, B, heads, HW, C / heads]
    const at::Tensor h = attention(qkv[0], qkv[1], qkv[2], /*trains=*/false);
    const at::Tensor map = merge(h).view({batch, height, width, channels}).permute({0, 3, 1, 2});
    const auto out = [&] { return PackedConvolutions::Weights{as_convolution(to_out.weight), to_out.bias}; };
    return convolve(map, this, 1, out, 1, 0, x);
  }
  // Normalized as an image, a channels-last map stays as it is; as a sequence, it is brought into planes first.
  const at::Tensor normalized =
      fast_paths() ? group_norm(x, {}, {}, /*silu=*/false).flatten(2) : group_norm(x.flatten(2));
  const at::Tensor tokens = normalized.transpose(1, 2);  // [B, HW, C]
  // softmax(q kT / sqrt(C / heads)) v
  at::Tensor h = attention(split(to_q(tokens)), split(to_k(tokens)), split(to_v(tokens)), /*trains=*/true);
  h = to_out(merge(h));  // [B, HW, C]
  return h.transpose(1, 2).view({batch, channels, height, width}) + x;
}

Downsample::Downsample(ParameterSource& source, const std::string& name, int64_t channels, const UNetConfig& config)
    : asymmetric(!config.symmetric_downsample_padding),
      conv(source, name + ".conv", channels, channels, 3, Init::kFanAverage, 2, asymmetric ? 0 : 1) {}

at::Tensor Downsample::operator()(const at::Tensor& x, const ForwardContext& context) const {
  return conv(asymmetric ? at::constant_pad_nd(x, {0, 1, 0, 1}) : x, context);
}

Upsample::Upsample(ParameterSource& source, const std::string& name, int64_t channels)
    : conv(source, name + ".conv", channels, channels, 3) {}

at::Tensor Upsample::operator()(const at::Tensor& x, const ForwardContext& context) const {
  if (context.convolutions != nullptr && context.convolutions->calls == nullptr && x.is_cpu()) {
    const auto weights = [this] {
      return PackedConvolutions::Weights{upsampling_weight(conv.weight), conv.bias.repeat({4})};
    };
    return interleave_phases((*context.convolutions)(x, &conv, 3, weights, 1, 1));
  }
  return conv(at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}), context);
}

}  // namespace ddpm
