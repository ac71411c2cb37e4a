#pragma once

#include <ATen/ATen.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <vector>

#include "device/device.h"
#include "diffusion/device_sampler.h"
#include "diffusion/gaussian_diffusion.h"
#include "diffusion/samplers.h"
#include "inference/frozen_network.h"

namespace ddpm {

struct SampleOptions {
  int64_t count = 0;
  SamplerConfig sampler;
  uint64_t seed = 0;
  int64_t batch_size = 0;       // the most images of this request in the network at once
  bool use_ema = true;          // sample from the EMA, else from the raw weights
  at::Tensor x_T;               // [count, C, H, W]; undefined: drawn from the seed
  std::vector<int64_t> labels;  // one an image, or empty
  bool as_levels = true;
};

struct SampleResult {
  std::vector<uint8_t> levels;  // [count, H, W, C]
  std::vector<float> values;    // or [count, C, H, W]
};

// One call of sample(): what is asked for and whom to tell. The functions are called on the batcher's thread.
struct SampleRequest {
  SampleOptions options;
  std::shared_ptr<std::atomic<bool>> cancelled;
  std::function<void(SampleResult)> done;
  std::function<void(std::exception_ptr)> failed;
  // Denoising steps finished and in all, counted over all images; may be empty.
  std::function<void(int64_t step, int64_t total)> progress;
};

// Serves many sampling requests at once: each image goes its own way from x_T to x_0, and every network call takes
// along images of all requests that sample from the same weights, wherever on their way they are. An image depends on
// the request's seed and its own index alone.
class SampleBatcher {
 public:
  // Gives the network of the EMA or the raw weights as they are now.
  using NetworkFunction = std::function<std::shared_ptr<const FrozenNetwork>(bool ema)>;

  SampleBatcher(const GaussianDiffusion& diffusion, const UNetConfig& unet, NetworkFunction network);

  // Begins it, with the weights as they are now, unless too many versions of the weights are in use.
  void add(std::shared_ptr<SampleRequest> request);
  bool idle() const { return waiting_.empty() && active_.empty(); }

  // One network call for those whose turn it is. A failure is told to the requests that it concerns.
  void step(const std::atomic<bool>& stopping);
  // Fails everything.
  void fail_all(const std::exception_ptr& reason);

 private:
  struct Lane {  // an image on its way
    int64_t image;
    size_t position = 0;  // in the plan
    at::Tensor x;         // [1, C, H, W]
  };
  struct Active {
    std::shared_ptr<SampleRequest> request;
    std::shared_ptr<const FrozenNetwork> network;
    std::vector<SamplerStep> plan;
    SampleResult result;
    int64_t next_image = 0;
    int64_t finished = 0;
    int64_t steps_done = 0;
    std::deque<Lane> lanes;
  };
  struct Slot {
    Active* active;
    Lane* lane;
  };

  void drop_cancelled();
  void admit();
  Active begin(std::shared_ptr<SampleRequest> request);
  void open_lanes(Active& active);
  at::Tensor initial_noise(const SampleOptions& options, int64_t image, at::Device device) const;
  std::vector<Slot> deal_slots(const FrozenNetwork* network);
  void advance(const std::vector<Slot>& slots, const FrozenNetwork& network, const std::atomic<bool>& stopping);
  static std::vector<NoiseKey> noise_keys(const std::vector<Slot>& slots);
  static at::Tensor draw_noise(const std::vector<Slot>& slots, const std::vector<SamplerStep>& steps,
                               const at::Tensor& x);
  // Puts clean images into the result.
  void finish(Active& active, const std::vector<Lane>& lanes) const;
  void finish(Active& active, int64_t index, const at::Tensor& image) const;  // [C, H, W] on the CPU, contiguous
  void settle(const FrozenNetwork* network);
  void fail_largest(const FrozenNetwork* network, const std::exception_ptr& reason);

  const GaussianDiffusion& diffusion_;
  UNetConfig unet_;
  NetworkFunction network_;
  std::deque<std::shared_ptr<SampleRequest>> waiting_;
  std::deque<Active> active_;                   // oldest first
  const FrozenNetwork* last_served_ = nullptr;  // networks take turns
  DevicePace pace_;
};

}  // namespace ddpm
