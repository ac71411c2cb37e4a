#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "diffusion/gaussian_diffusion.h"
#include "model/precision.h"
#include "model/unet.h"
#include "training/batch.h"
#include "training/ema.h"
#include "training/optimizer.h"

namespace ddpm {

struct TrainingConfig {
  UNetConfig unet;
  DiffusionConfig diffusion;
  OptimizerConfig optimizer;
  EmaConfig ema;
  Precision precision = Precision::kFloat32;
  uint64_t seed = 0;
};

// What one optimizer update reports.
struct StepResult {
  double loss = 0;           // the mean over the images
  double gradient_norm = 0;  // global, before clipping
  double learning_rate = 0;
  bool skipped = false;  // the loss or the gradient was not finite, and nothing was changed
};

// Algorithm 1, one update at a time, over weights that it shares with its owner.
class Trainer {
 public:
  // Images [first, first + count) of the update.
  using BatchFunction = std::function<Batch(int64_t first, int64_t count)>;

  Trainer(const TrainingConfig& config, ParameterSet raw, ParameterSet ema);

  // One optimizer update on `images` images, in `accumulation` passes of equal size, whose gradients add up to that of
  // a single pass. Throws Cancelled, with nothing changed, when the flag is set.
  StepResult update(int64_t images, int64_t accumulation, const BatchFunction& batch,
                    const std::atomic<bool>& cancelled);

  int64_t step() const { return step_; }                // updates, the skipped ones included
  int64_t images_seen() const { return images_seen_; }  // by all updates together: the position in the data order
  const ParameterSet& gradient() const { return gradient_; }

 private:
  TrainingConfig config_;
  GaussianDiffusion diffusion_;
  ParameterSet raw_;
  ParameterSet ema_;
  ParameterSet gradient_;
  UNet network_;  // bound to raw_, its gradients to gradient_
  Adam adam_;
  Ema average_;
  int64_t step_ = 0;
  int64_t images_seen_ = 0;
};

}  // namespace ddpm
