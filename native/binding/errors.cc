#include "binding/errors.h"

#include <c10/util/Exception.h>

#include <new>

#include "error.h"

namespace ddpm {
namespace {

constexpr const char* kOutOfMemory =
    "Not enough memory for this work: lower batchSize, or choose a smaller network or image";

}  // namespace

Failure describe(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& known) {
    return {known.code(), known.what()};
  } catch (const std::bad_alloc&) {
    return {"ERR_OUT_OF_MEMORY", kOutOfMemory};
  } catch (const c10::OutOfMemoryError& full) {
    return {"ERR_OUT_OF_MEMORY", std::string(kOutOfMemory) + " (" + full.what_without_backtrace() + ")"};
  } catch (const c10::Error& torch) {
    const std::string what = torch.what_without_backtrace();
    // LibTorch's CPU allocator fails with a plain error of this text.
    if (what.find("not enough memory") != std::string::npos ||
        what.find("can't allocate memory") != std::string::npos) {
      return {"ERR_OUT_OF_MEMORY", std::string(kOutOfMemory) + " (" + what + ")"};
    }
    return {"ERR_NATIVE", what};
  } catch (const std::exception& other) {
    return {"ERR_NATIVE", other.what()};
  } catch (...) {
    return {"ERR_NATIVE", "the native side failed for a reason that it does not know"};
  }
}

Napi::Error to_js(Napi::Env env, const Failure& failure) {
  Napi::Error error = Napi::Error::New(env, failure.message);
  error.Set("code", Napi::String::New(env, failure.code));
  return error;
}

}  // namespace ddpm
