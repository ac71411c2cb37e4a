#pragma once

#include <napi.h>

#include <memory>

#include "training/pixel_store.h"

namespace ddpm {

// The class `PixelStore` of the addon, as lib/binding.ts types it.
Napi::Function define_pixel_store(Napi::Env env);

// The images behind a JS value, shared, so that they outlive it where another thread still reads them. Throws a JS
// TypeError for anything that is not a PixelStore of this addon.
std::shared_ptr<const PixelStore> pixel_store_from(const Napi::Value& value);

}  // namespace ddpm
