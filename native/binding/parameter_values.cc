#include "binding/parameter_values.h"

#include <algorithm>

#include "binding/errors.h"
#include "binding/options.h"
#include "error.h"

namespace ddpm {
namespace {

at::ScalarType scalar_type(const std::string& dtype) {
  if (dtype == "F32") return at::kFloat;
  if (dtype == "F16") return at::kHalf;
  if (dtype == "BF16") return at::kBFloat16;
  if (dtype == "F64") return at::kDouble;
  throw Error("ERR_CHECKPOINT", "unsupported tensor type '" + dtype + "'");
}

// Element `offset` of a parameter, with `count` elements from there on inside it.
float* place(const ParameterSet& set, const std::string& name, int64_t offset, int64_t count) {
  const ParameterSpec& spec = set.layout()->spec(name);
  if (offset < 0 || count < 0 || offset > spec.count || count > spec.count - offset) {
    throw Error("ERR_NATIVE", name + ": elements " + std::to_string(offset) + " to " + std::to_string(offset + count) +
                                  " are not within its " + std::to_string(spec.count));
  }
  return set.flat().mutable_data_ptr<float>() + spec.offset + offset;
}

}  // namespace

Napi::Float32Array read_values(Napi::Env env, const ParameterSet& set, const std::string& name, int64_t offset,
                               int64_t count) {
  return guarded(env, [&] { return float_array(env, place(set, name, offset, count), static_cast<size_t>(count)); });
}

void write_values(const ParameterSet& set, const std::string& name, int64_t offset, const Napi::Value& bytes,
                  const std::string& dtype) {
  if (!bytes.IsTypedArray() || bytes.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw Napi::TypeError::New(bytes.Env(), "expected a Uint8Array");
  }
  const auto array = bytes.As<Napi::Uint8Array>();
  guarded(bytes.Env(), [&] {
    const at::ScalarType type = scalar_type(dtype);
    const auto size = c10::elementSize(type);
    if (array.ByteLength() % size != 0) throw Error("ERR_NATIVE", name + ": part of an element was given");
    const auto count = static_cast<int64_t>(array.ByteLength() / size);
    float* out = place(set, name, offset, count);
    // The bytes may lie unaligned, so they are copied before they are read as numbers.
    at::Tensor values = at::empty({count}, type);
    std::copy_n(array.Data(), array.ByteLength(), static_cast<uint8_t*>(values.mutable_data_ptr()));
    at::from_blob(out, {count}, at::kFloat).copy_(values);
  });
}

}  // namespace ddpm
