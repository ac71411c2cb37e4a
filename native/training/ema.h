#pragma once

#include <algorithm>
#include <cstdint>

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

 private:
  EmaConfig config_;
};

}  // namespace ddpm
