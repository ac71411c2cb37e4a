#pragma once

#include <napi.h>

#include <cstdint>
#include <exception>
#include <optional>
#include <string>

namespace ddpm {

// A native failure, ready to cross to JS: a code of lib/errors.ts and a message.
struct Failure {
  std::string code;
  std::string message;
  std::optional<int64_t> image = std::nullopt;  // index in the data set of the image that caused it
};

Failure describe(const std::exception_ptr& error);
Napi::Error to_js(Napi::Env env, const Failure& failure);

// Runs a synchronous method's body; a C++ exception becomes a JS one with its code.
template <class Body>
auto guarded(Napi::Env env, Body body) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw to_js(env, describe(std::current_exception()));
  }
}

}  // namespace ddpm
