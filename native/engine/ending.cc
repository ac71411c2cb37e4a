#include "engine/ending.h"

#include <cstdlib>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <pthread.h>
#endif

namespace ddpm {
namespace {

bool is_main_thread() {
#if defined(__linux__)
  return syscall(SYS_gettid) == getpid();
#elif defined(__APPLE__)
  return pthread_main_np() != 0;
#else
  return true;
#endif
}

struct AtExit {
  void (*end_all)() = nullptr;  // of a thread of JavaScript
  bool ours = false;

  ~AtExit() {
#if !defined(_WIN32)
    if (end_all != nullptr) end_all();
    // The status that exit() was given is not told here; the OpenMP runtime's is this one.
    if (ours || (end_all != nullptr && !is_main_thread())) std::_Exit(EXIT_FAILURE);
#endif
  }
};
thread_local AtExit at_exit;

}  // namespace

void end_all_at_exit(void (*end_all)()) { at_exit.end_all = end_all; }

void leave_thread() { at_exit.end_all = nullptr; }

ThreadOfOurs::ThreadOfOurs() { at_exit.ours = true; }

ThreadOfOurs::~ThreadOfOurs() { at_exit.ours = false; }

}  // namespace ddpm
