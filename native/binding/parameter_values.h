#pragma once

#include <napi.h>

#include <string>

#include "model/parameters.h"

namespace ddpm {

// The values of a host's parameter set, moved to and from JS in pieces, so that no call is long. A place outside a
// parameter is ERR_NATIVE.

// A copy of `count` values of a parameter from element `offset` on.
Napi::Float32Array read_values(Napi::Env env, const ParameterSet& set, const std::string& name, int64_t offset,
                               int64_t count);

// Puts little-endian elements of `dtype` at element `offset` of a parameter. `bytes` must be a Uint8Array.
void write_values(const ParameterSet& set, const std::string& name, int64_t offset, const Napi::Value& bytes,
                  const std::string& dtype);

}  // namespace ddpm
