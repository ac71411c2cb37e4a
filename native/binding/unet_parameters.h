#pragma once

#include <napi.h>

#include "model/parameters.h"

namespace ddpm {

// Name and shape of each parameter, in the order of the layers.
Napi::Array parameter_list(Napi::Env env, const ParameterLayout& layout);

// The function `unetParameters` of the addon, as lib/binding.ts types it.
Napi::Function define_unet_parameters(Napi::Env env);

}  // namespace ddpm
