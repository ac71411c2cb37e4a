#include "binding/unet_parameters.h"

#include "binding/errors.h"
#include "binding/options.h"
#include "model/unet.h"

namespace ddpm {

Napi::Array parameter_list(Napi::Env env, const ParameterLayout& layout) {
  Napi::Array list = Napi::Array::New(env);
  for (const auto& spec : layout.specs()) {
    Napi::Array shape = Napi::Array::New(env);
    for (uint32_t i = 0; i < spec.shape.size(); ++i) shape.Set(i, static_cast<double>(spec.shape[i]));
    Napi::Object parameter = Napi::Object::New(env);
    parameter.Set("name", spec.name);
    parameter.Set("shape", shape);
    list.Set(list.Length(), parameter);
  }
  return list;
}

Napi::Function define_unet_parameters(Napi::Env env) {
  return Napi::Function::New(
      env,
      [](const Napi::CallbackInfo& info) -> Napi::Value {
        return guarded(info.Env(), [&] {
          const auto layout = UNet::layout(unet_config(info[0].As<Napi::Object>()));
          return parameter_list(info.Env(), *layout);
        });
      },
      "unetParameters");
}

}  // namespace ddpm
