#pragma once

#include <ATen/ATen.h>

#include <atomic>
#include <string>

#include "kernels/packed_convolutions.h"
#include "model/parameters.h"
#include "model/time_shifts.h"

namespace ddpm {

// What one training pass needs to draw the dropout masks of its images: image i of the pass is image
// first_image + i of optimizer update `update`.
struct DropoutKey {
  uint64_t seed = 0;
  uint64_t update = 0;
  uint64_t first_image = 0;
  // Update and first image once more as a cuda::PassKey on the device, which is what counts there; else undefined.
  at::Tensor on_device;
};

// What a forward pass is given besides its input.
struct ForwardContext {
  const DropoutKey* dropout = nullptr;           // null when sampling: no dropout
  const std::atomic<bool>* cancelled = nullptr;  // polled between blocks; may be null
  bool recompute = false;                        // on the way back, instead of keeping what lies within a block
  // What a network that only predicts keeps from call to call; may be null.
  PackedConvolutions* convolutions = nullptr;
  TimeShifts* time_shifts = nullptr;

  // Throws Cancelled, here or when the backward pass comes back to x. The flag has to live until then.
  void poll(const at::Tensor& x) const;
};

struct Conv2d {
  at::Tensor weight;  // [out, in, kernel, kernel]
  at::Tensor bias;    // [out]
  int64_t stride = 1;
  int64_t padding = 0;

  Conv2d() = default;
  Conv2d(ParameterSource& source, const std::string& name, int64_t in, int64_t out, int64_t kernel,
         Init init = Init::kFanAverage, int64_t stride = 1, int64_t padding = -1);  // -1: (kernel - 1) / 2
  // conv(cat(x, skip)) + added, where skip and added may be undefined.
  // [B, C1, H, W], [B, C2, H, W], [B, out, H', W'] -> [B, out, H', W']
  at::Tensor operator()(const at::Tensor& x, const ForwardContext& context, const at::Tensor& skip = {},
                        const at::Tensor& added = {}) const;
};

struct Linear {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out]

  Linear() = default;
  Linear(ParameterSource& source, const std::string& name, int64_t in, int64_t out, Init init = Init::kFanAverage);
  at::Tensor operator()(const at::Tensor& x) const;  // [..., in] -> [..., out]
};

struct GroupNorm {
  at::Tensor weight;  // [channels]
  at::Tensor bias;    // [channels]
  int64_t groups = 0;
  double epsilon = 0;

  GroupNorm() = default;
  GroupNorm(ParameterSource& source, const std::string& name, int64_t channels, int64_t groups, double epsilon);
  at::Tensor operator()(const at::Tensor& x) const;  // [B, channels, ...]
  // Of x and, if defined, skip side by side, plus shift [B, channels] where there is one; then SiLU where asked for.
  // [B, C1, H, W], [B, C2, H, W] -> [B, channels, H, W]
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& skip, const at::Tensor& shift, bool silu) const;
};

struct Dropout {
  double probability = 0;
  uint32_t layer = 0;  // which of the network's this is
};

// What goes into the following besides x; undefined where there is none.
struct NormalizedInputs {
  at::Tensor skip = {};   // [B, C2, H, W]
  at::Tensor shift = {};  // [B, C1 + C2]
  Dropout dropout = {};   // where the context has a key
  at::Tensor added = {};  // [B, out, H, W]
};

// conv(dropout(SiLU(norm(cat(x, skip) + shift)))) + added, of a 3x3 convolution. [B, C1, H, W] -> [B, out, H, W]
at::Tensor normalized_convolution(const GroupNorm& norm, const Conv2d& conv, const at::Tensor& x,
                                  const ForwardContext& context, const NormalizedInputs& inputs = {});

// Inverted dropout whose mask depends on the key, the image and the layer alone, so that neither the batch size nor
// gradient accumulation changes it.
at::Tensor dropout(const at::Tensor& x, double probability, uint32_t layer, const DropoutKey& key);

}  // namespace ddpm
