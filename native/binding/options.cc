#include "binding/options.h"

#include <algorithm>
#include <initializer_list>
#include <new>
#include <utility>

#include "device/device.h"
#include "error.h"

namespace ddpm {
namespace {

Napi::Value field(const Napi::Object& options, const char* name, bool (Napi::Value::*is_right)() const,
                  const char* type) {
  const Napi::Value value = options.Get(name);
  if (!(value.*is_right)()) throw Napi::TypeError::New(options.Env(), std::string(name) + ": expected " + type);
  return value;
}

template <class Enum>
Enum one_of(Napi::Env env, const std::string& name, std::initializer_list<std::pair<const char*, Enum>> values) {
  for (const auto& [text, value] : values) {
    if (name == text) return value;
  }
  throw Napi::TypeError::New(env, "unknown value '" + name + "'");
}

template <class T, class Convert>
std::vector<T> list(const Napi::Object& options, const char* name, Convert convert) {
  const auto array = field(options, name, &Napi::Value::IsArray, "an array").As<Napi::Array>();
  std::vector<T> values;
  for (uint32_t i = 0; i < array.Length(); ++i) values.push_back(convert(array.Get(i)));
  return values;
}

Napi::Object object(const Napi::Object& options, const char* name) {
  return field(options, name, &Napi::Value::IsObject, "an object").As<Napi::Object>();
}

OptimizerConfig optimizer_config(const Napi::Object& options) {
  OptimizerConfig config;
  config.learning_rate = number(options, "learningRate");
  config.warmup_steps = integer(options, "warmupSteps");
  config.beta1 = number(options, "beta1");
  config.beta2 = number(options, "beta2");
  config.epsilon = number(options, "epsilon");
  config.weight_decay = number(options, "weightDecay");
  config.gradient_clip = number(options, "gradientClip");
  return config;
}

// By way of the JS constructor: where memory is short it throws, while Node-API's own functions end the process.
Napi::Value new_array(Napi::Env env, const char* type, size_t count) {
  try {
    return env.Global().Get(type).As<Napi::Function>().New({Napi::Number::New(env, static_cast<double>(count))});
  } catch (const Napi::Error&) {
    throw std::bad_alloc();
  }
}

at::Device device(const std::string& name) {
  if (name == "cpu") return at::kCPU;
  if (name == "mps") {
    if (at::hasMPS()) return at::Device(at::kMPS, 0);
    throw Error("ERR_CONFIG",
                "device: expected 'cpu' or 'auto', got 'mps': this LibTorch can use no GPU of Apple's on this machine");
  }
  at::Device wanted(name == "auto" || name == "cuda" ? "cuda:0" : name);
  const std::string problem = why_not_cuda(wanted.index());
  if (problem.empty()) return wanted;
  if (name == "auto") return at::kCPU;
  throw Error("ERR_CONFIG", "device: expected one that can be used here, got '" + name + "': " + problem);
}

}  // namespace

UNetConfig unet_config(const Napi::Object& options) {
  UNetConfig config;
  config.height = integer(options, "height");
  config.width = integer(options, "width");
  config.in_channels = integer(options, "inChannels");
  config.out_channels = integer(options, "outChannels");
  config.block_out_channels =
      list<int64_t>(options, "blockOutChannels", [](const Napi::Value& v) { return v.ToNumber().Int64Value(); });
  config.layers_per_block = integer(options, "layersPerBlock");
  config.attention = list<bool>(options, "attention", [](const Napi::Value& v) { return v.ToBoolean().Value(); });
  config.attention_head_channels = integer(options, "attentionHeadChannels");
  config.dropout = number(options, "dropout");
  config.norm_groups = integer(options, "normGroups");
  config.norm_epsilon = number(options, "normEpsilon");
  config.symmetric_downsample_padding = boolean(options, "symmetricDownsamplePadding");
  config.flip_sin_to_cos = boolean(options, "flipSinToCos");
  config.frequency_shift = number(options, "frequencyShift");
  config.classes = integer(options, "classes");
  if (config.block_out_channels.empty() || config.attention.size() != config.block_out_channels.size()) {
    throw Napi::TypeError::New(options.Env(), "attention: expected one value for each of blockOutChannels");
  }
  return config;
}

double number(const Napi::Object& options, const char* name) {
  return field(options, name, &Napi::Value::IsNumber, "a number").As<Napi::Number>().DoubleValue();
}

int64_t integer(const Napi::Object& options, const char* name) {
  return field(options, name, &Napi::Value::IsNumber, "a number").As<Napi::Number>().Int64Value();
}

bool boolean(const Napi::Object& options, const char* name) {
  return field(options, name, &Napi::Value::IsBoolean, "a boolean").As<Napi::Boolean>().Value();
}

std::string text(const Napi::Object& options, const char* name) {
  return field(options, name, &Napi::Value::IsString, "a string").As<Napi::String>().Utf8Value();
}

std::vector<int64_t> int_array(const Napi::Object& options, const char* name) {
  const Napi::Value value = options.Get(name);
  if (value.IsUndefined()) return {};
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array) {
    throw Napi::TypeError::New(options.Env(), std::string(name) + ": expected an Int32Array");
  }
  const auto array = value.As<Napi::Int32Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

at::Tensor image_tensor(const Napi::Value& value, int64_t channels, int64_t height, int64_t width) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) {
    throw Napi::TypeError::New(value.Env(), "expected a Float32Array");
  }
  const auto array = value.As<Napi::Float32Array>();
  const auto length = static_cast<int64_t>(array.ElementLength());
  const int64_t elements = channels * height * width;
  if (length == 0 || length % elements != 0) {
    throw Napi::TypeError::New(value.Env(), "expected a multiple of " + std::to_string(elements) + " values");
  }
  at::Tensor tensor = at::empty({length / elements, channels, height, width}, at::kFloat);
  std::copy_n(array.Data(), length, tensor.mutable_data_ptr<float>());
  return tensor;
}

DiffusionConfig diffusion_config(const Napi::Object& options) {
  const Napi::Env env = options.Env();
  DiffusionConfig config;
  config.timesteps = integer(options, "timesteps");
  config.beta_schedule = one_of<BetaSchedule>(env, text(options, "betaSchedule"),
                                              {{"linear", BetaSchedule::kLinear},
                                               {"scaled_linear", BetaSchedule::kScaledLinear},
                                               {"cosine", BetaSchedule::kCosine}});
  config.beta_start = number(options, "betaStart");
  config.beta_end = number(options, "betaEnd");
  config.betas = list<double>(options, "betas", [](const Napi::Value& v) { return v.ToNumber().DoubleValue(); });
  config.prediction_type =
      one_of<PredictionType>(env, text(options, "predictionType"), {{"epsilon", PredictionType::kEpsilon}});
  config.variance_type = one_of<VarianceType>(env, text(options, "varianceType"),
                                              {{"fixed_small", VarianceType::kFixedSmall},
                                               {"fixed_large", VarianceType::kFixedLarge},
                                               {"learned_range", VarianceType::kLearnedRange}});
  config.clip_sample = boolean(options, "clipSample");
  return config;
}

Engine::Config engine_config(const Napi::Object& options) {
  Engine::Config config;
  config.training.unet = unet_config(object(options, "unet"));
  config.training.diffusion = diffusion_config(object(options, "diffusion"));
  config.training.optimizer = optimizer_config(object(options, "optimizer"));
  config.training.ema.decay = number(object(options, "ema"), "decay");
  config.training.ema.warmup = boolean(object(options, "ema"), "warmup");
  config.training.precision = one_of<Precision>(
      options.Env(), text(options, "precision"),
      {{"float32", Precision::kFloat32}, {"tf32", Precision::kTf32}, {"bfloat16", Precision::kBFloat16}});
  config.training.seed = static_cast<uint64_t>(integer(options, "seed"));
  config.device = device(text(options, "device"));
  if (config.training.precision == Precision::kTf32 && !config.device.is_cuda()) {
    throw Error("ERR_CONFIG",
                "precision: expected 'float32' or 'bfloat16' ('tf32' is a precision of CUDA devices, and "
                "this model's device is '" +
                    config.device.str() + "'), got 'tf32' (string)");
  }
  return config;
}

SamplerType sampler_type(Napi::Env env, const std::string& name) {
  return one_of<SamplerType>(env, name, {{"ddpm", SamplerType::kDdpm}, {"ddim", SamplerType::kDdim}});
}

WeightSet weight_set(Napi::Env env, const std::string& name) {
  return one_of<WeightSet>(env, name,
                           {{"raw", WeightSet::kRaw}, {"ema", WeightSet::kEma}, {"gradient", WeightSet::kGradient}});
}

TimestepSpacing timestep_spacing(Napi::Env env, const std::string& name) {
  return one_of<TimestepSpacing>(env, name,
                                 {{"leading", TimestepSpacing::kLeading},
                                  {"trailing", TimestepSpacing::kTrailing},
                                  {"linspace", TimestepSpacing::kLinspace}});
}

Napi::Float32Array float_array(Napi::Env env, const float* values, size_t count) {
  auto array = new_array(env, "Float32Array", count).As<Napi::Float32Array>();
  std::copy_n(values, count, array.Data());
  return array;
}

Napi::Float64Array double_array(Napi::Env env, const std::vector<double>& values) {
  auto array = new_array(env, "Float64Array", values.size()).As<Napi::Float64Array>();
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

Napi::Uint8Array byte_array(Napi::Env env, const std::vector<uint8_t>& values) {
  auto array = new_array(env, "Uint8Array", values.size()).As<Napi::Uint8Array>();
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

}  // namespace ddpm
