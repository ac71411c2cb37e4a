#pragma once

#include <napi.h>

#include <optional>

#include "diffusion/gaussian_diffusion.h"

namespace ddpm {

// NativeDiffusion of lib/binding.ts: the mathematics on plain arrays, at once. An image's shape does not matter to it:
// arrays are cut into as many equal parts as there are timesteps.
class Diffusion : public Napi::ObjectWrap<Diffusion> {
 public:
  static Napi::Function define(Napi::Env env);

  explicit Diffusion(const Napi::CallbackInfo& info);

 private:
  Napi::Value schedule(const Napi::CallbackInfo& info);
  Napi::Value add_noise(const Napi::CallbackInfo& info);
  Napi::Value posterior(const Napi::CallbackInfo& info);
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value timesteps(const Napi::CallbackInfo& info);

  std::optional<GaussianDiffusion> diffusion_;
};

}  // namespace ddpm
