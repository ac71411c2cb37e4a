#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <optional>
#include <vector>

#include "model/blocks.h"

namespace ddpm {

// The paper's network (Section 3.3, Appendix B): a U-Net of residual blocks with self-attention, told the timestep.
// Its parameters' names are those of diffusers' UNet2DModel.
class UNet {
 public:
  UNet(const UNetConfig& config, ParameterSource& source);

  // The names, shapes and places of the parameters of a network of this configuration.
  static std::shared_ptr<const ParameterLayout> layout(const UNetConfig& config);

  // x [B, in, H, W], t [B] int64, labels [B] int64 (undefined for an unconditional network) -> [B, out, H, W]
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& t, const at::Tensor& labels,
                        const ForwardContext& context = {}) const;

 private:
  struct Stage {  // a residual block and, at some resolutions, attention
    ResidualBlock residual;
    std::optional<SelfAttention> attention;
    // `time_shifts`: those of all residual blocks.
    at::Tensor operator()(const at::Tensor& x, const at::Tensor& skip, const std::vector<at::Tensor>& time_shifts,
                          const ForwardContext& context) const;
  };
  struct DownLevel {
    std::vector<Stage> stages;
    std::optional<Downsample> downsample;
  };
  struct UpLevel {
    std::vector<Stage> stages;
    std::optional<Upsample> upsample;
  };

  Stage stage(ParameterSource& source, const std::string& level, int64_t index, int64_t in, int64_t out, bool attention,
              const UNetConfig& config);

  // What t and the labels add to each residual block's feature maps, by the blocks' index: [B, out] each.
  std::vector<at::Tensor> time_shifts(const at::Tensor& t, const at::Tensor& labels,
                                      const ForwardContext& context) const;
  // Calls visit(block) for all residual blocks, by their index.
  template <class Visit>
  void for_each_block(Visit visit) const;

  uint32_t blocks_ = 0;
  Conv2d conv_in_;
  TimeEmbedding time_embedding_;
  at::Tensor class_embedding_;  // [classes, 4 * channels]; undefined without classes
  std::vector<DownLevel> down_;
  std::vector<Stage> middle_;
  std::vector<UpLevel> up_;
  GroupNorm norm_out_;
  Conv2d conv_out_;
};

}  // namespace ddpm
