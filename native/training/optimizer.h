#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "model/parameters.h"

namespace ddpm {

struct OptimizerConfig {
  double learning_rate = 0;
  int64_t warmup_steps = 0;  // the learning rate rises linearly over this many updates; 0: at once
  double beta1 = 0;
  double beta2 = 0;
  double epsilon = 0;
  double weight_decay = 0;   // decoupled (Loshchilov, Hutter 2019): 0 is plain Adam
  double gradient_clip = 0;  // largest global norm; 0: no clipping
};

// Adam (Kingma, Ba 2015) over the flat storage of a parameter set.
class Adam {
 public:
  Adam(const OptimizerConfig& config, const ParameterSet& shaped_like);

  // The rate that the next update will use.
  double learning_rate() const;
  // One update of `weights` by `gradient`, which is clipped in place; `norm` is its global norm before clipping.
  void update(ParameterSet& weights, ParameterSet& gradient, double norm);

  int64_t updates() const { return updates_; }

 private:
  OptimizerConfig config_;
  int64_t updates_ = 0;
  at::Tensor exp_avg_;     // first moment, flat
  at::Tensor exp_avg_sq_;  // second moment, flat
};

// The global L2 norm over all parameters.
double global_norm(const ParameterSet& gradient);

}  // namespace ddpm
