#pragma once

namespace ddpm {

// Numbers of one update of Adam (Kingma, Ba 2015) with decoupled weight decay and of the moving average after it, as
// the kernels of the CPU and of a CUDA device take them:
//   g <- gradient_scale g;  m <- beta1 m + rest1 g;  v <- beta2 v + rest2 g²
//   w <- weight_scale w - step_size m / (root_scale sqrt(v) + epsilon);  average <- average + ema_share (w - average)
// gradient_scale is 1, or less where the gradient is clipped.
struct AdamStep {
  float beta1, beta2;
  float rest1, rest2;  // 1 - beta1, 1 - beta2, from float64: float32's difference has few digits where beta is near 1
  float step_size;     // learning rate / (1 - beta1^n)
  float root_scale;    // 1 / sqrt(1 - beta2^n)
  float epsilon;
  float weight_scale;  // 1 - learning rate * weight decay
  float ema_share;     // 1 - the average's decay
};

}  // namespace ddpm
