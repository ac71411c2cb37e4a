#include "inference/frozen_network.h"

#include <chrono>

namespace ddpm {
namespace {

// While it lives, the convolutions are written down.
class Recording {
 public:
  Recording(PackedConvolutions& convolutions, std::vector<PackedConvolutions::Call>& calls)
      : convolutions_(convolutions) {
    convolutions_.calls = &calls;
  }
  ~Recording() { convolutions_.calls = nullptr; }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  PackedConvolutions& convolutions_;
};

}  // namespace

std::vector<double> FrozenNetwork::time_convolutions(int64_t images, int64_t repeats) const {
  if (!convolutions_) return {};
  at::NoGradGuard no_gradients;
  std::vector<PackedConvolutions::Call> calls;
  const at::Tensor x = at::randn({images, config_.in_channels, config_.height, config_.width});
  const std::vector<int64_t> t(static_cast<size_t>(images), 0);
  const std::vector<int64_t> labels(config_.classes > 0 ? t.size() : 0, 0);
  {
    const Recording recording(*convolutions_, calls);
    (*this)(x, t, labels, {});
  }

  PackedConvolutions direct(convolutions_->type(), /*direct=*/true);
  const auto convolve = [&] {
    for (const auto& call : calls) direct(call.x, call.owner, call.part, call.weights, call.stride, call.padding);
  };
  const auto wait = [device = this->device()] {
    if (device.is_cuda()) wait_for(device);
  };
  convolve();  // packs the weights
  std::vector<double> seconds;
  for (int64_t i = 0; i < repeats; ++i) {
    wait();
    const auto start = std::chrono::steady_clock::now();
    convolve();
    wait();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return seconds;
}

}  // namespace ddpm
