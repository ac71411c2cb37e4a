#pragma once

#include <napi.h>

#include <string>
#include <vector>

#include "engine/engine.h"

namespace ddpm {

// Reads the plain structs of lib/binding.ts. Values have been validated in lib/config/; a field that is missing or of
// another type is a defect of lib/ and throws a JS TypeError that names it.

std::vector<int64_t> int_array(const Napi::Object& options, const char* name);  // Int32Array; absent: empty
at::Tensor image_tensor(const Napi::Value& value, int64_t channels, int64_t height, int64_t width);  // a copy

double number(const Napi::Object& options, const char* name);
int64_t integer(const Napi::Object& options, const char* name);
bool boolean(const Napi::Object& options, const char* name);
std::string text(const Napi::Object& options, const char* name);

UNetConfig unet_config(const Napi::Object& options);
DiffusionConfig diffusion_config(const Napi::Object& options);
Engine::Config engine_config(const Napi::Object& options);
SamplerType sampler_type(Napi::Env env, const std::string& name);
WeightSet weight_set(Napi::Env env, const std::string& name);
TimestepSpacing timestep_spacing(Napi::Env env, const std::string& name);

// A copy of the numbers as a new array that JS owns. Throws std::bad_alloc.
Napi::Float32Array float_array(Napi::Env env, const float* values, size_t count);
Napi::Float64Array double_array(Napi::Env env, const std::vector<double>& values);
Napi::Uint8Array byte_array(Napi::Env env, const std::vector<uint8_t>& values);

}  // namespace ddpm
