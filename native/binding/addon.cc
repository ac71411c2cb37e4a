// Registration: what the addon is made of. It is context-aware: every environment (the main thread, each worker) gets
// classes and data of its own.
#include <napi.h>
#include <torch/version.h>

#include <string>

#include "binding/addon_data.h"
#include "binding/diffusion.h"
#include "binding/model.h"
#include "binding/pin_library.h"
#include "binding/pixel_store.h"
#include "binding/training_state.h"
#include "binding/unet_parameters.h"
#include "binding/weights.h"
#include "device/device.h"
#include "engine/memory_pool.h"

namespace {

Napi::Value pass_counts(const Napi::CallbackInfo& info) {
  const ddpm::PassCounts counts = ddpm::pass_counts();
  Napi::Object made = Napi::Object::New(info.Env());
  made.Set("captured", static_cast<double>(counts.captured));
  made.Set("refused", static_cast<double>(counts.refused));
  made.Set("launched", static_cast<double>(counts.launched));
  made.Set("uncaptured", static_cast<double>(counts.uncaptured));
  made.Set("why", counts.why);
  return made;
}

c10::DeviceIndex index_of(const Napi::CallbackInfo& info) {
  return static_cast<c10::DeviceIndex>(info[0].ToNumber().Int32Value());
}

Napi::Value device_memory(const Napi::CallbackInfo& info) {
  const ddpm::DeviceMemory memory = ddpm::device_memory(index_of(info));
  Napi::Object made = Napi::Object::New(info.Env());
  made.Set("free", static_cast<double>(memory.free));
  made.Set("total", static_cast<double>(memory.total));
  made.Set("reserved", static_cast<double>(memory.reserved));
  made.Set("mostReserved", static_cast<double>(memory.most_reserved));
  return made;
}

void reset_most_reserved(const Napi::CallbackInfo& info) { ddpm::reset_most_reserved(index_of(info)); }

Napi::Object init(Napi::Env env, Napi::Object exports) {
  ddpm::pin_library();
  auto* data = new ddpm::AddonData(env);
  env.SetInstanceData(data);
  data->weights_class = Napi::Persistent(ddpm::Weights::define(env));
  data->training_state_class = Napi::Persistent(ddpm::TrainingStateObject::define(env));

  exports.Set("libtorchVersion", TORCH_VERSION);
  const std::string problem = ddpm::why_not_cuda(0);
  exports.Set("cudaAvailable", problem.empty());
  if (ddpm::built_for_cuda() && !problem.empty()) exports.Set("cudaProblem", problem);
  exports.Set("memoryIsPoisoned", ddpm::memory_is_poisoned());
  exports.Set("variant", ddpm::built_for_cuda() ? "cuda" : "cpu");
  exports.Set("passCounts", Napi::Function::New(env, pass_counts));
  exports.Set("deviceMemory", Napi::Function::New(env, device_memory));
  exports.Set("resetMostReserved", Napi::Function::New(env, reset_most_reserved));
  exports.Set("Model", ddpm::Model::define(env));
  exports.Set("Diffusion", ddpm::Diffusion::define(env));
  exports.Set("PixelStore", ddpm::define_pixel_store(env));
  exports.Set("unetParameters", ddpm::define_unet_parameters(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(ddpm_node, init)
