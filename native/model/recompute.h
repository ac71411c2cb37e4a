#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <vector>

namespace ddpm {

// Gradient checkpointing (Chen, Xu, Zhang, Guestrin 2016): `part` of a network, of which only the inputs are kept for
// the way back; what lies between is computed a second time there. `part` must give the same result each time, and live
// until the way back has ended; the gradients of the parameters that it uses add up as they would without this.
at::Tensor recomputed(std::function<at::Tensor(const std::vector<at::Tensor>& inputs)> part,
                      const std::vector<at::Tensor>& inputs);

}  // namespace ddpm
