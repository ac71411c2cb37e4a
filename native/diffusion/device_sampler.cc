#include "diffusion/device_sampler.h"

#include "device/device.h"
#include "kernels/cuda/images.h"
#include "kernels/cuda/sampler_step.h"

namespace ddpm {

at::Tensor sampler_step_on_device(const std::vector<SamplerStep>& steps, const std::vector<NoiseKey>& keys,
                                  const at::Tensor& x, const at::Tensor& eps, bool clip) {
  std::vector<cuda::SamplerCoefficients> coefficients;
  for (size_t i = 0; i < steps.size(); ++i) {
    const SamplerStep& step = steps[i];
    coefficients.push_back({static_cast<float>(step.x0_from_x), static_cast<float>(step.x0_from_eps),
                            static_cast<float>(step.prev_from_x0), static_cast<float>(step.prev_from_x),
                            static_cast<float>(step.prev_from_eps), static_cast<float>(step.sigma), keys[i].seed,
                            keys[i].image, keys[i].position});
  }
  const at::Tensor on_device = upload_values(coefficients, x.device());
  at::Tensor prev = at::empty_like(x);
  cuda::sampler_step(static_cast<const cuda::SamplerCoefficients*>(on_device.const_data_ptr()), x.size(0),
                     x.numel() / x.size(0), x.const_data_ptr<float>(), eps.const_data_ptr<float>(), clip,
                     prev.mutable_data_ptr<float>(), stream_of(x));
  return prev;
}

at::Tensor sampling_noise_on_device(uint64_t seed, int64_t image, at::IntArrayRef shape, at::Device device) {
  at::Tensor x_T = at::empty(shape, at::device(device).dtype(at::kFloat));
  cuda::sampling_noise(seed, image, x_T.size(0), x_T.numel() / x_T.size(0), x_T.mutable_data_ptr<float>(),
                       stream_of(x_T));
  return x_T;
}

Levels levels_from_device(const at::Tensor& images) {
  const int64_t n = images.size(0), bytes = images.numel();
  // Side by side, for the one copy.
  at::Tensor both = at::empty({bytes + n}, images.options().dtype(at::kByte));
  at::Tensor finite = both.narrow(0, bytes, n).fill_(1);
  cuda::images_to_levels({n, images.size(1), images.size(2), images.size(3)}, images.const_data_ptr<float>(),
                         both.mutable_data_ptr<uint8_t>(), finite.mutable_data_ptr<uint8_t>(), stream_of(images));
  at::Tensor host = at::empty({bytes + n}, at::TensorOptions().dtype(at::kByte).pinned_memory(true));
  host.copy_(both, /*non_blocking=*/true);
  wait_for(images.device());
  return {host.narrow(0, 0, bytes).view({n, images.size(2), images.size(3), images.size(1)}), host.narrow(0, bytes, n)};
}

}  // namespace ddpm
