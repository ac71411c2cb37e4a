#pragma once

#include <future>
#include <utility>

#include "training/batch.h"

namespace ddpm {

// Hands out batches, and has another thread put together the one that is expected next while the last is computed on.
// What it hands out does not depend on whether it had expected it.
class BatchesAhead {
 public:
  explicit BatchesAhead(BatchSource source) : source_(std::move(source)) {}
  BatchesAhead(const BatchesAhead&) = delete;
  BatchesAhead& operator=(const BatchesAhead&) = delete;
  ~BatchesAhead();

  // The batch at `place`.
  Batch take(const BatchSource::Place& place);
  // Begins on the batch at `place`, unless that is under way.
  void expect(const BatchSource::Place& place);

 private:
  BatchSource source_;  // of the other thread for as long as ahead_ is valid
  BatchSource::Place expected_{};
  std::future<Batch> ahead_;
};

}  // namespace ddpm
