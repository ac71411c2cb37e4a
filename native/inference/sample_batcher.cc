#include "inference/sample_batcher.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <iterator>

#include "device/device.h"
#include "diffusion/device_sampler.h"
#include "diffusion/pixels.h"
#include "error.h"
#include "kernels/fast_paths.h"
#include "kernels/philox.h"

namespace ddpm {
namespace {

// Different versions of the weights that are sampled from at once: each may cost a copy of them.
constexpr size_t kMostNetworks = 2;

// Whether what surrounds the network's calls is done by kernels of ours on the device too.
bool all_on(at::Device device) { return fast_paths() && device.is_cuda(); }

[[noreturn]] void refuse(int64_t image) {
  throw Error("ERR_NON_FINITE", "Image " + std::to_string(image) +
                                    " of the samples holds NaN or infinite values: the weights are damaged, or "
                                    "training diverged; go back to an earlier model or lower the learning rate");
}

}  // namespace

SampleBatcher::SampleBatcher(const GaussianDiffusion& diffusion, const UNetConfig& unet, NetworkFunction network)
    : diffusion_(diffusion), unet_(unet), network_(std::move(network)) {}

void SampleBatcher::add(std::shared_ptr<SampleRequest> request) {
  waiting_.push_back(std::move(request));
  admit();
}

void SampleBatcher::step(const std::atomic<bool>& stopping) {
  drop_cancelled();
  admit();
  if (active_.empty()) return;

  // The network after the one served last, in the order of the oldest requests.
  std::vector<const FrozenNetwork*> networks;
  for (const auto& active : active_) {
    if (std::find(networks.begin(), networks.end(), active.network.get()) == networks.end()) {
      networks.push_back(active.network.get());
    }
  }
  const auto last = std::find(networks.begin(), networks.end(), last_served_);
  const FrozenNetwork* turn =
      last == networks.end() || std::next(last) == networks.end() ? networks.front() : *std::next(last);
  last_served_ = turn;
  try {
    advance(deal_slots(turn), *turn, stopping);
    pace_.step(turn->device());
  } catch (...) {
    fail_largest(turn, std::current_exception());
    return;
  }
  settle(turn);
}

// A call fails for want of memory, as a rule, and is as large as the largest batch size makes it. Those that asked for
// that size are told; the others have not moved, and go on without them.
void SampleBatcher::fail_largest(const FrozenNetwork* network, const std::exception_ptr& reason) {
  int64_t largest = 0;
  for (const auto& active : active_) {
    if (active.network.get() == network) largest = std::max(largest, active.request->options.batch_size);
  }
  std::erase_if(active_, [&](auto& active) {
    if (active.network.get() != network || active.request->options.batch_size < largest) return false;
    active.request->failed(reason);
    return true;
  });
}

void SampleBatcher::fail_all(const std::exception_ptr& reason) {
  for (auto& active : active_) active.request->failed(reason);
  for (auto& request : waiting_) request->failed(reason);
  active_.clear();
  waiting_.clear();
}

void SampleBatcher::drop_cancelled() {
  const auto drop = [](SampleRequest& request) {
    if (!request.cancelled->load()) return false;
    request.failed(std::make_exception_ptr(Cancelled()));
    return true;
  };
  std::erase_if(waiting_, [&](auto& request) { return drop(*request); });
  std::erase_if(active_, [&](auto& active) { return drop(*active.request); });
}

void SampleBatcher::admit() {
  while (!waiting_.empty()) {
    auto request = waiting_.front();
    auto network = network_(request->options.use_ema);
    std::vector<const FrozenNetwork*> others;
    for (const auto& active : active_) {
      const FrozenNetwork* other = active.network.get();
      if (other != network.get() && std::find(others.begin(), others.end(), other) == others.end()) {
        others.push_back(other);
      }
    }
    if (others.size() >= kMostNetworks) return;
    waiting_.pop_front();
    try {
      active_.push_back(begin(request));
      active_.back().network = std::move(network);
    } catch (...) {
      request->failed(std::current_exception());
    }
  }
}

SampleBatcher::Active SampleBatcher::begin(std::shared_ptr<SampleRequest> request) {
  const auto& options = request->options;
  Active active;
  active.plan = plan_sampler(diffusion_.schedule(), options.sampler, diffusion_.config().variance_type);
  const auto elements = static_cast<size_t>(options.count * unet_.in_channels * unet_.height * unet_.width);
  if (options.as_levels) {
    active.result.levels.resize(elements);
  } else {
    active.result.values.resize(elements);
  }
  active.request = std::move(request);
  return active;
}

at::Tensor SampleBatcher::initial_noise(const SampleOptions& options, int64_t image, at::Device device) const {
  if (options.x_T.defined()) return upload(options.x_T.narrow(0, image, 1), device);
  if (all_on(device)) {
    return sampling_noise_on_device(options.seed, image, {1, unet_.in_channels, unet_.height, unet_.width}, device);
  }
  at::Tensor x_T = at::empty({1, unet_.in_channels, unet_.height, unet_.width}, at::kFloat);
  fill_normal(RandomStream(options.seed, Purpose::kSamplingNoise, static_cast<uint64_t>(image)),
              x_T.mutable_data_ptr<float>(), x_T.numel());
  return upload(x_T, device);
}

void SampleBatcher::open_lanes(Active& active) {
  const auto& options = active.request->options;
  while (static_cast<int64_t>(active.lanes.size()) < options.batch_size && active.next_image < options.count) {
    active.lanes.push_back({active.next_image, 0, initial_noise(options, active.next_image, active.network->device())});
    ++active.next_image;
  }
}

// A slot for each request in turn, oldest first, until the call is full: a long request does not hold up a short one.
std::vector<SampleBatcher::Slot> SampleBatcher::deal_slots(const FrozenNetwork* network) {
  std::vector<Active*> group;
  size_t capacity = 0;
  for (auto& active : active_) {
    if (active.network.get() != network) continue;
    open_lanes(active);
    group.push_back(&active);
    capacity = std::max(capacity, static_cast<size_t>(active.request->options.batch_size));
  }
  std::vector<Slot> slots;
  for (size_t round = 0; slots.size() < capacity; ++round) {
    const size_t before = slots.size();
    for (Active* active : group) {
      if (round < active->lanes.size() && slots.size() < capacity) slots.push_back({active, &active->lanes[round]});
    }
    if (slots.size() == before) break;
  }
  return slots;
}

void SampleBatcher::advance(const std::vector<Slot>& slots, const FrozenNetwork& network,
                            const std::atomic<bool>& stopping) {
  std::vector<at::Tensor> xs;
  std::vector<SamplerStep> steps;
  std::vector<int64_t> t, labels;
  for (const Slot& slot : slots) {
    const auto& all_labels = slot.active->request->options.labels;
    xs.push_back(slot.lane->x);
    steps.push_back(slot.active->plan[slot.lane->position]);
    t.push_back(steps.back().t);
    if (!all_labels.empty()) labels.push_back(all_labels[static_cast<size_t>(slot.lane->image)]);
  }
  at::NoGradGuard no_gradients;
  const at::Tensor x = at::cat(xs);                                                  // [B, C, H, W]
  const at::Tensor eps = network(x, t, labels, ForwardContext{nullptr, &stopping});  // [B, C, H, W]
  const bool clip = diffusion_.config().clip_sample;
  const at::Tensor prev = all_on(x.device()) ? sampler_step_on_device(steps, noise_keys(slots), x, eps, clip)
                                             : sampler_step(steps, x, eps, draw_noise(slots, steps, x), clip);
  for (size_t i = 0; i < slots.size(); ++i) {
    slots[i].lane->x = prev.narrow(0, static_cast<int64_t>(i), 1);
    ++slots[i].lane->position;
    ++slots[i].active->steps_done;
  }
}

std::vector<NoiseKey> SampleBatcher::noise_keys(const std::vector<Slot>& slots) {
  std::vector<NoiseKey> keys;
  for (const Slot& slot : slots) {
    keys.push_back({slot.active->request->options.seed, static_cast<uint32_t>(slot.lane->image),
                    static_cast<uint32_t>(slot.lane->position + 1)});
  }
  return keys;
}

at::Tensor SampleBatcher::draw_noise(const std::vector<Slot>& slots, const std::vector<SamplerStep>& steps,
                                     const at::Tensor& x) {
  const std::vector<NoiseKey> keys = noise_keys(slots);
  at::Tensor noise = at::zeros(x.sizes(), at::kFloat);
  auto* noise_data = noise.mutable_data_ptr<float>();
  const int64_t elements = noise.numel() / noise.size(0);
  at::parallel_for(0, static_cast<int64_t>(slots.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (steps[static_cast<size_t>(i)].sigma == 0) continue;
      const NoiseKey& key = keys[static_cast<size_t>(i)];
      fill_normal(RandomStream(key.seed, Purpose::kSamplingNoise, key.image, key.position), noise_data + i * elements,
                  elements);
    }
  });
  return upload(noise, x.device());
}

void SampleBatcher::finish(Active& active, const std::vector<Lane>& lanes) const {
  if (lanes.empty()) return;
  std::vector<at::Tensor> xs;
  for (const Lane& lane : lanes) xs.push_back(lane.x);
  const at::Tensor images = at::cat(xs);  // of all, for the one copy from a device
  const int64_t elements = images.numel() / images.size(0);
  if (all_on(images.device()) && active.request->options.as_levels) {
    const auto [levels, finite] = levels_from_device(images);
    for (size_t i = 0; i < lanes.size(); ++i) {
      if (finite.const_data_ptr<uint8_t>()[i] == 0) refuse(lanes[i].image);
      std::copy_n(levels.const_data_ptr<uint8_t>() + static_cast<int64_t>(i) * elements, elements,
                  active.result.levels.data() + lanes[i].image * elements);
    }
    return;
  }
  const at::Tensor here = images.to(at::kCPU);
  for (size_t i = 0; i < lanes.size(); ++i) finish(active, lanes[i].image, here[static_cast<int64_t>(i)]);
}

void SampleBatcher::finish(Active& active, int64_t index, const at::Tensor& image) const {
  if (!at::isfinite(image).all().item<bool>()) refuse(index);
  const auto* values = image.const_data_ptr<float>();
  const int64_t elements = image.numel();
  if (active.request->options.as_levels) {
    image_to_levels(values, unet_.height, unet_.width, unet_.in_channels,
                    active.result.levels.data() + index * elements);
  } else {
    std::copy_n(values, elements, active.result.values.data() + index * elements);
  }
}

// Takes finished images out, tells progress, and completes the requests that have all of theirs.
void SampleBatcher::settle(const FrozenNetwork* network) {
  std::erase_if(active_, [&](Active& active) {
    if (active.network.get() != network) return false;
    try {
      std::vector<Lane> ended;
      std::erase_if(active.lanes, [&](const Lane& lane) {
        if (lane.position < active.plan.size()) return false;
        ended.push_back(lane);
        return true;
      });
      finish(active, ended);
      active.finished += static_cast<int64_t>(ended.size());
    } catch (...) {
      active.request->failed(std::current_exception());
      return true;
    }
    if (active.request->progress) {
      active.request->progress(active.steps_done,
                               active.request->options.count * static_cast<int64_t>(active.plan.size()));
    }
    if (active.finished < active.request->options.count) return false;
    active.request->done(std::move(active.result));
    return true;
  });
}

}  // namespace ddpm
