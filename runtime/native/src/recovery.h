// The recovery rule, as spcnet.runtime.recovery: the status of a peak, and where to search next.
#pragma once

#include "geometry.h"

namespace spc {

// The state of a target between two frames.
struct TargetState {
    State seen; // where it was last found; with recovery on, a miss does not move it
    int misses; // frames in a row with a score that is too low
    double weak_x, weak_y; // the peak of the first miss

    // Where to search the next frame.
    State search_state(FrameSize frame, const Config& config) const;

    // Go on after a peak of this score at found, which becomes the state to report.
    spcnet_status advance(State& found, double score, const Config& config);
};

bool may_learn(spcnet_status status, const Config& config);

} // namespace spc
