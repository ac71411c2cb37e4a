#include "model/unet.h"

#include <ATen/core/grad_mode.h>

#include "kernels/fast_paths.h"
#include "model/recompute.h"

namespace ddpm {

UNet::Stage UNet::stage(ParameterSource& source, const std::string& level, int64_t index, int64_t in, int64_t out,
                        bool attention, const UNetConfig& config) {
  const std::string number = std::to_string(index);
  Stage made{ResidualBlock(source, level + ".resnets." + number, in, out, blocks_++, config), std::nullopt};
  if (attention) made.attention.emplace(source, level + ".attentions." + number, out, config);
  return made;
}

UNet::UNet(const UNetConfig& config, ParameterSource& source) {
  const auto& channels = config.block_out_channels;
  const int64_t levels = config.levels();

  conv_in_ = Conv2d(source, "conv_in", config.in_channels, channels.front(), 3);
  time_embedding_ = TimeEmbedding(source, "time_embedding", config);
  if (config.classes > 0) {
    class_embedding_ =
        source.parameter("class_embedding.weight", {config.classes, config.time_embedding_channels()}, Init::kNormal);
  }

  std::vector<int64_t> skips{channels.front()};  // channels of each feature map that the way up takes back
  int64_t current = channels.front();
  for (int64_t level = 0; level < levels; ++level) {
    const std::string name = "down_blocks." + std::to_string(level);
    DownLevel down;
    for (int64_t i = 0; i < config.layers_per_block; ++i) {
      down.stages.push_back(stage(source, name, i, current, channels[level], config.attention[level], config));
      skips.push_back(current = channels[level]);
    }
    if (level + 1 < levels) {
      down.downsample.emplace(source, name + ".downsamplers.0", current, config);
      skips.push_back(current);
    }
    down_.push_back(std::move(down));
  }

  middle_.push_back(stage(source, "mid_block", 0, current, current, true, config));
  middle_.push_back(stage(source, "mid_block", 1, current, current, false, config));

  for (int64_t level = levels - 1; level >= 0; --level) {
    const std::string name = "up_blocks." + std::to_string(levels - 1 - level);
    UpLevel up;
    for (int64_t i = 0; i <= config.layers_per_block; ++i) {
      const int64_t in = current + skips.back();
      skips.pop_back();
      up.stages.push_back(stage(source, name, i, in, current = channels[level], config.attention[level], config));
    }
    if (level > 0) up.upsample.emplace(source, name + ".upsamplers.0", current);
    up_.push_back(std::move(up));
  }

  norm_out_ = GroupNorm(source, "conv_norm_out", current, config.norm_groups, config.norm_epsilon);
  conv_out_ = Conv2d(source, "conv_out", current, config.out_channels, 3, Init::kZero);
}

std::shared_ptr<const ParameterLayout> UNet::layout(const UNetConfig& config) {
  auto layout = std::make_shared<ParameterLayout>();
  UNet(config, *layout);
  return layout;
}

at::Tensor UNet::Stage::operator()(const at::Tensor& x, const at::Tensor& skip,
                                   const std::vector<at::Tensor>& time_shifts, const ForwardContext& context) const {
  const at::Tensor& time_shift = time_shifts[residual.index];
  const bool trains = at::GradMode::is_enabled() && context.convolutions == nullptr;
  if (trains && context.recompute) {
    const auto part = [this, context](const std::vector<at::Tensor>& inputs) {
      const at::Tensor h = residual(inputs[0], inputs.size() > 2 ? inputs[2] : at::Tensor(), inputs[1], context);
      return attention ? (*attention)(h, context) : h;
    };
    return recomputed(part, skip.defined() ? std::vector{x, time_shift, skip} : std::vector{x, time_shift});
  }
  const at::Tensor h = residual(x, skip, time_shift, context);
  if (!attention) return h;
  // What attention keeps for its way back takes more room than all else at its resolution, and little work.
  const bool again = trains && fast_paths() && h.is_cpu();
  if (!again) return (*attention)(h, context);
  return recomputed([this, context](const std::vector<at::Tensor>& inputs) { return (*attention)(inputs[0], context); },
                    {h});
}

template <class Visit>
void UNet::for_each_block(Visit visit) const {
  for (const auto& level : down_) {
    for (const auto& stage : level.stages) visit(stage.residual);
  }
  for (const auto& stage : middle_) visit(stage.residual);
  for (const auto& level : up_) {
    for (const auto& stage : level.stages) visit(stage.residual);
  }
}

std::vector<at::Tensor> UNet::time_shifts(const at::Tensor& t, const at::Tensor& labels,
                                          const ForwardContext& context) const {
  const auto compute = [this](const at::Tensor& timesteps, const at::Tensor& classes) {
    at::Tensor embedding = time_embedding_(timesteps);  // [B, 4 * channels]
    if (class_embedding_.defined()) embedding = embedding + at::embedding(class_embedding_, classes);
    embedding = at::silu(embedding);  // every residual block begins its projection with it
    std::vector<at::Tensor> shifts;
    for_each_block([&](const ResidualBlock& block) { shifts.push_back(block.time_shift(embedding)); });
    return shifts;
  };
  if (context.time_shifts == nullptr) return compute(t, labels);
  const at::Tensor rows = context.time_shifts->rows(
      t, labels, [&](const at::Tensor& step, const at::Tensor& label) { return at::cat(compute(step, label), 1); });
  std::vector<at::Tensor> shifts;
  int64_t begin = 0;
  for_each_block([&](const ResidualBlock& block) {
    const int64_t channels = block.conv1.bias.size(0);
    shifts.push_back(rows.narrow(1, begin, channels));
    begin += channels;
  });
  return shifts;
}

at::Tensor UNet::operator()(const at::Tensor& x, const at::Tensor& t, const at::Tensor& labels,
                            const ForwardContext& context) const {
  const std::vector<at::Tensor> time_shifts = this->time_shifts(t, labels, context);

  // Channels-last is what the convolutions work in: no layer then changes the layout back and forth.
  const auto layout = fast_paths() ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  const at::Tensor input = context.convolutions != nullptr ? x.to(context.convolutions->type()) : x;
  at::Tensor h = conv_in_(input.contiguous(layout), context);  // [B, channels, H, W]
  std::vector<at::Tensor> skips{h};
  for (const auto& level : down_) {
    for (const auto& stage : level.stages) skips.push_back(h = stage(h, {}, time_shifts, context));
    if (level.downsample) skips.push_back(h = (*level.downsample)(h, context));
  }
  for (const auto& stage : middle_) h = stage(h, {}, time_shifts, context);
  for (const auto& level : up_) {
    for (const auto& stage : level.stages) {
      h = stage(h, skips.back(), time_shifts, context);
      skips.pop_back();
    }
    if (level.upsample) h = (*level.upsample)(h, context);
  }
  return normalized_convolution(norm_out_, conv_out_, h, context);  // [B, out, H, W]
}

}  // namespace ddpm
