#pragma once

#include <cstdint>
#include <vector>

namespace ddpm {

// Which timesteps a sampler with fewer steps than T visits (Lin et al. 2024, "Common diffusion noise schedules and
// sample steps are flawed", Table 2).
enum class TimestepSpacing {
  kLeading,   // multiples of floor(T / steps), from 0
  kTrailing,  // from T - 1 down in strides of T / steps
  kLinspace,  // evenly from T - 1 down to 0
};

// Exactly `steps` different timesteps, noisiest first. 1 <= steps <= T.
std::vector<int64_t> spaced_timesteps(int64_t timesteps, int64_t steps, TimestepSpacing spacing);

}  // namespace ddpm
