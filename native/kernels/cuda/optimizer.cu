#include "kernels/cuda/device.cuh"
#include "kernels/cuda/optimizer.h"

namespace ddpm::cuda {
namespace {

// The sum over a block in float64, for its thread 0; in a fixed order, so that it has the same bits every time.
__device__ double block_sum(double value) {
  __shared__ double part[kBlock];
  part[threadIdx.x] = value;
  for (int half = kBlock / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
  }
  return threadIdx.x == 0 ? part[0] : 0;
}

__global__ void sum_squares(const float* gradient, int64_t packs, double* partial) {
  double sum = 0;
  for (int64_t i = flat_index(); i < packs; i += int64_t{gridDim.x} * blockDim.x) {
    const auto g = load<4>(gradient + 4 * i);
#pragma unroll
    for (int k = 0; k < 4; ++k) sum += static_cast<double>(g.v[k]) * g.v[k];
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// By one block.
__global__ void give_verdict(const double* partial, const double* loss, double largest_norm, double clip,
                             UpdateReport* report) {
  double sum = 0;
  for (int i = threadIdx.x; i < kNormBlocks; i += kBlock) sum += partial[i];
  sum = block_sum(sum);
  if (threadIdx.x > 0) return;
  const double norm = sqrt(sum);
  report->loss = *loss;
  report->gradient_norm = norm;
  report->gradient_scale = clip > 0 && norm > clip ? static_cast<float>(clip / (norm + 1e-6)) : 1.0f;
  if (!isfinite(*loss)) {
    report->verdict = Verdict::kLossNotFinite;
  } else if (!isfinite(norm)) {
    report->verdict = Verdict::kGradientNotFinite;
  } else {
    report->verdict = norm > largest_norm ? Verdict::kTooLarge : Verdict::kMade;
  }
}

__global__ void update(AdamStep step, const UpdateReport* report, int64_t packs, float* gradient, float* weights,
                       float* exp_avg, float* exp_avg_sq, float* average) {
  if (report->verdict != Verdict::kMade) return;
  const int64_t i = flat_index();
  if (i >= packs) return;
  const float scale = report->gradient_scale;
  auto g = load<4>(gradient + 4 * i);
  auto w = load<4>(weights + 4 * i), m = load<4>(exp_avg + 4 * i), v = load<4>(exp_avg_sq + 4 * i),
       a = load<4>(average + 4 * i);
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    g.v[k] *= scale;
    m.v[k] = m.v[k] * step.beta1 + g.v[k] * step.rest1;
    v.v[k] = v.v[k] * step.beta2 + g.v[k] * g.v[k] * step.rest2;
    w.v[k] = w.v[k] * step.weight_scale - m.v[k] * step.step_size / (sqrtf(v.v[k]) * step.root_scale + step.epsilon);
    // As at::lerp has it: exact at both ends.
    const float by = step.ema_share;
    a.v[k] = by < 0.5f ? a.v[k] + by * (w.v[k] - a.v[k]) : w.v[k] - (w.v[k] - a.v[k]) * (1.0f - by);
  }
  if (scale != 1.0f) store(gradient + 4 * i, g);
  store(weights + 4 * i, w);
  store(exp_avg + 4 * i, m);
  store(exp_avg_sq + 4 * i, v);
  store(average + 4 * i, a);
}

}  // namespace

void judge(const float* gradient, int64_t count, const double* loss, double largest_norm, double clip, double* partial,
           UpdateReport* report, Stream stream) {
  sum_squares<<<kNormBlocks, kBlock, 0, stream>>>(gradient, count / 4, partial);
  check_launch();
  give_verdict<<<1, kBlock, 0, stream>>>(partial, loss, largest_norm, clip, report);
  check_launch();
}

void adam_and_average(const AdamStep& step, const UpdateReport* report, int64_t count, float* gradient, float* weights,
                      float* exp_avg, float* exp_avg_sq, float* average, Stream stream) {
  update<<<blocks_for(count / 4), kBlock, 0, stream>>>(step, report, count / 4, gradient, weights, exp_avg, exp_avg_sq,
                                                       average);
  check_launch();
}

}  // namespace ddpm::cuda
