#include "binding/addon_data.h"

#include <algorithm>
#include <utility>

#include "engine/ending.h"

namespace ddpm {
namespace {

// A thread may hold several: one for each time that it loaded the addon.
thread_local int of_this_thread = 0;

}  // namespace

AddonData::AddonData(Napi::Env env) : js_thread_(std::make_shared<JsThread>(env)) {
  // The last thing, since nothing undoes it if the constructor throws (as it does in a worker that is being
  // terminated). After the thread-safe function: hooks run last first, and the engines have to end before their way
  // back closes.
  napi_add_env_cleanup_hook(env, clean_up, this);
  ++of_this_thread;
}

// The environment is going away (a worker ends, or the process comes to its natural end): end all work, then let go of
// all JS values. process.exit() and an uncaught exception do not come by here on the main thread: see engine/ending.h.
void AddonData::clean_up(void* data) {
  auto& self = *static_cast<AddonData*>(data);
  self.end_engines();
  if (--of_this_thread == 0) leave_thread();
  self.js_thread_->close();
  self.pending_.clear();
  self.weights_class.Reset();
  self.training_state_class.Reset();
}

void AddonData::end_engines() {
  std::vector<std::shared_ptr<Engine>> engines;
  for (const auto& watched : engines_) {
    if (auto engine = watched.lock()) engines.push_back(std::move(engine));
  }
  for (const auto& engine : engines) engine->stop();
  for (const auto& engine : engines) engine->join();
}

void AddonData::watch(const std::shared_ptr<Engine>& engine) {
  std::erase_if(engines_, [](const auto& watched) { return watched.expired(); });
  engines_.push_back(engine);
}

uint64_t AddonData::add(Napi::Env env, PendingOperation operation) {
  if (pending_.empty()) js_thread_->keep_process_alive(env, true);
  pending_.emplace(next_id_, std::move(operation));
  return next_id_++;
}

PendingOperation* AddonData::find(uint64_t id) {
  const auto found = pending_.find(id);
  return found == pending_.end() ? nullptr : &found->second;
}

PendingOperation AddonData::take(Napi::Env env, uint64_t id) {
  auto node = pending_.extract(id);
  if (pending_.empty()) js_thread_->keep_process_alive(env, false);
  return std::move(node.mapped());
}

}  // namespace ddpm
