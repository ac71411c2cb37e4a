#include "training/training_run.h"

#include <string>
#include <utility>

#include "error.h"

namespace ddpm {
namespace {

// Updates that are not finite, in a row, after which training gives up.
constexpr int64_t kMostNonFinite = 10;

// Weight of the newest interval in the running seconds a step that the remaining time is told from.
constexpr double kPaceSmoothing = 0.3;

// The most timesteps that an error lists.
constexpr size_t kMostListed = 16;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Error gave_up(int64_t step, const std::vector<int64_t>& timesteps) {
  std::string list;
  for (size_t i = 0; i < timesteps.size() && i < kMostListed; ++i) {
    list += (i > 0 ? ", " : "") + std::to_string(timesteps[i]);
  }
  if (timesteps.size() > kMostListed) list += ", …";
  return Error("ERR_NON_FINITE", "Training stopped at step " + std::to_string(step) +
                                     ": the loss or the gradient was not finite " + std::to_string(kMostNonFinite) +
                                     " times in a row (timesteps " + list +
                                     "). The weights are those of the last good step; lower optimizer.learningRate or "
                                     "look at the data");
}

}  // namespace

TrainingRun::TrainingRun(TrainOptions options, uint64_t seed, int64_t timesteps, ProgressFunction progress)
    : options_(std::move(options)),
      batches_(options_.images, options_.labels, {seed, timesteps, options_.horizontal_flip}),
      progress_(std::move(progress)) {}

void TrainingRun::step(Trainer& trainer, const std::atomic<bool>& cancelled) {
  const auto update = static_cast<uint64_t>(trainer.step());
  const int64_t images_seen = trainer.images_seen();
  std::vector<int64_t> timesteps;
  const StepResult result = trainer.update(
      options_.batch_size * options_.gradient_accumulation, options_.gradient_accumulation,
      [&](int64_t first, int64_t count) {
        Batch batch = batches_.batch(update, images_seen, first, count);
        timesteps.insert(timesteps.end(), batch.t.begin(), batch.t.end());
        return batch;
      },
      cancelled);
  count(result, trainer.step(), timesteps);
  if (trainer.step() % options_.progress_every == 0 || finished(trainer.step())) report(result, trainer.step());
}

void TrainingRun::count(const StepResult& result, int64_t step, const std::vector<int64_t>& timesteps) {
  ++since_report_.steps;
  if (result.skipped) {
    ++skipped_;
    if (++skipped_in_a_row_ >= kMostNonFinite) throw gave_up(step, timesteps);
    return;
  }
  skipped_in_a_row_ = 0;
  ++since_report_.finite;
  since_report_.loss += result.loss;
}

void TrainingRun::report(const StepResult& result, int64_t step) {
  const double seconds = seconds_since(since_report_.begin);
  const double pace = seconds / static_cast<double>(since_report_.steps);
  seconds_a_step_ = seconds_a_step_ == 0 ? pace : seconds_a_step_ + kPaceSmoothing * (pace - seconds_a_step_);
  loss_ = since_report_.loss / static_cast<double>(since_report_.finite);  // NaN where there was none
  if (progress_) {
    const int64_t images = since_report_.steps * options_.batch_size * options_.gradient_accumulation;
    progress_({step, options_.steps, loss_, result.learning_rate, result.gradient_norm,
               static_cast<double>(images) / seconds, static_cast<double>(options_.steps - step) * seconds_a_step_,
               skipped_});
  }
  since_report_ = {};
}

TrainResult TrainingRun::result(int64_t step) const { return {step, loss_, skipped_, seconds_since(started_)}; }

}  // namespace ddpm
