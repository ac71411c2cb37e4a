// Registration: what the addon is made of. It is context-aware: every environment (the main thread, each worker) gets
// classes and data of its own.
#include <ATen/ATen.h>
#include <napi.h>
#include <torch/version.h>

#include "binding/addon_data.h"
#include "binding/diffusion.h"
#include "binding/model.h"
#include "binding/pin_library.h"
#include "binding/pixel_store.h"
#include "binding/training_state.h"
#include "binding/unet_parameters.h"
#include "binding/weights.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  ddpm::pin_library();
  auto* data = new ddpm::AddonData(env);
  env.SetInstanceData(data);
  data->weights_class = Napi::Persistent(ddpm::Weights::define(env));
  data->training_state_class = Napi::Persistent(ddpm::TrainingStateObject::define(env));

  exports.Set("libtorchVersion", TORCH_VERSION);
  exports.Set("cudaAvailable", at::hasCUDA());
#if defined(DDPM_CUDA)
  exports.Set("variant", "cuda");
#else
  exports.Set("variant", "cpu");
#endif
  exports.Set("Model", ddpm::Model::define(env));
  exports.Set("Diffusion", ddpm::Diffusion::define(env));
  exports.Set("PixelStore", ddpm::define_pixel_store(env));
  exports.Set("unetParameters", ddpm::define_unet_parameters(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(ddpm_node, init)
