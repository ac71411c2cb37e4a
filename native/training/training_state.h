#pragma once

#include <cstdint>

#include "model/parameters.h"

namespace ddpm {

// What training has done since its last report, and how long it has gone without a good update. Kept with the state of
// training, so that a run that is stopped and taken up reports and gives up as one that was not.
struct Tally {
  int64_t finite = 0;  // updates since the last report with a finite loss
  double loss = 0;     // summed over them
  int64_t skipped_in_a_row = 0;
};

struct TrainingCounters {
  int64_t step = 0;         // updates, the skipped ones included
  int64_t updates = 0;      // of the weights: all but the skipped ones
  int64_t averaged = 0;     // by the moving average: those before its weights were loaded, too
  int64_t images_seen = 0;  // by all updates together: the position in the data order
  Tally tally{};
};

// All that one update leaves to the next. Random numbers are no part of it: they are functions of the seed, the step
// and the image (kernels/philox.h), and the learning rate and the decay of the average are functions of the counts.
struct TrainingState {
  ParameterSet raw;
  ParameterSet ema;
  ParameterSet exp_avg;     // Adam's first moment
  ParameterSet exp_avg_sq;  // Adam's second moment
  TrainingCounters counters;
};

}  // namespace ddpm
