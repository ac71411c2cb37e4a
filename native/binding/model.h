#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "binding/js_thread.h"
#include "engine/engine.h"

namespace ddpm {

// NativeModel of lib/binding.ts: an engine as a JS object. Every method copies what it is given, asks the engine for
// work and returns at once.
class Model : public Napi::ObjectWrap<Model> {
 public:
  static Napi::Function define(Napi::Env env);

  explicit Model(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  template <Napi::Value (Model::*method)(const Napi::CallbackInfo&)>
  Napi::Value guard(const Napi::CallbackInfo& info);

  Napi::Value device(const Napi::CallbackInfo& info);
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value parameters(const Napi::CallbackInfo& info);
  Napi::Value train(const Napi::CallbackInfo& info);
  Napi::Value train_step(const Napi::CallbackInfo& info);
  Napi::Value predict(const Napi::CallbackInfo& info);
  Napi::Value sample(const Napi::CallbackInfo& info);
  Napi::Value export_weights(const Napi::CallbackInfo& info);
  Napi::Value create_weights(const Napi::CallbackInfo& info);
  Napi::Value import_weights(const Napi::CallbackInfo& info);
  Napi::Value time_convolutions(const Napi::CallbackInfo& info);
  Napi::Value export_state(const Napi::CallbackInfo& info);
  Napi::Value create_state(const Napi::CallbackInfo& info);
  Napi::Value import_state(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  at::Tensor images(const Napi::Value& value) const;
  void report_memory(Napi::BasicEnv env, int64_t bytes);

  Engine::Config config_;
  std::shared_ptr<Engine> engine_;
  std::shared_ptr<JsThread> js_thread_;
  int64_t reported_bytes_ = 0;  // what the garbage collector knows of
};

}  // namespace ddpm
