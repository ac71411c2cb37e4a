#include "engine/engine.h"

#include <chrono>
#include <iterator>
#include <optional>
#include <utility>

#include "device/device.h"
#include "engine/ending.h"
#include "engine/memory_pool.h"
#include "error.h"
#include "training/non_finite.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace ddpm {
namespace {

using Clock = std::chrono::steady_clock;

// After a pause of that length the memory of the last steps is given back.
constexpr std::chrono::milliseconds kShortPause{500};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The engines of the process. Never destroyed: threads that exit() overtakes may still use them.
struct LiveEngines {
  std::mutex mutex;
  std::vector<Engine*> list;
};
LiveEngines& live_engines() {
  static auto* engines = new LiveEngines;
  return *engines;
}

void end_all() {
  LiveEngines& live = live_engines();
  const std::lock_guard lock(live.mutex);
  for (Engine* engine : live.list) engine->stop();
  for (Engine* engine : live.list) engine->join();
}

// glibc keeps what is freed, and more of it the larger the blocks were that it saw freed: some 60 MB for every thread.
void return_memory_to_system() {
  empty_memory_pool();
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace

Engine::Engine(const Config& config)
    : config_(config), layout_(UNet::layout(config.training.unet)), diffusion_(config.training.diffusion) {
  use_memory_pool();
  end_all_at_exit(end_all);
  LiveEngines& live = live_engines();
  const std::lock_guard lock(live.mutex);
  live.list.reserve(live.list.size() + 1);
  thread_ = std::thread([this] { thread_main(); });
  live.list.push_back(this);
}

Engine::~Engine() {
  stop();
  join();
  LiveEngines& live = live_engines();
  const std::lock_guard lock(live.mutex);
  std::erase(live.list, this);
}

void Engine::join() {
  const std::lock_guard lock(join_mutex_);
  if (thread_.joinable()) thread_.join();
}

void Engine::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (in_hand_) in_hand_->store(true);
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

void Engine::submit(Task task) {
  {
    const std::lock_guard lock(mutex_);
    if (!closing_ && !stopping_) {
      incoming_.push_back(std::move(task));
      wake_.notify_all();
      return;
    }
  }
  task.failed(std::make_exception_ptr(Error("ERR_DISPOSED", "This model was disposed of")));
}

template <class Result>
void Engine::submit(std::shared_ptr<std::atomic<bool>> cancelled, Completion<Result> completion,
                    std::function<Result()> work) {
  submit({std::move(cancelled), [done = std::move(completion.done), work = std::move(work)] { done(work()); },
          std::move(completion.failed)});
}

void Engine::train(std::shared_ptr<TrainRequest> request) {
  submit({request->cancelled, [this, request] { begin_training(request); }, request->completion.failed});
}

void Engine::sample(std::shared_ptr<SampleRequest> request) {
  submit({request->cancelled, [this, request] { batcher_->add(request); }, request->failed});
}

void Engine::train_step(Batch batch, int64_t accumulation, std::shared_ptr<std::atomic<bool>> cancelled,
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
    const int64_t images = batch.x_0.size(0);
    const auto result = trainer().update({images, accumulation}, part, *cancelled);
    step_ = trainer().step();
    if (result.skipped()) {
      throw NonFiniteError::of_step(explain(trainer(), result.non_finite, images, part, *cancelled));
    }
    return result;
  });
}

void Engine::predict(at::Tensor x, std::vector<int64_t> t, std::vector<int64_t> labels, bool use_ema,
                     std::shared_ptr<std::atomic<bool>> cancelled, Completion<at::Tensor> completion) {
  submit<at::Tensor>(cancelled, std::move(completion),
                     [this, x = std::move(x), t = std::move(t), labels = std::move(labels), use_ema, cancelled] {
                       return (*frozen(use_ema))(x, t, labels, ForwardContext{nullptr, cancelled.get()}).to(at::kCPU);
                     });
}

void Engine::export_weights(std::vector<WeightSet> sets, std::shared_ptr<std::atomic<bool>> cancelled,
                            Completion<ExportedWeights> completion) {
  submit<ExportedWeights>(std::move(cancelled), std::move(completion), [this, sets = std::move(sets)] {
    ExportedWeights copies{step_, trainer_ ? trainer_->averaged() : averaged_, {}};
    for (const WeightSet set : sets) copies.sets.push_back(set_of(set).copy_to(at::kCPU));
    return copies;
  });
}

const ParameterSet& Engine::set_of(WeightSet set) const {
  if (set == WeightSet::kRaw) return raw_;
  if (set == WeightSet::kEma) return ema_;
  if (!trainer_) throw Error("ERR_CONFIG", "weights: 'gradient' is there after a training step only");
  return trainer_->gradient();
}

void Engine::create_weights(std::shared_ptr<std::atomic<bool>> cancelled, Completion<ParameterSet> completion) {
  submit<ParameterSet>(std::move(cancelled), std::move(completion),
                       [this] { return ParameterSet::zeros(layout_, at::kCPU); });
}

void Engine::import_weights(ParameterSet weights, bool raw, bool ema, int64_t averaged,
                            std::shared_ptr<std::atomic<bool>> cancelled, Completion<bool> completion) {
  submit<bool>(std::move(cancelled), std::move(completion), [this, weights = std::move(weights), raw, ema, averaged] {
    if (training_) throw Error("ERR_BUSY", "weights cannot be replaced while train() runs");
    before_weights_change();
    const ParameterSet imported = weights.copy_to(config_.device);
    if (raw) raw_ = imported;
    if (ema) ema_ = imported;
    trainer_.reset();
    step_ = 0;
    averaged_ = averaged;
    return true;
  });
}

void Engine::export_state(std::shared_ptr<std::atomic<bool>> cancelled,
                          Completion<std::shared_ptr<TrainingState>> completion) {
  submit<std::shared_ptr<TrainingState>>(std::move(cancelled), std::move(completion), [this] { return copy_state(); });
}

void Engine::create_state(std::shared_ptr<std::atomic<bool>> cancelled,
                          Completion<std::shared_ptr<TrainingState>> completion) {
  submit<std::shared_ptr<TrainingState>>(std::move(cancelled), std::move(completion), [this] {
    const auto zeros = [this] { return ParameterSet::zeros(layout_, at::kCPU); };
    return std::make_shared<TrainingState>(TrainingState{zeros(), zeros(), zeros(), zeros(), {}});
  });
}

void Engine::import_state(std::shared_ptr<TrainingState> state, std::shared_ptr<std::atomic<bool>> cancelled,
                          Completion<bool> completion) {
  submit<bool>(std::move(cancelled), std::move(completion), [this, state = std::move(state)] {
    if (training_) throw Error("ERR_BUSY", "the state of training cannot be replaced while train() runs");
    before_weights_change();
    const auto copy = [this](const ParameterSet& set) { return set.copy_to(config_.device); };
    raw_ = copy(state->raw);
    ema_ = copy(state->ema);
    trainer_ = std::make_unique<Trainer>(
        config_.training, TrainingState{raw_, ema_, copy(state->exp_avg), copy(state->exp_avg_sq), state->counters});
    step_ = trainer_->step();
    return true;
  });
}

void Engine::time_convolutions(int64_t images, int64_t repeats, std::shared_ptr<std::atomic<bool>> cancelled,
                               Completion<std::vector<double>> completion) {
  submit<std::vector<double>>(std::move(cancelled), std::move(completion), [this, images, repeats] {
    return frozen(/*ema=*/true)->time_convolutions(images, repeats);
  });
}

std::shared_ptr<TrainingState> Engine::copy_state() {
  const auto copy = [](const ParameterSet& set) { return set.copy_to(at::kCPU); };
  const auto zeros = [this] { return ParameterSet::zeros(layout_, at::kCPU); };
  if (!trainer_) {
    return std::make_shared<TrainingState>(
        TrainingState{copy(raw_), copy(ema_), zeros(), zeros(), {.averaged = averaged_}});
  }
  const TrainingState& state = trainer_->state();
  return std::make_shared<TrainingState>(
      TrainingState{copy(state.raw), copy(state.ema), copy(state.exp_avg), copy(state.exp_avg_sq), state.counters});
}

// The trainer, made when training begins: a model that only samples has neither gradients nor moments.
Trainer& Engine::trainer() {
  if (!trainer_) {
    if (ema_.flat().is_same(raw_.flat())) ema_ = raw_.clone();
    trainer_ = std::make_unique<Trainer>(config_.training, raw_, ema_, averaged_);
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
  const ThreadOfOurs marked;
  std::exception_ptr broken;
  std::optional<DeviceScope> device;
  try {
    device.emplace(config_.device);
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
  device.reset();
  return_memory_to_system();
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
  const auto under_way = [this] { return training_ || (batcher_ && !batcher_->idle()); };
  const auto has_work = [&] { return stopping_ || closing_ || !incoming_.empty() || under_way(); };
  if (!wake_.wait_for(lock, kShortPause, has_work)) {
    lock.unlock();
    empty_memory_pool();
    lock.lock();
    wake_.wait(lock, has_work);
  }
  std::move(incoming_.begin(), incoming_.end(), std::back_inserter(tasks_));
  incoming_.clear();
  return !stopping_ && (!closing_ || !tasks_.empty() || under_way());
}

void Engine::now_doing(std::shared_ptr<std::atomic<bool>> cancelled) {
  const std::lock_guard lock(mutex_);
  in_hand_ = std::move(cancelled);
  if (in_hand_ && stopping_) in_hand_->store(true);
}

void Engine::run_tasks() {
  while (!tasks_.empty() && !stopping_) {
    const Task task = std::move(tasks_.front());
    tasks_.pop_front();
    now_doing(task.cancelled);
    try {
      if (task.cancelled->load()) throw Cancelled();
      task.run();
    } catch (...) {
      task.failed(std::current_exception());
    }
    now_doing(nullptr);
  }
}

void Engine::begin_training(const std::shared_ptr<TrainRequest>& request) {
  if (training_) throw Error("ERR_BUSY", "train() already runs on this model");
  training_.reset(new Training{request,
                               TrainingRun(request->options, config_.training.seed, diffusion_.schedule().timesteps(),
                                           config_.device, request->progress),
                               false,
                               {}});
}

void Engine::train_one_step() {
  TrainRequest& request = *training_->request;
  TrainingRun& run = training_->run;
  now_doing(request.cancelled);
  try {
    if (request.cancelled->load()) throw Cancelled();
    if (!run.finished(step_)) {
      before_weights_change();
      Trainer& trainer = this->trainer();
      run.step(trainer, *request.cancelled);
      step_ = trainer.step();
      make_checkpoint();
    }
    if (run.finished(step_)) {
      const auto ended = std::move(training_);
      request.completion.done(run.result(step_, trainer_ ? trainer_->skipped() : 0));
    }
  } catch (...) {
    if (trainer_) step_ = trainer_->step();
    const auto ended = std::move(training_);
    if (ended) request.completion.failed(std::current_exception());
  }
  now_doing(nullptr);
}

void Engine::make_checkpoint() {
  Training& training = *training_;
  training.checkpoint_due = training.checkpoint_due || training.run.checkpoint_due(step_);
  if (!training.checkpoint_due || !training.checkpoint.expired()) return;
  training.checkpoint_due = false;
  try {
    const auto state = copy_state();
    training.checkpoint = state;
    training.request->checkpoint(state, nullptr);
  } catch (...) {
    training.request->checkpoint(nullptr, std::current_exception());
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
  if (training_) {
    const auto ended = std::move(training_);
    ended->request->completion.failed(reason);
  }
  if (batcher_) batcher_->fail_all(reason);
}

}  // namespace ddpm
