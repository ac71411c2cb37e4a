#pragma once

#include <napi.h>

#include "model/parameters.h"

namespace ddpm {

// NativeWeights of lib/binding.ts: a parameter set on the host, read and written in pieces.
class Weights : public Napi::ObjectWrap<Weights> {
 public:
  static Napi::Function define(Napi::Env env);
  // Wraps a set; JS cannot make one of its own.
  static Napi::Value wrap(Napi::Env env, ParameterSet set);
  // The set behind a JS value; throws a JS TypeError for anything else.
  static const ParameterSet& from(const Napi::Value& value);

  explicit Weights(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  Napi::Value read(const Napi::CallbackInfo& info);
  void write(const Napi::CallbackInfo& info);
  int64_t bytes() const;

  ParameterSet set_;
};

}  // namespace ddpm
