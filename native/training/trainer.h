#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "diffusion/gaussian_diffusion.h"
#include "model/precision.h"
#include "model/unet.h"
#include "training/batch.h"
#include "training/device_inputs.h"
#include "training/device_updates.h"
#include "training/ema.h"
#include "training/half_weights.h"
#include "training/optimizer.h"
#include "training/training_state.h"

namespace ddpm {

struct TrainingConfig {
  UNetConfig unet;
  DiffusionConfig diffusion;
  OptimizerConfig optimizer;
  EmaConfig ema;
  Precision precision = Precision::kFloat32;
  uint64_t seed = 0;
};

// Why an update was skipped: what of it was not finite.
enum class NonFinite {
  kNothing,
  kLoss,
  kGradient,
  kUpdate,  // the weights that it would have made
};

// What one optimizer update reports.
struct StepResult {
  double loss = 0;           // the mean over the images
  double gradient_norm = 0;  // global, before clipping
  double learning_rate = 0;
  NonFinite non_finite = NonFinite::kNothing;

  bool skipped() const { return non_finite != NonFinite::kNothing; }
};

// How the images of an update go through the network.
struct Passes {
  int64_t images = 0;        // of the update
  int64_t accumulation = 1;  // passes of equal size, whose gradients add up to that of a single one
  bool recompute = false;    // keeps less of a pass for its way back, and computes it again: less memory, more time
};

// Algorithm 1, one update at a time, over weights that it shares with its owner.
class Trainer {
 public:
  // Images [first, first + count) of the update.
  using BatchFunction = std::function<Batch(int64_t first, int64_t count)>;

  // From weights alone; `averaged` updates are in their average.
  Trainer(const TrainingConfig& config, ParameterSet raw, ParameterSet ema, int64_t averaged);
  // From where a training was; the weights of `state` are shared, not copied.
  Trainer(const TrainingConfig& config, TrainingState state);

  // One optimizer update. One that is not finite changes nothing but the count of steps and images. Throws Cancelled,
  // with nothing changed, when the flag is set.
  StepResult update(const Passes& passes, const BatchFunction& batch, const std::atomic<bool>& cancelled);

  // Which of the `images` images of the update before step() (which was skipped) have, each on its own, a loss or a
  // gradient that is not finite, by their place in the update. Takes a pass for each.
  std::vector<int64_t> non_finite_images(int64_t images, const BatchFunction& batch,
                                         const std::atomic<bool>& cancelled);

  int64_t step() const { return state_.counters.step; }
  int64_t averaged() const { return state_.counters.averaged; }
  int64_t skipped() const { return step() - state_.counters.updates; }
  int64_t images_seen() const { return state_.counters.images_seen; }
  Tally& tally() { return state_.counters.tally; }
  const ParameterSet& gradient() const { return gradient_; }
  // Shares the trainer's own storage.
  const TrainingState& state() const { return state_; }

 private:
  // Adds the gradient of one pass, of images [first, first + count) of the update's, to gradient_; returns the pass's
  // part of the mean loss.
  double accumulate(int64_t first, int64_t count, const Passes& passes, uint64_t step, const BatchFunction& batch,
                    const std::atomic<bool>& cancelled);

  // The same for inputs that are on the device; the loss stays there. `key` as in DropoutKey.
  at::Tensor forward_and_backward(const PassInputs& inputs, int64_t first, const Passes& passes, uint64_t step,
                                  const at::Tensor& key, const std::atomic<bool>* cancelled);
  // update() on the device, where device_ is.
  StepResult update_on_device(const Passes& passes, const BatchFunction& batch, const std::atomic<bool>& cancelled);

  TrainingConfig config_;
  GaussianDiffusion diffusion_;
  TrainingState state_;
  ParameterSet gradient_;
  std::unique_ptr<HalfWeights> copies_;  // null where the raw weights themselves are computed with
  UNet network_;                         // bound to the raw weights or their copies, its gradients to gradient_
  Adam adam_;
  Ema average_;
  std::unique_ptr<DeviceUpdates> device_;  // null where there is no such path
};

}  // namespace ddpm
