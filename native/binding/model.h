#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "engine/engine.h"

namespace ddpm {

// NativeModel of lib/binding.ts: an engine as a JS object. Every method copies what it is given, asks the engine for
// work and returns at once.
class Model : public Napi::ObjectWrap<Model> {
 public:
  static Napi::Function define(Napi::Env env);

  explicit Model(const Napi::CallbackInfo& info);

 private:
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
  Napi::Value dispose(const Napi::CallbackInfo& info);

  at::Tensor images(const Napi::Value& value) const;

  Engine::Config config_;
  std::shared_ptr<Engine> engine_;
};

}  // namespace ddpm
