#include "binding/weights.h"

#include <utility>

#include "binding/addon_data.h"
#include "binding/parameter_values.h"

namespace ddpm {
namespace {

constexpr napi_type_tag kWeightsTag = {0x6a1f3b7cd2e84590, 0x9d0c5e4fb1a27638};

}  // namespace

Napi::Function Weights::define(Napi::Env env) {
  return DefineClass(env, "Weights",
                     {InstanceMethod<&Weights::read>("read"), InstanceMethod<&Weights::write>("write")});
}

Napi::Value Weights::wrap(Napi::Env env, ParameterSet set) {
  const auto external = Napi::External<ParameterSet>::New(env, &set);
  return AddonData::of(env).weights_class.New({external});
}

const ParameterSet& Weights::from(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kWeightsTag)) {
    throw Napi::TypeError::New(value.Env(), "expected weights of this addon");
  }
  return Unwrap(value.As<Napi::Object>())->set_;
}

Weights::Weights(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (info.Length() != 1 || !info[0].IsExternal()) {
    throw Napi::TypeError::New(info.Env(), "weights are made by a model");
  }
  set_ = std::move(*info[0].As<Napi::External<ParameterSet>>().Data());
  info.This().As<Napi::Object>().TypeTag(&kWeightsTag);
  Napi::MemoryManagement::AdjustExternalMemory(info.Env(), bytes());
}

void Weights::Finalize(Napi::BasicEnv env) { Napi::MemoryManagement::AdjustExternalMemory(env, -bytes()); }

int64_t Weights::bytes() const { return static_cast<int64_t>(set_.flat().nbytes()); }

Napi::Value Weights::read(const Napi::CallbackInfo& info) {
  return read_values(info.Env(), set_, info[0].ToString().Utf8Value(), info[1].ToNumber().Int64Value(),
                     info[2].ToNumber().Int64Value());
}

void Weights::write(const Napi::CallbackInfo& info) {
  write_values(set_, info[0].ToString().Utf8Value(), info[1].ToNumber().Int64Value(), info[2],
               info[3].ToString().Utf8Value());
}

}  // namespace ddpm
