#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "kernels/cuda/optimizer.h"
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
  // From the moments after `updates` updates, which it goes on to change.
  Adam(const OptimizerConfig& config, ParameterSet exp_avg, ParameterSet exp_avg_sq, int64_t updates);

  // The rate that the next update will use.
  double learning_rate() const;
  // Whether weights and moments are sure to stay within float32 after an update by a finite gradient of this norm.
  bool stays_finite(const ParameterSet& weights, double norm);
  // One update of `weights` by `gradient`, which is clipped in place; `norm` is its global norm before clipping. Then
  // average <- average + share (weights - average). Only after stays_finite() has said that it may be made.
  void update(ParameterSet& weights, ParameterSet& gradient, double norm, ParameterSet& average, double share);

  // The same in two halves for a CUDA device, which makes the update before anything is known of it here: the largest
  // norm that stays_finite() now allows, or nearly so, and less than 0 for none; what the device computes with; and
  // that it has done so.
  double largest_norm(const ParameterSet& weights);
  AdamStep device_step(double average_share) const;
  void updated_on_device(double norm);

  double gradient_clip() const { return config_.gradient_clip; }
  int64_t updates() const { return updates_; }
  const ParameterSet& exp_avg() const { return exp_avg_; }        // first moment
  const ParameterSet& exp_avg_sq() const { return exp_avg_sq_; }  // second moment

 private:
  // No weight, and no element of the first moment, is larger in magnitude.
  struct Bounds {
    double weight;
    double exp_avg;
  };
  Bounds measured(const ParameterSet& weights) const;
  Bounds after_update(Bounds bounds, double norm) const;
  // Of the n-th update, 1 being the first.
  AdamStep step_of(int64_t update, double rate, double average_share) const;
  // update() on the CPU, in one pass over all arrays.
  void update_in_one_pass(ParameterSet& weights, ParameterSet& gradient, double scale, double rate,
                          ParameterSet& average, double share);
  bool fits(double norm) const;  // an update by a gradient of this norm, as far as bounds_ tells

  OptimizerConfig config_;
  int64_t updates_ = 0;
  ParameterSet exp_avg_;
  ParameterSet exp_avg_sq_;
  bool bounded_ = false;  // whether bounds_ are known
  Bounds bounds_{};
};

// The global L2 norm over all parameters.
double global_norm(const ParameterSet& gradient);

}  // namespace ddpm
