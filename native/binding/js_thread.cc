#include "binding/js_thread.h"

#include <memory>
#include <utility>

namespace ddpm {
namespace {

void call_on_js_thread(napi_env env, napi_value, void*, void* data) {
  const std::unique_ptr<JsThread::Function> function(static_cast<JsThread::Function*>(data));
  if (env == nullptr) return;  // the environment is going away
  const Napi::HandleScope scope(env);
  try {
    (*function)(env);
  } catch (const Napi::Error& error) {
    error.ThrowAsJavaScriptException();  // becomes an uncaught exception, as in any callback
  }
}

}  // namespace

JsThread::JsThread(Napi::Env env) {
  const napi_status status =
      napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "ddpm"), 0, 1, nullptr, nullptr,
                                      nullptr, call_on_js_thread, &function_);
  if (status != napi_ok) throw Napi::Error::New(env, "could not open the way back to the JS thread");
  keep_process_alive(env, false);
}

void JsThread::post(Function function) {
  auto data = std::make_unique<Function>(std::move(function));
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  const napi_status status = napi_call_threadsafe_function(function_, data.get(), napi_tsfn_nonblocking);
  if (status == napi_ok) {
    data.release();
  } else if (status == napi_closing) {
    closed_ = true;
  }
}

void JsThread::keep_process_alive(Napi::Env env, bool alive) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  if (alive) {
    napi_ref_threadsafe_function(env, function_);
  } else {
    napi_unref_threadsafe_function(env, function_);
  }
}

void JsThread::close() {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  closed_ = true;
  napi_release_threadsafe_function(function_, napi_tsfn_abort);
}

}  // namespace ddpm
