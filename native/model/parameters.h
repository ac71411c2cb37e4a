#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace ddpm {

// How a parameter starts.
enum class Init {
  kFanAverage,  // U(±sqrt(6 / (fan_in + fan_out))): variance scaling of the published DDPM code, scale 1
  kZero,
  kOne,
  kNormal,  // N(0, 1), for embeddings
};

// What hands out parameters while a network is put together. A network asks for each of its parameters once, in the
// order of its layers; that order is the one of its state dict.
class ParameterSource {
 public:
  virtual ~ParameterSource() = default;
  virtual at::Tensor parameter(const std::string& name, at::IntArrayRef shape, Init init) = 0;
};

struct ParameterSpec {
  std::string name;
  std::vector<int64_t> shape;
  Init init;
  int64_t offset;  // of its first element in the flat storage
  int64_t count;   // of its elements
};

// Names, shapes and places of all parameters of one architecture. As a source it hands out undefined tensors and
// writes down what is asked for.
class ParameterLayout : public ParameterSource {
 public:
  at::Tensor parameter(const std::string& name, at::IntArrayRef shape, Init init) override;

  const std::vector<ParameterSpec>& specs() const { return specs_; }
  const ParameterSpec& spec(const std::string& name) const;  // throws ddpm::Error when there is none
  // Elements of the flat storage: gaps for alignment included, a multiple of kFlatMultiple.
  int64_t flat_size() const { return (flat_size_ + kFlatMultiple - 1) / kFlatMultiple * kFlatMultiple; }

  static constexpr int64_t kFlatMultiple = 4096;

 private:
  std::vector<ParameterSpec> specs_;
  std::unordered_map<std::string, size_t> index_;
  int64_t flat_size_ = 0;
};

// One float32 value for each parameter of a layout, in a single flat tensor: what runs over all parameters (Adam, EMA,
// norms, copies) is one pass over one array. As a source it hands out views of that tensor.
class ParameterSet : public ParameterSource {
 public:
  ParameterSet() = default;
  ParameterSet(std::shared_ptr<const ParameterLayout> layout, at::Tensor flat);
  // All zero.
  static ParameterSet zeros(std::shared_ptr<const ParameterLayout> layout, at::Device device);
  static ParameterSet zeros_like(const ParameterSet& other);
  // As each parameter's Init says, from the seed.
  static ParameterSet initial(std::shared_ptr<const ParameterLayout> layout, uint64_t seed, at::Device device);

  at::Tensor parameter(const std::string& name, at::IntArrayRef shape, Init init) override;

  bool defined() const { return flat_.defined(); }
  at::Tensor view(const ParameterSpec& spec) const;
  const at::Tensor& flat() const { return flat_; }
  const std::shared_ptr<const ParameterLayout>& layout() const { return layout_; }
  ParameterSet clone() const { return {layout_, flat_.clone()}; }
  ParameterSet copy_to(at::Device device) const {
    return {layout_, flat_.to(device, at::kFloat, /*non_blocking=*/false, /*copy=*/true)};
  }

 private:
  std::shared_ptr<const ParameterLayout> layout_;
  at::Tensor flat_;
};

}  // namespace ddpm
