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
#include "training/training_run.h"
#include "training/training_state.h"

namespace ddpm {

// Whom to tell how work ended. Exactly one of the two is called, on the engine's thread.
template <class Result>
struct Completion {
  std::function<void(Result)> done;
  std::function<void(std::exception_ptr)> failed;
};

struct TrainRequest {
  TrainOptions options;
  std::shared_ptr<std::atomic<bool>> cancelled;
  TrainingRun::ProgressFunction progress;
  // Gets a copy of the state, on the CPU, when a checkpoint is due. While it is held no other is made: one that falls
  // due meanwhile is made after the first step that ends when it has been let go, so that a slow disk costs no memory.
  // Gets the reason instead where no copy could be made; training goes on.
  std::function<void(std::shared_ptr<TrainingState>, std::exception_ptr)> checkpoint;
  Completion<TrainResult> completion;
};

enum class WeightSet { kRaw, kEma, kGradient };

struct ExportedWeights {
  int64_t step = 0;
  int64_t averaged = 0;            // updates that the average has taken in
  std::vector<ParameterSet> sets;  // as they were asked for
};

// A model with its optimizer and EMA, and the one thread that everything on them runs on. Any thread may ask for work;
// it begins in the order in which it was asked for. Training runs until its end, and all other work is served between
// two of its steps.
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
  void train_step(Batch batch, int64_t accumulation, std::shared_ptr<std::atomic<bool>> cancelled,
                  Completion<StepResult> completion);
  // The network's output: [n, out, H, W] on the CPU.
  void predict(at::Tensor x, std::vector<int64_t> t, std::vector<int64_t> labels, bool use_ema,
               std::shared_ptr<std::atomic<bool>> cancelled, Completion<at::Tensor> completion);
  // Copies on the CPU, all of one step.
  void export_weights(std::vector<WeightSet> sets, std::shared_ptr<std::atomic<bool>> cancelled,
                      Completion<ExportedWeights> completion);
  // All zero, on the CPU: to be filled by the caller.
  void create_weights(std::shared_ptr<std::atomic<bool>> cancelled, Completion<ParameterSet> completion);
  // Replaces the raw weights, the EMA, or both; the optimizer and the step count start afresh. `averaged` updates count
  // as taken in by the average.
  void import_weights(ParameterSet weights, bool raw, bool ema, int64_t averaged,
                      std::shared_ptr<std::atomic<bool>> cancelled, Completion<bool> completion);

  // A copy of the state of training, on the CPU.
  void export_state(std::shared_ptr<std::atomic<bool>> cancelled,
                    Completion<std::shared_ptr<TrainingState>> completion);
  // All zero, on the CPU: to be filled by the caller.
  void create_state(std::shared_ptr<std::atomic<bool>> cancelled,
                    Completion<std::shared_ptr<TrainingState>> completion);
  // Goes on from a state.
  void import_state(std::shared_ptr<TrainingState> state, std::shared_ptr<std::atomic<bool>> cancelled,
                    Completion<bool> completion);

  // Seconds of the network's convolutions alone: see FrozenNetwork.
  void time_convolutions(int64_t images, int64_t repeats, std::shared_ptr<std::atomic<bool>> cancelled,
                         Completion<std::vector<double>> completion);

  // Takes no more work; calls `closed` on the engine's thread when what it has taken on has ended and its memory is
  // free.
  void close(std::function<void()> closed);
  // Ends everything at the next poll.
  void stop();
  // Waits for the thread, after stop() or close().
  void join();

 private:
  // What the thread is asked to do: a piece of work, or the beginning of a training or of sampling.
  struct Task {
    std::shared_ptr<std::atomic<bool>> cancelled;
    std::function<void()> run;
    std::function<void(std::exception_ptr)> failed;  // called if run() throws or is never called
  };
  struct Training {  // under way
    std::shared_ptr<TrainRequest> request;
    TrainingRun run;
    bool checkpoint_due = false;
    std::weak_ptr<TrainingState> checkpoint;  // the last one made
  };

  void submit(Task task);
  // A task whose whole result is what `work` returns.
  template <class Result>
  void submit(std::shared_ptr<std::atomic<bool>> cancelled, Completion<Result> completion,
              std::function<Result()> work);

  void thread_main();
  void initialise();
  bool take_incoming();  // waits for something to do; false when the thread has to end
  void run_tasks();
  void begin_training(const std::shared_ptr<TrainRequest>& request);
  void train_one_step();
  void make_checkpoint();
  void serve_samples(double seconds);
  void abandon(const std::exception_ptr& reason);
  // Has stop() interrupt the work that polls this flag; null: none.
  void now_doing(std::shared_ptr<std::atomic<bool>> cancelled);

  const ParameterSet& set_of(WeightSet set) const;
  Trainer& trainer();
  std::shared_ptr<TrainingState> copy_state();
  std::shared_ptr<const FrozenNetwork> frozen(bool ema);
  void before_weights_change();

  const Config config_;
  const std::shared_ptr<const ParameterLayout> layout_;
  const GaussianDiffusion diffusion_;
  std::atomic<int64_t> step_{0};
  int64_t averaged_ = 0;  // until there is a trainer, which counts on
  std::atomic<bool> stopping_{false};

  std::mutex mutex_;  // guards what follows, up to the blank line
  std::condition_variable wake_;
  std::deque<Task> incoming_;
  std::shared_ptr<std::atomic<bool>> in_hand_;  // the flag of the work that runs at the moment
  bool closing_ = false;
  std::vector<std::function<void()>> closed_;
  bool ended_ = false;

  // Touched by the engine's thread alone.
  ParameterSet raw_;
  ParameterSet ema_;  // shares raw_'s storage until training begins
  std::unique_ptr<Trainer> trainer_;
  std::shared_ptr<FrozenNetwork> frozen_[2];  // of the raw weights and of the EMA
  std::deque<Task> tasks_;
  std::unique_ptr<Training> training_;
  std::unique_ptr<SampleBatcher> batcher_;

  std::mutex join_mutex_;
  std::thread thread_;
};

}  // namespace ddpm
