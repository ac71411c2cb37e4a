#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <unordered_map>

namespace ddpm {

// What the timestep, and the class where there are classes, add to the feature maps of all residual blocks, kept from
// call to call: it depends on nothing else, and a sampler comes by the same timesteps again and again.
class TimeShifts {
 public:
  // Computes rows [n, width] for timesteps [n] and labels [n] (undefined without classes).
  using Compute = std::function<at::Tensor(const at::Tensor& t, const at::Tensor& labels)>;

  // A row for each of the timesteps [B], and of the labels where they are defined: [B, width].
  at::Tensor rows(const at::Tensor& t, const at::Tensor& labels, const Compute& compute);

 private:
  std::unordered_map<uint64_t, at::Tensor> known_;  // by label and timestep; [1, width]
  int64_t bytes_ = 0;
};

}  // namespace ddpm
