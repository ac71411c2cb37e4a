#include "engine/engine.h"

#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "error.h"

namespace ddpm {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Non-finite steps in a row after which training gives up.
constexpr int64_t kMostNonFinite = 10;

// Weight of the newest interval in the running seconds a step that the remaining time is told from.
constexpr double kPaceSmoothing = 0.3;

// All engines of the process, so that they can be ended before exit() takes LibTorch's own globals away from under
// them: process.exit() and an uncaught exception run no clean-up of the environment. This library's globals are
// destroyed before those of the libraries that it depends on.
std::mutex live_mutex;
std::vector<Engine*> live_engines;
struct EndAllAtExit {
  ~EndAllAtExit() {
    const std::lock_guard lock(live_mutex);
    for (Engine* engine : live_engines) engine->stop();
    for (Engine* engine : live_engines) engine->join();
  }
} end_all_at_exit;

}  // namespace

struct Engine::Training {
  std::shared_ptr<TrainRequest> request;
  BatchSource batches;
  Clock::time_point started = Clock::now();
  Clock::time_point last_report = Clock::now();
  int64_t steps_since_report = 0;
  double loss_since_report = 0;
  int64_t finite_since_report = 0;
  double seconds_a_step = 0;
  double last_loss = std::numeric_limits<double>::quiet_NaN();
  int64_t skipped = 0;
  int64_t skipped_in_a_row = 0;

  // The mean loss of the steps since the last report that had a finite one.
  double mean_loss() const {
    return finite_since_report > 0 ? loss_since_report / static_cast<double>(finite_since_report)
                                   : std::numeric_limits<double>::quiet_NaN();
  }
};

Engine::Engine(const Config& config)
    : config_(config), layout_(UNet::layout(config.training.unet)), diffusion_(config.training.diffusion) {
  thread_ = std::thread([this] { thread_main(); });
  const std::lock_guard lock(live_mutex);
  live_engines.push_back(this);
}

Engine::~Engine() {
  stop();
  join();
  const std::lock_guard lock(live_mutex);
  std::erase(live_engines, this);
}

void Engine::join() {
  const std::lock_guard lock(join_mutex_);
  if (thread_.joinable()) thread_.join();
}

void Engine::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
}

void Engine::close(std::function<void()> closed) {
  bool already_ended = false;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    already_ended = ended_;
    if (!already_ended) closed_.push_back(closed);
  }
  if (already_ended) closed();
  wake_.notify_all();
}

template <class Result>
void Engine::submit(std::shared_ptr<const std::atomic<bool>> cancelled, Completion<Result> completion,
                    std::function<Result()> work) {
  Task task;
  task.cancelled = std::move(cancelled);
  task.failed = completion.failed;
  task.run = [done = std::move(completion.done), work = std::move(work)] { done(work()); };
  {
    const std::lock_guard lock(mutex_);
    if (!closing_) {
      incoming_tasks_.push_back(std::move(task));
      wake_.notify_all();
      return;
    }
  }
  task.failed(std::make_exception_ptr(Error("ERR_DISPOSED", "This model was disposed of")));
}

void Engine::train(std::shared_ptr<TrainRequest> request) {
  {
    const std::lock_guard lock(mutex_);
    if (!closing_) {
      incoming_training_.push_back(std::move(request));
      wake_.notify_all();
      return;
    }
  }
  request->completion.failed(std::make_exception_ptr(Error("ERR_DISPOSED", "This model was disposed of")));
}

void Engine::sample(std::shared_ptr<SampleRequest> request) {
  {
    const std::lock_guard lock(mutex_);
    if (!closing_) {
      incoming_samples_.push_back(std::move(request));
      wake_.notify_all();
      return;
    }
  }
  request->failed(std::make_exception_ptr(Error("ERR_DISPOSED", "This model was disposed of")));
}

void Engine::train_step(Batch batch, int64_t accumulation, std::shared_ptr<const std::atomic<bool>> cancelled,
                        Completion<StepResult> completion) {
  submit<StepResult>(cancelled, std::move(completion), [this, batch = std::move(batch), accumulation, cancelled] {
    if (training_) throw Error("ERR_BUSY", "trainStep() cannot run while train() does on the same model");
    before_weights_change();
    const auto part = [&](int64_t first, int64_t count) {
      Batch pass;
      pass.x_0 = batch.x_0.narrow(0, first, count);
      pass.eps = batch.eps.narrow(0, first, count);
      pass.t.assign(batch.t.begin() + first, batch.t.begin() + first + count);
      if (batch.labels.defined()) pass.labels = batch.labels.narrow(0, first, count);
      return pass;
    };
    const auto result = trainer().update(batch.x_0.size(0), accumulation, part, *cancelled);
    step_ = trainer().step();
    if (result.skipped) {
      throw Error("ERR_NON_FINITE",
                  "trainStep: the loss or the gradient is not finite; the weights were left as they "
                  "were");
    }
    return result;
  });
}

void Engine::predict(at::Tensor x, std::vector<int64_t> t, std::vector<int64_t> labels, bool use_ema,
                     std::shared_ptr<const std::atomic<bool>> cancelled, Completion<at::Tensor> completion) {
  submit<at::Tensor>(std::move(cancelled), std::move(completion),
                     [this, x = std::move(x), t = std::move(t), labels = std::move(labels), use_ema] {
                       return (*frozen(use_ema))(x, t, labels, ForwardContext{nullptr, &stopping_}).to(at::kCPU);
                     });
}

void Engine::export_weights(WeightSet set, std::shared_ptr<const std::atomic<bool>> cancelled,
                            Completion<ParameterSet> completion) {
  submit<ParameterSet>(std::move(cancelled), std::move(completion), [this, set] {
    if (set == WeightSet::kGradient && !trainer_) {
      throw Error("ERR_CONFIG", "weights: 'gradient' is there after a training step only");
    }
    const ParameterSet& source = set == WeightSet::kRaw ? raw_ : set == WeightSet::kEma ? ema_ : trainer_->gradient();
    return ParameterSet(layout_, source.flat().to(at::kCPU, at::kFloat, /*non_blocking=*/false, /*copy=*/true));
  });
}

void Engine::create_weights(std::shared_ptr<const std::atomic<bool>> cancelled, Completion<ParameterSet> completion) {
  submit<ParameterSet>(std::move(cancelled), std::move(completion),
                       [this] { return ParameterSet::zeros(layout_, at::kCPU); });
}

void Engine::import_weights(ParameterSet weights, bool raw, bool ema,
                            std::shared_ptr<const std::atomic<bool>> cancelled, Completion<bool> completion) {
  submit<bool>(std::move(cancelled), std::move(completion), [this, weights = std::move(weights), raw, ema] {
    if (training_) throw Error("ERR_BUSY", "weights cannot be replaced while train() runs");
    before_weights_change();
    ParameterSet imported(layout_, weights.flat().to(config_.device, at::kFloat, false, /*copy=*/true));
    if (raw) raw_ = imported;
    if (ema) ema_ = imported;
    trainer_.reset();
    step_ = 0;
    return true;
  });
}

// The trainer, made when training begins: a model that only samples has neither gradients nor moments.
Trainer& Engine::trainer() {
  if (!trainer_) {
    if (ema_.flat().is_same(raw_.flat())) ema_ = raw_.clone();
    trainer_ = std::make_unique<Trainer>(config_.training, raw_, ema_);
  }
  return *trainer_;
}

std::shared_ptr<const FrozenNetwork> Engine::frozen(bool ema) {
  auto& network = frozen_[ema ? 1 : 0];
  if (!network) {
    network = std::make_shared<FrozenNetwork>(config_.training.unet, config_.training.precision, ema ? ema_ : raw_);
  }
  return network;
}

// Samples under way keep the weights that they began with.
void Engine::before_weights_change() {
  for (auto& network : frozen_) {
    if (network && network.use_count() > 1) network->detach();
    network.reset();
  }
}

void Engine::initialise() {
  raw_ = ParameterSet::initial(layout_, config_.training.seed, config_.device);
  ema_ = raw_;
  batcher_ =
      std::make_unique<SampleBatcher>(diffusion_, config_.training.unet, [this](bool ema) { return frozen(ema); });
}

void Engine::thread_main() {
  std::exception_ptr broken;
  try {
    initialise();
  } catch (...) {
    broken = std::current_exception();
  }
  while (take_incoming()) {
    if (broken) {
      abandon(broken);
      continue;
    }
    run_tasks();
    begin_training();
    double seconds = 0;
    if (training_) {
      const auto start = Clock::now();
      train_one_step();
      seconds = seconds_since(start);
    }
    serve_samples(seconds);
  }
  abandon(std::make_exception_ptr(Cancelled()));

  // Give the memory back before anyone is told.
  batcher_.reset();
  for (auto& network : frozen_) network.reset();
  trainer_.reset();
  raw_ = ema_ = ParameterSet();
  std::vector<std::function<void()>> closed;
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    closed.swap(closed_);
  }
  for (const auto& tell : closed) tell();
}

bool Engine::take_incoming() {
  std::unique_lock lock(mutex_);
  const auto has_work = [this] { return training_ || !training_requests_.empty() || (batcher_ && !batcher_->idle()); };
  const auto has_incoming = [this] {
    return !incoming_tasks_.empty() || !incoming_samples_.empty() || !incoming_training_.empty();
  };
  wake_.wait(lock, [&] { return stopping_ || closing_ || has_work() || has_incoming(); });
  std::move(incoming_tasks_.begin(), incoming_tasks_.end(), std::back_inserter(tasks_));
  incoming_tasks_.clear();
  std::move(incoming_training_.begin(), incoming_training_.end(), std::back_inserter(training_requests_));
  incoming_training_.clear();
  if (batcher_) {
    for (auto& request : incoming_samples_) batcher_->add(std::move(request));
    incoming_samples_.clear();
  }
  if (stopping_) return false;
  return !closing_ || has_work() || !tasks_.empty() || !incoming_samples_.empty();
}

void Engine::run_tasks() {
  while (!tasks_.empty() && !stopping_) {
    const Task task = std::move(tasks_.front());
    tasks_.pop_front();
    try {
      if (task.cancelled->load()) throw Cancelled();
      task.run();
    } catch (...) {
      task.failed(std::current_exception());
    }
  }
}

void Engine::begin_training() {
  while (!training_requests_.empty()) {
    auto request = std::move(training_requests_.front());
    training_requests_.pop_front();
    try {
      if (training_) throw Error("ERR_BUSY", "train() already runs on this model");
      if (request->cancelled->load()) throw Cancelled();
      BatchSource::Options options;
      options.seed = config_.training.seed;
      options.timesteps = diffusion_.schedule().timesteps();
      options.horizontal_flip = request->horizontal_flip;
      training_.reset(new Training{request, BatchSource(request->images, request->labels, options)});
    } catch (...) {
      request->completion.failed(std::current_exception());
    }
  }
}

void Engine::train_one_step() {
  Training& run = *training_;
  const TrainRequest& request = *run.request;
  try {
    if (request.cancelled->load()) throw Cancelled();
    if (step_ < request.steps) {
      before_weights_change();
      Trainer& trainer = this->trainer();
      const auto update = static_cast<uint64_t>(trainer.step());
      const int64_t images_seen = trainer.images_seen();
      const int64_t images = request.batch_size * request.gradient_accumulation;
      std::vector<int64_t> timesteps;
      const StepResult result = trainer.update(
          images, request.gradient_accumulation,
          [&](int64_t first, int64_t count) {
            Batch batch = run.batches.batch(update, images_seen, first, count);
            timesteps.insert(timesteps.end(), batch.t.begin(), batch.t.end());
            return batch;
          },
          *request.cancelled);
      step_ = trainer.step();
      ++run.steps_since_report;
      if (result.skipped) {
        ++run.skipped;
        if (++run.skipped_in_a_row >= kMostNonFinite) {
          std::string list;
          for (size_t i = 0; i < timesteps.size() && i < 16; ++i)
            list += (i ? ", " : "") + std::to_string(timesteps[i]);
          throw Error("ERR_NON_FINITE",
                      "Training stopped at step " + std::to_string(step_.load()) +
                          ": the loss or the gradient was not "
                          "finite " +
                          std::to_string(kMostNonFinite) + " times in a row (timesteps " + list +
                          (timesteps.size() > 16 ? ", …" : "") +
                          "). The weights are those of the last good step; lower optimizer.learningRate or look at the "
                          "data");
        }
      } else {
        run.skipped_in_a_row = 0;
        run.loss_since_report += result.loss;
        ++run.finite_since_report;
      }
      if (step_ % request.progress_every == 0 || step_ >= request.steps) {
        const double interval = seconds_since(run.last_report);
        const double pace = interval / static_cast<double>(run.steps_since_report);
        run.seconds_a_step =
            run.seconds_a_step == 0 ? pace : run.seconds_a_step + kPaceSmoothing * (pace - run.seconds_a_step);
        run.last_loss = run.mean_loss();
        if (request.progress) {
          request.progress({step_, request.steps, run.last_loss, result.learning_rate, result.gradient_norm,
                            static_cast<double>(images * run.steps_since_report) / interval,
                            static_cast<double>(request.steps - step_) * run.seconds_a_step, run.skipped});
        }
        run.last_report = Clock::now();
        run.steps_since_report = run.finite_since_report = 0;
        run.loss_since_report = 0;
      }
    }
    if (step_ >= request.steps) {
      const auto ended = std::move(training_);
      ended->request->completion.done({step_, ended->last_loss, ended->skipped, seconds_since(ended->started)});
    }
  } catch (...) {
    const auto ended = std::move(training_);
    if (ended) ended->request->completion.failed(std::current_exception());
  }
}

// While training runs, sampling gets as much time as the last training step took, and one network call at least.
void Engine::serve_samples(double seconds) {
  const auto start = Clock::now();
  while (!batcher_->idle() && !stopping_) {
    batcher_->step(stopping_);
    if (!training_ || seconds_since(start) >= seconds) return;
  }
}

void Engine::abandon(const std::exception_ptr& reason) {
  for (auto& task : tasks_) task.failed(reason);
  tasks_.clear();
  for (auto& request : training_requests_) request->completion.failed(reason);
  training_requests_.clear();
  if (training_) {
    const auto ended = std::move(training_);
    ended->request->completion.failed(reason);
  }
  if (batcher_) batcher_->fail_all(reason);
  std::deque<std::shared_ptr<SampleRequest>> samples;
  {
    const std::lock_guard lock(mutex_);
    samples.swap(incoming_samples_);
  }
  for (auto& request : samples) request->failed(reason);
}

}  // namespace ddpm
