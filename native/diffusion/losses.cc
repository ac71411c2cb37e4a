#include "diffusion/losses.h"

namespace ddpm {

at::Tensor simple_loss(const at::Tensor& predicted_eps, const at::Tensor& eps) {
  return (predicted_eps.to(at::kFloat) - eps).square().mean({1, 2, 3});
}

}  // namespace ddpm
