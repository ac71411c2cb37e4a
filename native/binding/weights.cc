#include "binding/weights.h"

#include <algorithm>
#include <utility>

#include "binding/addon_data.h"
#include "binding/errors.h"
#include "binding/options.h"
#include "error.h"

namespace ddpm {
namespace {

constexpr napi_type_tag kWeightsTag = {0x6a1f3b7cd2e84590, 0x9d0c5e4fb1a27638};

at::ScalarType scalar_type(const std::string& dtype) {
  if (dtype == "F32") return at::kFloat;
  if (dtype == "F16") return at::kHalf;
  if (dtype == "BF16") return at::kBFloat16;
  if (dtype == "F64") return at::kDouble;
  throw Error("ERR_CHECKPOINT", "unsupported tensor type '" + dtype + "'");
}

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

float* Weights::place(const std::string& name, int64_t offset, int64_t count) const {
  const ParameterSpec& spec = set_.layout()->spec(name);
  if (offset < 0 || count < 0 || offset > spec.count || count > spec.count - offset) {
    throw Error("ERR_NATIVE", name + ": elements " + std::to_string(offset) + " to " + std::to_string(offset + count) +
                                  " are not within its " + std::to_string(spec.count));
  }
  return set_.flat().mutable_data_ptr<float>() + spec.offset + offset;
}

Napi::Value Weights::read(const Napi::CallbackInfo& info) {
  const auto name = info[0].ToString().Utf8Value();
  const auto offset = info[1].ToNumber().Int64Value();
  const auto count = info[2].ToNumber().Int64Value();
  return guarded(info.Env(),
                 [&] { return float_array(info.Env(), place(name, offset, count), static_cast<size_t>(count)); });
}

void Weights::write(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto name = info[0].ToString().Utf8Value();
  const auto offset = info[1].ToNumber().Int64Value();
  if (!info[2].IsTypedArray() || info[2].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw Napi::TypeError::New(env, "expected a Uint8Array");
  }
  const auto bytes = info[2].As<Napi::Uint8Array>();
  const auto dtype = info[3].ToString().Utf8Value();
  guarded(env, [&] {
    const at::ScalarType type = scalar_type(dtype);
    const auto size = c10::elementSize(type);
    if (bytes.ByteLength() % size != 0) throw Error("ERR_NATIVE", name + ": part of an element was given");
    const auto count = static_cast<int64_t>(bytes.ByteLength() / size);
    float* out = place(name, offset, count);
    // The bytes may lie unaligned, so they are copied before they are read as numbers.
    at::Tensor values = at::empty({count}, type);
    std::copy_n(bytes.Data(), bytes.ByteLength(), static_cast<uint8_t*>(values.mutable_data_ptr()));
    at::from_blob(out, {count}, at::kFloat).copy_(values);
  });
}

}  // namespace ddpm
