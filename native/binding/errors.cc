#include "binding/errors.h"

#include <c10/util/Exception.h>
#if __has_include(<oneapi/dnnl/dnnl.hpp>)
#include <oneapi/dnnl/dnnl.hpp>
#define DDPM_HAS_ONEDNN
#endif

#include <new>
#include <string>
#include <system_error>

#include "error.h"
#include "training/non_finite.h"

namespace ddpm {
namespace {

constexpr const char* kOutOfMemory =
    "Not enough memory for this work: lower batchSize, ask for fewer images, or choose a smaller network or image";

constexpr const char* kNoThread =
    "The system gave no thread for this work: too many are running for the limit of the user (ulimit -u) or the "
    "container "
    "(its pids limit), or there is not enough address space for one more (ulimit -v)";

Failure out_of_memory(const std::string& reason) {
  return {"ERR_OUT_OF_MEMORY", std::string(kOutOfMemory) + " (" + reason + ")"};
}

}  // namespace

Failure describe(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const NonFiniteError& known) {
    return {known.code(), known.what(), known.image()};
  } catch (const Error& known) {
    return {known.code(), known.what()};
  } catch (const std::bad_alloc&) {
    return {"ERR_OUT_OF_MEMORY", kOutOfMemory};
  } catch (const c10::OutOfMemoryError& full) {
    return out_of_memory(full.what_without_backtrace());
  } catch (const c10::Error& torch) {
    const std::string what = torch.what_without_backtrace();
    // LibTorch's CPU allocator fails with a plain error of such a text; so do CUDA, cuBLAS and cuDNN.
    for (const char* text : {"not enough memory", "can't allocate memory", "CUDA error: out of memory",
                             "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"}) {
      if (what.find(text) != std::string::npos) return out_of_memory(what);
    }
    return {"ERR_NATIVE", what};
#if defined(DDPM_HAS_ONEDNN)
  } catch (const dnnl::error& kernel) {
    if (kernel.status == dnnl_out_of_memory) return out_of_memory(kernel.what());
    return {"ERR_NATIVE", kernel.what()};
#endif
  } catch (const std::system_error& system) {
    // What std::thread fails with.
    if (system.code() == std::errc::resource_unavailable_try_again) return {"ERR_NATIVE", kNoThread};
    return {"ERR_NATIVE", system.what()};
  } catch (const std::exception& other) {
    return {"ERR_NATIVE", other.what()};
  } catch (...) {
    return {"ERR_NATIVE", "the native side failed for a reason that it does not know"};
  }
}

Napi::Error to_js(Napi::Env env, const Failure& failure) {
  Napi::Error error = Napi::Error::New(env, failure.message);
  error.Set("code", Napi::String::New(env, failure.code));
  if (failure.image) error.Set("image", static_cast<double>(*failure.image));
  return error;
}

}  // namespace ddpm
