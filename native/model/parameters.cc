#include "model/parameters.h"

#include <ATen/Parallel.h>

#include <cmath>

#include "error.h"
#include "kernels/philox.h"

namespace ddpm {
namespace {

constexpr int64_t kAlignment = 16;  // elements: every parameter starts on a cache line

// Elements that one input (fan_in) or output (fan_out) channel of a dense or convolution weight [out, in, ...] touches.
double fan_average(const std::vector<int64_t>& shape) {
  double receptive_field = 1;
  for (size_t i = 2; i < shape.size(); ++i) receptive_field *= static_cast<double>(shape[i]);
  return receptive_field * static_cast<double>(shape[0] + shape[1]) / 2;
}

void initialise(const ParameterSpec& spec, const RandomStream& stream, float* out) {
  switch (spec.init) {
    case Init::kZero:
      break;  // the storage starts at zero
    case Init::kOne:
      std::fill_n(out, spec.count, 1.0f);
      break;
    case Init::kNormal:
      fill_normal(stream, out, spec.count);
      break;
    case Init::kFanAverage: {
      const auto limit = static_cast<float>(std::sqrt(3.0 / fan_average(spec.shape)));
      fill_uniform(stream, out, spec.count, -limit, limit);
      break;
    }
  }
}

}  // namespace

at::Tensor ParameterLayout::parameter(const std::string& name, at::IntArrayRef shape, Init init) {
  const int64_t count = c10::multiply_integers(shape);
  index_.emplace(name, specs_.size());
  specs_.push_back({name, shape.vec(), init, flat_size_, count});
  flat_size_ += (count + kAlignment - 1) / kAlignment * kAlignment;
  return {};
}

const ParameterSpec& ParameterLayout::spec(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) throw Error("ERR_NATIVE", "The network has no parameter named '" + name + "'");
  return specs_[found->second];
}

ParameterSet::ParameterSet(std::shared_ptr<const ParameterLayout> layout, at::Tensor flat)
    : layout_(std::move(layout)), flat_(std::move(flat)) {}

ParameterSet ParameterSet::zeros(std::shared_ptr<const ParameterLayout> layout, at::Device device) {
  at::Tensor flat = at::zeros({layout->flat_size()}, at::device(device).dtype(at::kFloat));
  return {std::move(layout), std::move(flat)};
}

ParameterSet ParameterSet::zeros_like(const ParameterSet& other) { return zeros(other.layout_, other.flat_.device()); }

ParameterSet ParameterSet::initial(std::shared_ptr<const ParameterLayout> layout, uint64_t seed, at::Device device) {
  at::Tensor flat = at::zeros({layout->flat_size()}, at::kFloat);
  auto* data = flat.mutable_data_ptr<float>();
  const auto& specs = layout->specs();
  at::parallel_for(0, static_cast<int64_t>(specs.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto& spec = specs[static_cast<size_t>(i)];
      initialise(spec, RandomStream(seed, Purpose::kInitialWeights, static_cast<uint64_t>(i)), data + spec.offset);
    }
  });
  return {std::move(layout), flat.to(device)};
}

at::Tensor ParameterSet::parameter(const std::string& name, at::IntArrayRef, Init) { return view(layout_->spec(name)); }

at::Tensor ParameterSet::view(const ParameterSpec& spec) const {
  return flat_.narrow(0, spec.offset, spec.count).view(spec.shape);
}

}  // namespace ddpm
