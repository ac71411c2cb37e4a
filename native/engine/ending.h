#pragma once

namespace ddpm {

// exit() takes away LibTorch's globals, also from under running threads. Node calls it at the end of a process, and the
// OpenMP runtime where it cannot have a thread. The first thing that it does, before any global goes, is to destroy the
// thread-local objects of the thread that called it: by these a thread learns of it, whatever JavaScript has done with
// its own ways of telling. (On Windows the system ends all other threads before the globals go.)

// For a thread of JavaScript: from now on, exit() on this thread calls `end_all` first. On another thread than the
// process's main one, it then ends the process at once: the main thread would go on running.
void end_all_at_exit(void (*end_all)());

// This thread of JavaScript has nothing more to do with us: it may end without ending the process.
void leave_thread();

// For a thread of ours, as long as it lives: exit() on this thread ends the process at once, for nobody can wait for
// the thread any more.
class ThreadOfOurs {
 public:
  ThreadOfOurs();
  ~ThreadOfOurs();
  ThreadOfOurs(const ThreadOfOurs&) = delete;
  ThreadOfOurs& operator=(const ThreadOfOurs&) = delete;
};

}  // namespace ddpm
