#include "binding/training_state.h"

#include <utility>

#include "binding/addon_data.h"
#include "binding/options.h"
#include "binding/parameter_values.h"

namespace ddpm {
namespace {

constexpr napi_type_tag kStateTag = {0x1c7d94e35af04b62, 0xb85e20d7c9314fa6};

}  // namespace

Napi::Function TrainingStateObject::define(Napi::Env env) {
  return DefineClass(
      env, "TrainingState",
      {InstanceAccessor<&TrainingStateObject::counters>("counters"), InstanceMethod<&TrainingStateObject::read>("read"),
       InstanceMethod<&TrainingStateObject::write>("write"), InstanceMethod<&TrainingStateObject::release>("release")});
}

Napi::Value TrainingStateObject::wrap(Napi::Env env, std::shared_ptr<TrainingState> state) {
  const auto external = Napi::External<std::shared_ptr<TrainingState>>::New(env, &state);
  return AddonData::of(env).training_state_class.New({external});
}

std::shared_ptr<TrainingState> TrainingStateObject::from(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kStateTag)) {
    throw Napi::TypeError::New(value.Env(), "expected a state of this addon");
  }
  auto state = Unwrap(value.As<Napi::Object>())->state_;
  if (!state) throw Napi::TypeError::New(value.Env(), "this state was released");
  return state;
}

TrainingStateObject::TrainingStateObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (info.Length() != 1 || !info[0].IsExternal()) {
    throw Napi::TypeError::New(info.Env(), "a state is made by a model");
  }
  state_ = std::move(*info[0].As<Napi::External<std::shared_ptr<TrainingState>>>().Data());
  info.This().As<Napi::Object>().TypeTag(&kStateTag);
  report_memory(info.Env(), 4 * static_cast<int64_t>(state_->raw.flat().nbytes()));
}

void TrainingStateObject::Finalize(Napi::BasicEnv env) { report_memory(env, 0); }

void TrainingStateObject::report_memory(Napi::BasicEnv env, int64_t bytes) {
  Napi::MemoryManagement::AdjustExternalMemory(env, bytes - std::exchange(reported_bytes_, bytes));
}

const ParameterSet& TrainingStateObject::set(const Napi::Value& name) const {
  const auto text = name.ToString().Utf8Value();
  if (!state_) throw Napi::TypeError::New(name.Env(), "this state was released");
  if (text == "raw") return state_->raw;
  if (text == "ema") return state_->ema;
  if (text == "firstMoment") return state_->exp_avg;
  if (text == "secondMoment") return state_->exp_avg_sq;
  throw Napi::TypeError::New(name.Env(), "unknown set '" + text + "'");
}

Napi::Value TrainingStateObject::counters(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!state_) throw Napi::TypeError::New(env, "this state was released");
  const TrainingCounters& counters = state_->counters;
  Napi::Object object = Napi::Object::New(env);
  object.Set("step", static_cast<double>(counters.step));
  object.Set("updates", static_cast<double>(counters.updates));
  object.Set("averaged", static_cast<double>(counters.averaged));
  object.Set("imagesSeen", static_cast<double>(counters.images_seen));
  object.Set("skippedInARow", static_cast<double>(counters.tally.skipped_in_a_row));
  object.Set("unreportedLosses", static_cast<double>(counters.tally.finite));
  object.Set("unreportedLoss", counters.tally.loss);
  return object;
}

TrainingCounters training_counters(const Napi::Object& counters) {
  return {.step = integer(counters, "step"),
          .updates = integer(counters, "updates"),
          .averaged = integer(counters, "averaged"),
          .images_seen = integer(counters, "imagesSeen"),
          .tally = {.finite = integer(counters, "unreportedLosses"),
                    .loss = number(counters, "unreportedLoss"),
                    .skipped_in_a_row = integer(counters, "skippedInARow")}};
}

Napi::Value TrainingStateObject::read(const Napi::CallbackInfo& info) {
  return read_values(info.Env(), set(info[0]), info[1].ToString().Utf8Value(), info[2].ToNumber().Int64Value(),
                     info[3].ToNumber().Int64Value());
}

void TrainingStateObject::write(const Napi::CallbackInfo& info) {
  write_values(set(info[0]), info[1].ToString().Utf8Value(), info[2].ToNumber().Int64Value(), info[3],
               info[4].ToString().Utf8Value());
}

// Gives the memory back now rather than when the object is collected.
void TrainingStateObject::release(const Napi::CallbackInfo& info) {
  state_.reset();
  report_memory(info.Env(), 0);
}

}  // namespace ddpm
