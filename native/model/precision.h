#pragma once

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

namespace ddpm {

// What the network computes in; the weights are float32 always. kTf32: float32, but CUDA's products and convolutions
// round what they multiply to TF32's 10 bits of mantissa (Float32Scope).
enum class Precision { kFloat32, kTf32, kBFloat16 };

// While it lives, this thread's convolutions and matrix products run in the given precision (autocast).
class PrecisionScope {
 public:
  PrecisionScope(Precision precision, at::Device device)
      : type_(device.type()), enabled_before_(at::autocast::is_autocast_enabled(type_)) {
    if (precision == Precision::kBFloat16) at::autocast::set_autocast_dtype(type_, at::kBFloat16);
    at::autocast::set_autocast_enabled(type_, precision == Precision::kBFloat16);
  }
  ~PrecisionScope() {
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(type_, enabled_before_);
  }
  PrecisionScope(const PrecisionScope&) = delete;
  PrecisionScope& operator=(const PrecisionScope&) = delete;

 private:
  at::DeviceType type_;
  bool enabled_before_;
};

// What a scope around has set for this thread.
inline Precision current_precision(at::DeviceType device) {
  return at::autocast::is_autocast_enabled(device) ? Precision::kBFloat16 : Precision::kFloat32;
}

}  // namespace ddpm
