#pragma once

#include <napi.h>

#include <functional>
#include <mutex>

namespace ddpm {

// The way from any thread to the JS thread of one environment. Shared by everything that may have something to tell;
// after close() what is posted is dropped.
class JsThread {
 public:
  using Function = std::function<void(Napi::Env)>;

  explicit JsThread(Napi::Env env);
  JsThread(const JsThread&) = delete;
  JsThread& operator=(const JsThread&) = delete;

  // From any thread: has `function` called on the JS thread, soon and in order.
  void post(Function function);

  // From the JS thread: whether waiting for posts keeps the process alive.
  void keep_process_alive(Napi::Env env, bool alive);
  // From the JS thread, once, while the environment still lives.
  void close();

 private:
  std::mutex mutex_;
  bool closed_ = false;
  napi_threadsafe_function function_ = nullptr;
};

}  // namespace ddpm
