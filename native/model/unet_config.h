#pragma once

#include <cstdint>
#include <vector>

namespace ddpm {

// What a U-Net is made of; lib/config/ has checked it. The paper's choices are in brackets.
struct UNetConfig {
  int64_t height = 0;
  int64_t width = 0;
  int64_t in_channels = 0;
  int64_t out_channels = 0;
  std::vector<int64_t> block_out_channels;  // of each level, finest first
  int64_t layers_per_block = 0;             // residual blocks a level on the way down; one more on the way up
  std::vector<bool> attention;              // of each level, finest first
  int64_t attention_head_channels = 0;      // [0: a single head of all channels]
  double dropout = 0;
  int64_t norm_groups = 0;                    // [32]
  double norm_epsilon = 0;                    // [1e-6]
  bool symmetric_downsample_padding = false;  // [false: pad (0,1,0,1) before the strided convolution]
  bool flip_sin_to_cos = false;               // [false: the time embedding is [sin, cos]]
  double frequency_shift = 0;                 // [1]
  int64_t classes = 0;                        // [0: unconditional]

  int64_t levels() const { return static_cast<int64_t>(block_out_channels.size()); }
  int64_t time_embedding_channels() const { return 4 * block_out_channels.front(); }
};

}  // namespace ddpm
