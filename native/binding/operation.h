#pragma once

#include <napi.h>

#include <atomic>
#include <memory>
#include <utility>

#include "binding/addon_data.h"
#include "binding/errors.h"

namespace ddpm {

// Work that a JS call has asked for: makes the JS object { promise, abort }, and the callbacks that bring results and
// progress from the engine's thread to it. Nothing but an id crosses, so no JS value is ever held off its thread.
class Operation {
 public:
  // `owner` is kept from being collected until the promise is settled.
  Operation(Napi::Env env, Napi::Object owner)
      : js_thread_(AddonData::of(env).js_thread()), cancelled_(std::make_shared<std::atomic<bool>>(false)) {
    PendingOperation pending{Napi::Promise::Deferred::New(env), Napi::Persistent(owner), {}};
    promise_ = pending.deferred.Promise();
    id_ = AddonData::of(env).add(env, std::move(pending));
  }

  std::shared_ptr<std::atomic<bool>> cancelled() const { return cancelled_; }

  // What JS gets.
  Napi::Object handle(Napi::Env env) const {
    Napi::Object handle = Napi::Object::New(env);
    handle.Set("promise", promise_);
    handle.Set("abort",
               Napi::Function::New(env, [flag = cancelled_](const Napi::CallbackInfo&) { flag->store(true); }));
    return handle;
  }
  Napi::Promise promise() const { return promise_; }

  // For the engine: `convert(env, Result)` makes the promise's value, on the JS thread.
  template <class Result, class Convert>
  Completion<Result> completion(Convert convert) const {
    return {[post = js_thread_, id = id_, convert](Result result) {
              auto moved = std::make_shared<Result>(std::move(result));
              post->post([id, convert, moved](Napi::Env env) {
                settle(env, id, [&] { return Napi::Value(convert(env, std::move(*moved))); });
              });
            },
            failed()};
  }
  std::function<void(std::exception_ptr)> failed() const {
    return [post = js_thread_, id = id_](const std::exception_ptr& error) {
      post->post([id, failure = describe(error)](Napi::Env env) {
        AddonData::of(env).take(env, id).deferred.Reject(to_js(env, failure).Value());
      });
    };
  }

  // For the engine: calls `function`, a JS one, with what `convert(env, Value)` makes. Empty where `function` is
  // undefined.
  template <class Value, class Convert>
  std::function<void(Value)> callback(const Napi::Value& function, Convert convert) const {
    if (!function.IsFunction()) return {};
    auto& callbacks = AddonData::of(function.Env()).find(id_)->callbacks;
    callbacks.push_back(Napi::Persistent(function.As<Napi::Function>()));
    return [post = js_thread_, id = id_, index = callbacks.size() - 1, convert](Value value) {
      auto moved = std::make_shared<Value>(std::move(value));
      post->post([id, index, convert, moved](Napi::Env env) {
        PendingOperation* pending = AddonData::of(env).find(id);
        if (pending != nullptr) pending->callbacks[index].Call({Napi::Value(convert(env, std::move(*moved)))});
      });
    };
  }

 private:
  template <class Convert>
  static void settle(Napi::Env env, uint64_t id, Convert convert) {
    PendingOperation pending = AddonData::of(env).take(env, id);
    Napi::Value value;
    try {
      value = convert();
    } catch (const Napi::Error& error) {
      pending.deferred.Reject(error.Value());
      return;
    } catch (...) {
      pending.deferred.Reject(to_js(env, describe(std::current_exception())).Value());
      return;
    }
    pending.deferred.Resolve(value);
  }

  std::shared_ptr<JsThread> js_thread_;
  std::shared_ptr<std::atomic<bool>> cancelled_;
  Napi::Promise promise_;
  uint64_t id_ = 0;
};

}  // namespace ddpm
