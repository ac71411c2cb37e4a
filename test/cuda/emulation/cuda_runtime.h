#pragma once

// As much of CUDA as our kernels use, on the CPU: a block's threads are fibers that run one after another, each until
// it comes to a barrier. So a barrier that is missing, an index that is wrong and a lane that is left out show without
// a card. EMULATION_ORDER=reverse runs the threads from the last to the first: what depends on their order differs.
#include <math.h>
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#define __global__
#define __device__
#define __host__
// One block runs at a time.
#define __shared__ static

using std::max;
using std::min;

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

struct CUstream_st;
using cudaStream_t = CUstream_st*;
enum cudaError_t { cudaSuccess };
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return ""; }

namespace emulation {

constexpr unsigned kLanes = 32;

enum class State { kRuns, kAtWarpBarrier, kAtBlockBarrier, kEnded };

// A context is entered once by ucontext, which calls the system; from then on by jumps, which do not.
struct Fiber {
  ucontext_t begin{};
  jmp_buf at{};
  std::vector<char> stack = std::vector<char>(64 << 10);
  State state = State::kEnded;
  bool begun = false;
  dim3 thread;
  uint64_t slot = 0;  // what a shuffle hands over
};

struct Machine {
  std::vector<Fiber> fibers = std::vector<Fiber>(1024);
  jmp_buf scheduler{};
  std::function<void()> work;
  size_t current = 0, alive = 0;
  dim3 grid, block, block_index;
};
inline Machine machine;

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "emulation: %s\n", what);
  std::exit(3);
}

inline Fiber& here() { return machine.fibers[machine.current]; }

inline void wait_at(State barrier) {
  here().state = barrier;
  if (_setjmp(here().at) == 0) _longjmp(machine.scheduler, 1);
}

inline void run_fiber() {
  for (;;) {  // once for each block
    machine.work();
    wait_at(State::kEnded);
  }
}

// Until it comes to a barrier, or to its end.
inline void resume(Fiber& fiber) {
  if (_setjmp(machine.scheduler) != 0) return;
  if (fiber.begun) _longjmp(fiber.at, 1);
  fiber.begun = true;
  setcontext(&fiber.begin);
}

// Fibers [begin, end) go on where all of them that have not ended are at the barrier. Those of a warp that have ended
// would be waited for in vain on a card.
inline bool release(size_t begin, size_t end, State barrier) {
  bool any = false, ended = false;
  for (size_t i = begin; i < end; ++i) {
    const State state = machine.fibers[i].state;
    ended |= state == State::kEnded;
    if (state != State::kEnded && state != barrier) return false;
    any |= state == barrier;
  }
  if (any && ended && barrier == State::kAtWarpBarrier) fail("lanes of a warp have ended that others wait for");
  for (size_t i = begin; i < end; ++i) {
    if (machine.fibers[i].state == barrier) machine.fibers[i].state = State::kRuns;
  }
  return any;
}

inline void run_block() {
  const size_t threads = size_t{machine.block.x} * machine.block.y;
  if (threads > machine.fibers.size()) fail("too many threads in a block");
  for (size_t i = 0; i < threads; ++i) {
    Fiber& fiber = machine.fibers[i];
    if (!fiber.begun) {
      getcontext(&fiber.begin);
      fiber.begin.uc_stack.ss_sp = fiber.stack.data();
      fiber.begin.uc_stack.ss_size = fiber.stack.size();
      makecontext(&fiber.begin, run_fiber, 0);
    }
    fiber.state = State::kRuns;
    fiber.thread = {static_cast<unsigned>(i) % machine.block.x, static_cast<unsigned>(i) / machine.block.x};
  }
  static const char* order = std::getenv("EMULATION_ORDER");
  static const bool reverse = order != nullptr && std::strcmp(order, "reverse") == 0;
  for (;;) {
    bool ran = false, ended = true;
    for (size_t i = 0; i < threads; ++i) {
      machine.current = reverse ? threads - 1 - i : i;
      if (here().state == State::kRuns) {
        resume(here());
        ran = true;
      }
    }
    bool released = false;
    for (size_t i = 0; i < threads; i += kLanes) {
      released |= release(i, std::min(i + kLanes, threads), State::kAtWarpBarrier);
    }
    released |= !released && release(0, threads, State::kAtBlockBarrier);
    for (size_t i = 0; i < threads; ++i) ended &= machine.fibers[i].state == State::kEnded;
    if (ended) return;
    if (!ran && !released) fail("threads wait at different barriers");
  }
}

struct Launcher {
  dim3 grid, block;

  template <class Kernel, class... Args>
  void run(Kernel kernel, Args... args) const {
    machine.grid = grid;
    machine.block = block;
    machine.work = [&] { kernel(args...); };
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        machine.block_index = {x, y};
        run_block();
      }
    }
  }
};
inline Launcher launcher(dim3 grid, dim3 block, size_t, cudaStream_t) { return {grid, block}; }

}  // namespace emulation

#define threadIdx (::emulation::here().thread)
#define blockIdx (::emulation::machine.block_index)
#define blockDim (::emulation::machine.block)
#define gridDim (::emulation::machine.grid)

inline void __syncthreads() { ::emulation::wait_at(::emulation::State::kAtBlockBarrier); }
inline void __syncwarp() { ::emulation::wait_at(::emulation::State::kAtWarpBarrier); }

template <class T>
T __shfl_xor_sync(unsigned, T value, int distance) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  std::memcpy(&::emulation::here().slot, &value, sizeof(T));
  __syncwarp();
  T got;
  std::memcpy(&got, &::emulation::machine.fibers[::emulation::machine.current ^ static_cast<size_t>(distance)].slot,
              sizeof(T));
  __syncwarp();
  return got;
}

inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float a, float b) { return a / b; }
