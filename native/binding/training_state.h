#pragma once

#include <napi.h>

#include <memory>

#include "training/training_state.h"

namespace ddpm {

// NativeTrainingState of lib/binding.ts: the state of a training on the host, read and written in pieces.
class TrainingStateObject : public Napi::ObjectWrap<TrainingStateObject> {
 public:
  static Napi::Function define(Napi::Env env);
  // Wraps a state; JS cannot make one of its own.
  static Napi::Value wrap(Napi::Env env, std::shared_ptr<TrainingState> state);
  // The state behind a JS value; throws a JS TypeError for anything else, and for one that was released.
  static std::shared_ptr<TrainingState> from(const Napi::Value& value);

  explicit TrainingStateObject(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  Napi::Value counters(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  void write(const Napi::CallbackInfo& info);
  void release(const Napi::CallbackInfo& info);

  const ParameterSet& set(const Napi::Value& name) const;
  void report_memory(Napi::BasicEnv env, int64_t bytes);

  std::shared_ptr<TrainingState> state_;
  int64_t reported_bytes_ = 0;  // what the garbage collector knows of
};

// The plain object of counters in lib/binding.ts.
TrainingCounters training_counters(const Napi::Object& counters);

}  // namespace ddpm
