#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace ddpm {

// A failure with a stable code (the ones of lib/errors.ts), thrown anywhere in native/ and turned into a JS error by
// binding/.
class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message) : std::runtime_error(message), code_(std::move(code)) {}

  const std::string& code() const { return code_; }

 private:
  std::string code_;
};

// Thrown where work polls its cancellation flag and finds it set.
class Cancelled : public Error {
 public:
  Cancelled() : Error("ABORT_ERR", "The operation was aborted") {}
};

}  // namespace ddpm
