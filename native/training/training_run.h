#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "training/batch.h"
#include "training/batches_ahead.h"
#include "training/trainer.h"

namespace ddpm {

struct TrainOptions {
  std::shared_ptr<const PixelStore> images;
  std::vector<int64_t> labels;  // one an image, or empty
  int64_t steps = 0;            // the total to reach, counted from the trainer's first update
  int64_t batch_size = 0;
  int64_t gradient_accumulation = 1;
  bool recompute = false;  // gradient checkpointing
  bool horizontal_flip = false;
  int64_t progress_every = 1;
  int64_t most_non_finite = 10;  // updates in a row that are not finite, after which training gives up
  int64_t checkpoint_every = 0;  // 0: never
};

struct TrainProgress {
  int64_t step = 0;
  int64_t total_steps = 0;
  double loss = 0;  // the mean over the steps since the last report that had a finite one
  double learning_rate = 0;
  double gradient_norm = 0;
  double images_per_second = 0;
  double eta_seconds = 0;
  int64_t skipped_steps = 0;
};

struct TrainResult {
  int64_t step = 0;
  double loss = 0;  // as last reported; NaN when there was nothing to do
  int64_t skipped_steps = 0;
  double seconds = 0;
};

// One call of train(): Algorithm 1 from where the trainer is to the step that is asked for, one update at a time, with
// its pace, its reports and its patience with losses that are not finite.
class TrainingRun {
 public:
  using ProgressFunction = std::function<void(const TrainProgress&)>;  // may be empty

  TrainingRun(TrainOptions options, uint64_t seed, int64_t timesteps, at::Device device, ProgressFunction progress);

  bool finished(int64_t step) const { return step >= options_.steps; }
  // Whether a checkpoint is to be made of this step.
  bool checkpoint_due(int64_t step) const {
    return options_.checkpoint_every > 0 && step % options_.checkpoint_every == 0;
  }
  // The next update. Throws Cancelled, with nothing changed; NonFiniteError after too many skipped updates in a row.
  void step(Trainer& trainer, const std::atomic<bool>& cancelled);
  TrainResult result(int64_t step, int64_t skipped_steps) const;

 private:
  using Clock = std::chrono::steady_clock;

  void report(Trainer& trainer, const StepResult& result);

  TrainOptions options_;
  BatchesAhead batches_;
  bool batches_ahead_;
  ProgressFunction progress_;
  Clock::time_point started_ = Clock::now();
  double loss_ = std::numeric_limits<double>::quiet_NaN();  // as last reported
  double seconds_a_step_ = 0;                               // smoothed over the reports

  struct {
    Clock::time_point begin = Clock::now();
    int64_t steps = 0;
  } since_report_;
};

}  // namespace ddpm
