#pragma once

#include <cstdlib>
#include <string_view>

namespace ddpm {

// Whether fast paths may stand in for the plain ones that they equal up to rounding: unless DDPM_PLAIN=1 is set. The
// plain path runs LibTorch's operators one by one in the order and memory layout of the public implementations, and on
// one CPU gives their float32 results bit for bit.
inline bool fast_paths() {
  static const bool fast = [] {
    const char* plain = std::getenv("DDPM_PLAIN");
    return plain == nullptr || std::string_view(plain) != "1";
  }();
  return fast;
}

}  // namespace ddpm
