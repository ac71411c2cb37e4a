#pragma once

#include <algorithm>
#include <cstdint>

#include "model/parameters.h"

namespace ddpm {

struct EmaConfig {
  double decay = 0;
  bool warmup = true;
};

// The exponential moving average of the weights that sampling uses (Section 4).
class Ema {
 public:
  explicit Ema(const EmaConfig& config) : config_(config) {}

  // With warm-up, young averages forget faster, so that short runs do not sample from their initial weights.
  double decay(int64_t updates_before) const {
    const auto n = static_cast<double>(updates_before);
    return config_.warmup ? std::min(config_.decay, (1 + n) / (10 + n)) : config_.decay;
  }

  // average <- decay average + (1 - decay) weights
  void update(ParameterSet& average, const ParameterSet& weights, int64_t updates_before) const {
    average.flat().lerp_(weights.flat(), 1 - decay(updates_before));
  }

 private:
  EmaConfig config_;
};

}  // namespace ddpm
