#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "error.h"
#include "training/trainer.h"

namespace ddpm {

// ERR_NON_FINITE of training: which update could not be made, and why.
class NonFiniteError : public Error {
 public:
  struct Update {
    int64_t step = 0;  // that it would have led to
    NonFinite what = NonFinite::kLoss;
    std::vector<int64_t> timesteps;  // one an image
    std::vector<int64_t> culprits;   // places in the update of the images that are not finite on their own
    std::vector<int64_t> indices;    // of the images in their data set; empty where they are of none
  };

  // An update that a caller asked for by itself.
  static NonFiniteError of_step(const Update& update);
  // The last of `times` updates in a row.
  static NonFiniteError of_training(const Update& update, int64_t times);

  // Index in the data set of the one image that is at fault, where there is one.
  std::optional<int64_t> image() const { return image_; }

 private:
  NonFiniteError(const std::string& message, const Update& update);

  std::optional<int64_t> image_;
};

// Finds out what can be told of the update that `trainer` has just skipped. Takes up to a pass for each of its images.
NonFiniteError::Update explain(Trainer& trainer, NonFinite what, int64_t images, const Trainer::BatchFunction& batch,
                               const std::atomic<bool>& cancelled);

}  // namespace ddpm
