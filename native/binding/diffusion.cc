#include "binding/diffusion.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "binding/errors.h"
#include "binding/options.h"
#include "diffusion/timesteps.h"
#include "error.h"

namespace ddpm {
namespace {

std::vector<int64_t> timesteps_of(const Napi::Value& value) {
  Napi::Object holder = Napi::Object::New(value.Env());
  holder.Set("t", value);
  return int_array(holder, "t");
}

// [n * elements] -> [n, elements, 1, 1], a copy
at::Tensor images(const Napi::Value& value, const std::vector<int64_t>& t) {
  const auto length = static_cast<int64_t>(value.As<Napi::TypedArray>().ElementLength());
  const auto count = static_cast<int64_t>(t.size());
  if (count == 0 || length % count != 0) throw Error("ERR_CONFIG", "expected one timestep an image");
  return image_tensor(value, length / count, 1, 1);
}

Napi::Value array_of(Napi::Env env, const at::Tensor& tensor) {
  const at::Tensor values = tensor.contiguous();
  return float_array(env, values.const_data_ptr<float>(), static_cast<size_t>(values.numel()));
}

}  // namespace

Napi::Function Diffusion::define(Napi::Env env) {
  return DefineClass(
      env, "Diffusion",
      {InstanceMethod<&Diffusion::schedule>("schedule"), InstanceMethod<&Diffusion::add_noise>("addNoise"),
       InstanceMethod<&Diffusion::posterior>("posterior"), InstanceMethod<&Diffusion::step>("step"),
       InstanceMethod<&Diffusion::timesteps>("timesteps")});
}

Diffusion::Diffusion(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  guarded(info.Env(), [&] { diffusion_.emplace(diffusion_config(info[0].As<Napi::Object>())); });
}

Napi::Value Diffusion::schedule(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    return double_array(info.Env(), diffusion_->schedule().quantity(info[0].ToString().Utf8Value()));
  });
}

Napi::Value Diffusion::add_noise(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto t = timesteps_of(info[1]);
    return array_of(info.Env(), diffusion_->add_noise(images(info[0], t), t, images(info[2], t)));
  });
}

Napi::Value Diffusion::posterior(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    const auto t = timesteps_of(info[2]);
    const auto variance = gather(diffusion_->schedule().posterior_variance, t);
    std::vector<double> log_variance;
    for (const double value : variance) log_variance.push_back(std::log(value));
    Napi::Object result = Napi::Object::New(env);
    result.Set("mean", array_of(env, diffusion_->posterior_mean(images(info[0], t), images(info[1], t), t)));
    result.Set("variance", double_array(env, variance));
    result.Set("logVariance", double_array(env, log_variance));
    return result;
  });
}

Napi::Value Diffusion::step(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    const auto t = timesteps_of(info[1]);
    const at::Tensor noise = info[3].IsUndefined() ? at::Tensor() : images(info[3], t);
    const auto step = diffusion_->step(images(info[0], t), images(info[2], t), t, noise);
    Napi::Object result = Napi::Object::New(env);
    result.Set("prev", array_of(env, step.prev));
    result.Set("x0", array_of(env, step.x_0));
    return result;
  });
}

Napi::Value Diffusion::timesteps(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    const auto visited = spaced_timesteps(diffusion_->schedule().timesteps(), info[0].ToNumber().Int64Value(),
                                          timestep_spacing(env, info[1].ToString().Utf8Value()));
    Napi::Int32Array array = Napi::Int32Array::New(env, visited.size());
    std::transform(visited.begin(), visited.end(), array.Data(), [](int64_t t) { return static_cast<int32_t>(t); });
    return array;
  });
}

}  // namespace ddpm
