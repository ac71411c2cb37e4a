#include "training/device_inputs.h"

#include <vector>

#include "device/device.h"
#include "kernels/cuda/images.h"

namespace ddpm {

PassInputs pass_inputs(const Batch& batch, int64_t first, uint64_t update, uint64_t seed,
                       const GaussianDiffusion& diffusion, at::Device device) {
  PassInputs made;
  made.t = upload(batch.t, device);
  if (batch.labels.defined()) made.labels = upload(batch.labels, device);
  if (!batch.levels.defined()) {
    made.eps = upload(batch.eps, device);
    made.x_t = diffusion.add_noise(upload(batch.x_0, device), batch.t, made.eps);
    return made;
  }

  std::vector<cuda::NoisedImage> plan;
  for (size_t i = 0; i < batch.t.size(); ++i) {
    const auto t = static_cast<size_t>(batch.t[i]);
    plan.push_back({static_cast<float>(diffusion.schedule().sqrt_alphas_cumprod.at(t)),
                    static_cast<float>(diffusion.schedule().sqrt_one_minus_alphas_cumprod.at(t)),
                    static_cast<uint32_t>(first) + static_cast<uint32_t>(i), batch.mirrored[i]});
  }
  const at::Tensor levels = upload(batch.levels, device), on_device = upload_values(plan, device);
  const cuda::ImageShape shape{levels.size(0), levels.size(3), levels.size(1), levels.size(2)};
  made.x_t = at::empty({shape.images, shape.channels, shape.height, shape.width}, levels.options().dtype(at::kFloat));
  made.eps = at::empty_like(made.x_t);
  cuda::noised_images(shape, levels.const_data_ptr<uint8_t>(),
                      static_cast<const cuda::NoisedImage*>(on_device.const_data_ptr()), seed, update,
                      made.x_t.mutable_data_ptr<float>(), made.eps.mutable_data_ptr<float>(), stream_of(levels));
  return made;
}

}  // namespace ddpm
