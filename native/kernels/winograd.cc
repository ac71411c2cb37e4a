#include "kernels/winograd.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "kernels/cpu/winograd_kernels.h"
#include "kernels/tensors.h"

namespace ddpm {
namespace {

// Below this the maps have too few tiles for the weights to pay: in bfloat16 they are kept, and larger.
constexpr int64_t fewest_pixels(at::ScalarType type) { return type == at::kBFloat16 ? 64 : 16; }
// Of transformed pixels that a thread works on at a time: they stay in its second-level cache beside the weights that
// pass through.
constexpr int64_t kPixelBytes = 256 * 1024;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Parts of [0, size), as many as `parts` at most, in whole multiples of `unit`.
class Parts {
 public:
  Parts(int64_t size, int64_t unit, int64_t parts)
      : size_(size), length_(divide_up(divide_up(size, unit), std::max<int64_t>(parts, 1)) * unit) {}
  int64_t count() const { return divide_up(size_, length_); }
  int64_t begin(int64_t i) const { return i * length_; }
  int64_t end(int64_t i) const { return std::min(size_, (i + 1) * length_); }

 private:
  int64_t size_, length_;
};

template <class T>
void run(const cpu::WinogradConvolution<T>& convolution, int64_t images) {
  const cpu::WinogradKernels<T>& kernels = *cpu::winograd_kernels(T{});
  const int64_t tiles = images * ((convolution.height + 1) / 2) * ((convolution.width + 1) / 2);
  const int64_t threads = at::get_num_threads();
  const int64_t bytes = cpu::kWinogradPositions * convolution.in * static_cast<int64_t>(sizeof(T));
  const int64_t most = std::max<int64_t>(kPixelBytes / bytes, kernels.rows);
  // As many pieces for every thread, of the tiles or, where those are few, of the outputs too.
  const Parts pieces(tiles, kernels.rows, divide_up(divide_up(tiles, most), threads) * threads);
  const Parts outputs(convolution.out, kernels.block, threads / pieces.count());
  at::parallel_for(0, pieces.count() * outputs.count(), 1, [&](int64_t begin, int64_t end) {
    const at::Tensor scratch =
        at::empty({kernels.scratch_bytes(pieces.end(0) - pieces.begin(0), convolution.in)}, at::kByte);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t piece = i / outputs.count(), output = i % outputs.count();
      kernels.convolve(convolution, pieces.begin(piece), pieces.end(piece) - pieces.begin(piece), outputs.begin(output),
                       outputs.end(output), scratch.mutable_data_ptr());
    }
  });
}

}  // namespace

bool winograd_fits(const at::Tensor& weight, int64_t stride, int64_t padding, int64_t height, int64_t width,
                   at::ScalarType type) {
  const bool kernels = type == at::kBFloat16 ? cpu::winograd_kernels(uint16_t{}) != nullptr
                                             : type == at::kFloat && cpu::winograd_kernels(float{}) != nullptr;
  const auto whole = [&](int64_t side) { return weight.size(side) % cpu::kWinogradChannels == 0; };
  return kernels && weight.is_cpu() && weight.size(2) == 3 && weight.size(3) == 3 && stride == 1 && padding == 1 &&
         whole(0) && whole(1) && height * width >= fewest_pixels(type);
}

at::Tensor winograd_weights(const at::Tensor& weight, at::ScalarType type, bool transposed) {
  // Each of a kernel's nine weights behind the other.
  const bool usual = weight.scalar_type() == at::kFloat && weight.stride(3) == 1 && weight.stride(2) == 3;
  const at::Tensor from = usual ? weight : weight.to(at::kFloat).contiguous();
  const int64_t out = from.size(transposed ? 1 : 0), in = from.size(transposed ? 0 : 1);
  const int64_t out_pitch = from.stride(transposed ? 1 : 0), in_pitch = from.stride(transposed ? 0 : 1);
  at::Tensor packed = at::empty({cpu::kWinogradPositions, out, in}, at::device(at::kCPU).dtype(type));
  with_type(type, [&](auto number) {
    using T = decltype(number);
    const cpu::WinogradKernels<T>& kernels = *cpu::winograd_kernels(number);
    const Parts blocks(out, kernels.block, divide_up(out, kernels.block));
    at::parallel_for(0, blocks.count(), 1, [&](int64_t begin, int64_t end) {
      kernels.pack(from.const_data_ptr<float>(), out_pitch, in_pitch, transposed, in, out, blocks.begin(begin),
                   blocks.end(end - 1), static_cast<T*>(packed.mutable_data_ptr()));
    });
  });
  return packed;
}

at::Tensor winograd_convolution(const at::Tensor& x, const at::Tensor& weights, const at::Tensor& bias,
                                const at::Tensor& added) {
  const int64_t out = weights.size(1);
  const at::Tensor map = channels_last(x);
  const at::Tensor plus = added.defined() ? channels_last(added.to(x.scalar_type())) : added;
  const at::Tensor shift = bias.defined() ? bias.to(at::kFloat).contiguous() : bias;
  at::Tensor y = at::empty({x.size(0), out, x.size(2), x.size(3)}, map.options(), at::MemoryFormat::ChannelsLast);
  with_type(x.scalar_type(), [&](auto number) {
    using T = decltype(number);
    run<T>({.height = x.size(2),
            .width = x.size(3),
            .in = x.size(1),
            .out = out,
            .x = static_cast<const T*>(map.const_data_ptr()),
            .weights = static_cast<const T*>(weights.const_data_ptr()),
            .bias = shift.defined() ? shift.const_data_ptr<float>() : nullptr,
            .added = plus.defined() ? static_cast<const T*>(plus.const_data_ptr()) : nullptr,
            .y = static_cast<T*>(y.mutable_data_ptr())},
           x.size(0));
  });
  return y;
}

}  // namespace ddpm
