#pragma once

#include <ATen/ATen.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "diffusion/gaussian_diffusion.h"
#include "inference/frozen_network.h"
#include "inference/sample_batcher.h"
#include "training/trainer.h"

namespace ddpm {

struct TrainProgress {
  int64_t step = 0;
  int64_t total_steps = 0;
  double loss = 0;  // the mean over the steps since the last report
  double learning_rate = 0;
  double gradient_norm = 0;
  double images_per_second = 0;
  double eta_seconds = 0;
  int64_t skipped_steps = 0;
};

struct TrainResult {
  int64_t step = 0;
  double loss = 0;  // the mean over the steps since the last report; NaN when there was nothing to do
  int64_t skipped_steps = 0;
  double seconds = 0;
};

// Whom to tell how work ended. Exactly one of the two is called, on the engine's thread.
template <class Result>
struct Completion {
  std::function<void(Result)> done;
  std::function<void(std::exception_ptr)> failed;
};

struct TrainRequest {
  std::shared_ptr<const PixelStore> images;
  std::vector<int64_t> labels;  // one an image, or empty
  int64_t steps = 0;            // the total to reach
  int64_t batch_size = 0;
  int64_t gradient_accumulation = 1;
  bool horizontal_flip = false;
  int64_t progress_every = 1;
  std::shared_ptr<const std::atomic<bool>> cancelled;
  std::function<void(const TrainProgress&)> progress;  // may be empty
  Completion<TrainResult> completion;
};

enum class WeightSet { kRaw, kEma, kGradient };

// A model with its optimizer and EMA, and the one thread that everything on them runs on. Any thread may ask for work;
// short tasks and sampling are served between two training steps.
class Engine {
 public:
  struct Config {
    TrainingConfig training;
    at::Device device = at::kCPU;
  };

  explicit Engine(const Config& config);
  ~Engine();  // stops and waits for the thread
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const std::shared_ptr<const ParameterLayout>& layout() const { return layout_; }
  int64_t step() const { return step_.load(); }

  void train(std::shared_ptr<TrainRequest> request);
  void sample(std::shared_ptr<SampleRequest> request);
  // One optimizer update on given values, in `accumulation` passes.
  void train_step(Batch batch, int64_t accumulation, std::shared_ptr<const std::atomic<bool>> cancelled,
                  Completion<StepResult> completion);
  // The network's output: [n, out, H, W] on the CPU.
  void predict(at::Tensor x, std::vector<int64_t> t, std::vector<int64_t> labels, bool use_ema,
               std::shared_ptr<const std::atomic<bool>> cancelled, Completion<at::Tensor> completion);
  // A copy on the CPU.
  void export_weights(WeightSet set, std::shared_ptr<const std::atomic<bool>> cancelled,
                      Completion<ParameterSet> completion);
  // All zero, on the CPU: to be filled by the caller.
  void create_weights(std::shared_ptr<const std::atomic<bool>> cancelled, Completion<ParameterSet> completion);
  // Replaces the raw weights, the EMA, or both; the optimizer and the step count start afresh.
  void import_weights(ParameterSet weights, bool raw, bool ema, std::shared_ptr<const std::atomic<bool>> cancelled,
                      Completion<bool> completion);

  // Takes no more work; calls `closed` on the engine's thread when what it has taken on has ended and its memory is
  // free.
  void close(std::function<void()> closed);
  // Ends everything at the next poll.
  void stop();
  // Waits for the thread, after stop() or close().
  void join();

 private:
  struct Task {
    std::shared_ptr<const std::atomic<bool>> cancelled;
    std::function<void()> run;
    std::function<void(std::exception_ptr)> failed;
  };
  struct Training;  // a run under way

  template <class Result>
  void submit(std::shared_ptr<const std::atomic<bool>> cancelled, Completion<Result> completion,
              std::function<Result()> work);

  void thread_main();
  void initialise();
  void run_tasks();
  void begin_training();
  void train_one_step();
  void serve_samples(double seconds);
  void abandon(const std::exception_ptr& reason);
  bool take_incoming();  // false when the thread has to end

  Trainer& trainer();
  std::shared_ptr<const FrozenNetwork> frozen(bool ema);
  void before_weights_change();

  const Config config_;
  const std::shared_ptr<const ParameterLayout> layout_;
  const GaussianDiffusion diffusion_;
  std::atomic<int64_t> step_{0};
  std::atomic<bool> stopping_{false};

  std::mutex mutex_;  // guards what follows, up to the blank line
  std::condition_variable wake_;
  std::deque<Task> incoming_tasks_;
  std::deque<std::shared_ptr<SampleRequest>> incoming_samples_;
  std::deque<std::shared_ptr<TrainRequest>> incoming_training_;
  bool closing_ = false;
  std::vector<std::function<void()>> closed_;
  bool ended_ = false;

  // Touched by the engine's thread alone.
  ParameterSet raw_;
  ParameterSet ema_;  // shares raw_'s storage until training begins
  std::unique_ptr<Trainer> trainer_;
  std::shared_ptr<FrozenNetwork> frozen_[2];  // of the raw weights and of the EMA
  std::deque<Task> tasks_;
  std::deque<std::shared_ptr<TrainRequest>> training_requests_;
  std::unique_ptr<Training> training_;
  std::unique_ptr<SampleBatcher> batcher_;

  std::mutex join_mutex_;
  std::thread thread_;
};

}  // namespace ddpm
