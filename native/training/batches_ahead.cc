#include "training/batches_ahead.h"

#include <system_error>

namespace ddpm {

BatchesAhead::~BatchesAhead() {
  if (ahead_.valid()) ahead_.wait();
}

Batch BatchesAhead::take(const BatchSource::Place& place) {
  if (ahead_.valid()) {
    const bool is_it = expected_ == place;
    ahead_.wait();
    std::future<Batch> made = std::move(ahead_);
    if (is_it) return made.get();
  }
  return source_.batch(place);
}

void BatchesAhead::expect(const BatchSource::Place& place) {
  if (ahead_.valid() && expected_ == place) return;
  if (ahead_.valid()) ahead_.wait();
  expected_ = place;
  // The cores are the step's; one thread has time enough.
  try {
    ahead_ = std::async(std::launch::async, [this, place] { return source_.batch(place, /*parallel=*/false); });
  } catch (const std::system_error&) {  // there is no thread to be had: the batch is made when it is asked for
  }
}

}  // namespace ddpm
