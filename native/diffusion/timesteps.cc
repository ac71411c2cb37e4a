#include "diffusion/timesteps.h"

#include <cmath>

namespace ddpm {

std::vector<int64_t> spaced_timesteps(int64_t timesteps, int64_t steps, TimestepSpacing spacing) {
  const auto total = static_cast<double>(timesteps);
  // Halves are rounded to even, as the public implementations (through NumPy) do.
  const auto rounded = [](double value) { return static_cast<int64_t>(std::nearbyint(value)); };
  std::vector<int64_t> visited;
  for (int64_t i = 0; i < steps; ++i) {
    switch (spacing) {
      case TimestepSpacing::kLeading:
        visited.push_back((steps - 1 - i) * (timesteps / steps));
        break;
      case TimestepSpacing::kTrailing:
        visited.push_back(rounded(total - static_cast<double>(i) * (total / static_cast<double>(steps))) - 1);
        break;
      case TimestepSpacing::kLinspace:
        // A single step begins where a chain of more steps would: at the noisiest timestep.
        visited.push_back(
            steps == 1 ? timesteps - 1
                       : rounded(static_cast<double>(steps - 1 - i) * (total - 1) / static_cast<double>(steps - 1)));
        break;
    }
  }
  return visited;
}

}  // namespace ddpm
