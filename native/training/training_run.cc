#include "training/training_run.h"

#include <utility>

#include "kernels/fast_paths.h"
#include "training/non_finite.h"

namespace ddpm {
namespace {

// Weight of the newest interval in the running seconds a step that the remaining time is told from.
constexpr double kPaceSmoothing = 0.3;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

TrainingRun::TrainingRun(TrainOptions options, uint64_t seed, int64_t timesteps, at::Device device,
                         ProgressFunction progress)
    : options_(std::move(options)),
      batches_(BatchSource(options_.images, options_.labels,
                           {seed, timesteps, options_.horizontal_flip, fast_paths() && device.is_cuda()})),
      batches_ahead_(fast_paths() && device.is_cuda()),
      progress_(std::move(progress)) {}

void TrainingRun::step(Trainer& trainer, const std::atomic<bool>& cancelled) {
  const int64_t images = options_.batch_size * options_.gradient_accumulation;
  const auto batch = [this, images, update = static_cast<uint64_t>(trainer.step()),
                      images_seen = trainer.images_seen()](int64_t first, int64_t count) {
    Batch taken = batches_.take({update, images_seen, first, count});
    // The next pass, of this update or the one that follows. On the CPU its cores have no time to spare for it.
    if (batches_ahead_) {
      const bool last = first + count >= images;
      if (!last) {
        batches_.expect({update, images_seen, first + count, count});
      } else if (static_cast<int64_t>(update) + 1 < options_.steps) {
        batches_.expect({update + 1, images_seen + images, 0, count});
      }
    }
    return taken;
  };
  const StepResult result =
      trainer.update({images, options_.gradient_accumulation, options_.recompute}, batch, cancelled);

  ++since_report_.steps;
  Tally& tally = trainer.tally();
  if (!result.skipped()) {
    tally.skipped_in_a_row = 0;
    ++tally.finite;
    tally.loss += result.loss;
  } else if (++tally.skipped_in_a_row >= options_.most_non_finite) {
    // Another training of this model begins to count anew.
    const int64_t times = std::exchange(tally.skipped_in_a_row, 0);
    throw NonFiniteError::of_training(explain(trainer, result.non_finite, images, batch, cancelled), times);
  }
  if (trainer.step() % options_.progress_every == 0 || finished(trainer.step())) report(trainer, result);
}

void TrainingRun::report(Trainer& trainer, const StepResult& result) {
  const double seconds = seconds_since(since_report_.begin);
  const double pace = seconds / static_cast<double>(since_report_.steps);
  seconds_a_step_ = seconds_a_step_ == 0 ? pace : seconds_a_step_ + kPaceSmoothing * (pace - seconds_a_step_);
  Tally& tally = trainer.tally();
  loss_ = tally.loss / static_cast<double>(tally.finite);  // NaN where there was none
  if (progress_) {
    const int64_t step = trainer.step();
    const int64_t images = since_report_.steps * options_.batch_size * options_.gradient_accumulation;
    progress_({step, options_.steps, loss_, result.learning_rate, result.gradient_norm,
               static_cast<double>(images) / seconds, static_cast<double>(options_.steps - step) * seconds_a_step_,
               trainer.skipped()});
  }
  tally.finite = 0;
  tally.loss = 0;
  since_report_ = {};
}

TrainResult TrainingRun::result(int64_t step, int64_t skipped_steps) const {
  return {step, loss_, skipped_steps, seconds_since(started_)};
}

}  // namespace ddpm
