#include "diffusion/gaussian_diffusion.h"

#include <cmath>

#include "device/device.h"

namespace ddpm {

at::Tensor per_image(const std::vector<double>& values, const at::Tensor& x) {
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[0] = static_cast<int64_t>(values.size());
  return upload(at::tensor(values, at::kDouble).to(x.scalar_type()), x.device()).view(shape);
}

std::vector<double> gather(const std::vector<double>& quantity, at::IntArrayRef t) {
  std::vector<double> values;
  values.reserve(t.size());
  for (const int64_t i : t) values.push_back(quantity.at(static_cast<size_t>(i)));
  return values;
}

at::Tensor GaussianDiffusion::add_noise(const at::Tensor& x_0, at::IntArrayRef t, const at::Tensor& eps) const {
  return per_image(gather(schedule_.sqrt_alphas_cumprod, t), x_0) * x_0 +
         per_image(gather(schedule_.sqrt_one_minus_alphas_cumprod, t), x_0) * eps;
}

at::Tensor GaussianDiffusion::posterior_mean(const at::Tensor& x_0, const at::Tensor& x_t, at::IntArrayRef t) const {
  return per_image(gather(schedule_.posterior_mean_coef_x0, t), x_0) * x_0 +
         per_image(gather(schedule_.posterior_mean_coef_xt, t), x_t) * x_t;
}

at::Tensor GaussianDiffusion::predict_x_start(const at::Tensor& model_output, const at::Tensor& x_t,
                                              at::IntArrayRef t) const {
  const at::Tensor& eps = model_output;
  const at::Tensor x_0 = (x_t - per_image(gather(schedule_.sqrt_one_minus_alphas_cumprod, t), x_t) * eps) /
                         per_image(gather(schedule_.sqrt_alphas_cumprod, t), x_t);
  return config_.clip_sample ? x_0.clamp(-1, 1) : x_0;
}

GaussianDiffusion::Step GaussianDiffusion::step(const at::Tensor& model_output, const at::Tensor& x_t,
                                                at::IntArrayRef t, const at::Tensor& noise) const {
  const at::Tensor x_0 = predict_x_start(model_output, x_t, t);
  at::Tensor prev = posterior_mean(x_0, x_t, t);
  if (noise.defined()) {
    std::vector<double> sigma;
    for (const int64_t i : t) {  // no noise at the last step
      sigma.push_back(i > 0 ? std::sqrt(schedule_.variance(config_.variance_type, i)) : 0);
    }
    prev = prev + per_image(sigma, x_t) * noise;
  }
  return {prev, x_0};
}

}  // namespace ddpm
