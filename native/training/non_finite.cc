#include "training/non_finite.h"

#include <sstream>

namespace ddpm {
namespace {

// The most timesteps that an error lists.
constexpr size_t kMostListed = 16;

const char* name_of(NonFinite what) {
  switch (what) {
    case NonFinite::kGradient:
      return "gradient";
    case NonFinite::kUpdate:
      return "update of the weights";
    default:
      return "loss";
  }
}

std::ostream& operator<<(std::ostream& out, const std::vector<int64_t>& timesteps) {
  for (size_t i = 0; i < timesteps.size() && i < kMostListed; ++i) out << (i > 0 ? ", " : "") << timesteps[i];
  return timesteps.size() > kMostListed ? out << ", …" : out;
}

// A sentence on whose fault it is, where it is that of some images and not of others.
void blame(std::ostream& out, const NonFiniteError::Update& update) {
  const size_t images = update.timesteps.size(), culprits = update.culprits.size();
  if (culprits == 0 || (culprits == images && images > 1)) return;
  if (culprits > 1) {
    out << ' ' << culprits << " of its " << images << " images cause it.";
    return;
  }
  const auto place = static_cast<size_t>(update.culprits.front());
  if (update.indices.empty()) {
    out << " Image " << place << " of the " << images << " given";
  } else {
    out << " Image " << update.indices[place] << " of the data set";
  }
  out << " causes it, at timestep " << update.timesteps[place] << '.';
}

const char* advice(const NonFiniteError::Update& update) {
  return update.culprits.size() == 1 && update.timesteps.size() > 1
             ? "look at that image, or lower optimizer.learningRate"
             : "lower optimizer.learningRate, or look at the data";
}

}  // namespace

NonFiniteError::NonFiniteError(const std::string& message, const Update& update) : Error("ERR_NON_FINITE", message) {
  if (update.culprits.size() == 1 && !update.indices.empty()) {
    image_ = update.indices[static_cast<size_t>(update.culprits.front())];
  }
}

NonFiniteError NonFiniteError::of_step(const Update& update) {
  std::ostringstream message;
  message << "trainStep: the " << name_of(update.what) << " of step " << update.step << " is not finite (timesteps "
          << update.timesteps << ").";
  blame(message, update);
  message << " The weights were left as they were; " << advice(update);
  return {message.str(), update};
}

NonFiniteError NonFiniteError::of_training(const Update& update, int64_t times) {
  std::ostringstream message;
  message << "Training stopped at step " << update.step;
  if (times > 1) message << ", after " << times << " updates in a row that were not finite";
  message << ": the " << name_of(update.what) << " was not finite (timesteps " << update.timesteps << ").";
  blame(message, update);
  message << " The weights are those of the last good step; " << advice(update);
  return {message.str(), update};
}

NonFiniteError::Update explain(Trainer& trainer, NonFinite what, int64_t images, const Trainer::BatchFunction& batch,
                               const std::atomic<bool>& cancelled) {
  NonFiniteError::Update update;
  update.step = trainer.step();
  update.what = what;
  const auto remember = [&](int64_t first, int64_t count) {
    Batch drawn = batch(first, count);
    update.timesteps.insert(update.timesteps.end(), drawn.t.begin(), drawn.t.end());
    update.indices.insert(update.indices.end(), drawn.indices.begin(), drawn.indices.end());
    return drawn;
  };
  update.culprits = trainer.non_finite_images(images, remember, cancelled);
  return update;
}

}  // namespace ddpm
