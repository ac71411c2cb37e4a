#pragma once

#include <napi.h>

#include <memory>
#include <unordered_map>
#include <vector>

#include "binding/js_thread.h"
#include "engine/engine.h"

namespace ddpm {

// A promise that is not settled yet, and what must live until it is.
struct PendingOperation {
  Napi::Promise::Deferred deferred;
  Napi::ObjectReference owner;
  std::vector<Napi::FunctionReference> callbacks;
};

// What the addon keeps for one environment (the main thread, or a worker): nothing of it is shared between them.
class AddonData {
 public:
  explicit AddonData(Napi::Env env);
  AddonData(const AddonData&) = delete;
  AddonData& operator=(const AddonData&) = delete;

  static AddonData& of(Napi::Env env) { return *env.GetInstanceData<AddonData>(); }

  const std::shared_ptr<JsThread>& js_thread() const { return js_thread_; }
  // Has the engine ended before the environment goes.
  void watch(const std::shared_ptr<Engine>& engine);

  uint64_t add(Napi::Env env, PendingOperation operation);
  PendingOperation* find(uint64_t id);
  PendingOperation take(Napi::Env env, uint64_t id);

  Napi::FunctionReference weights_class;
  Napi::FunctionReference training_state_class;

 private:
  static void clean_up(void* data);
  void end_engines();

  std::shared_ptr<JsThread> js_thread_;
  std::vector<std::weak_ptr<Engine>> engines_;
  std::unordered_map<uint64_t, PendingOperation> pending_;
  uint64_t next_id_ = 0;
};

}  // namespace ddpm
