// Boxes and target states, as spcnet.runtime.geometry: pixels, 0-based, the centre of pixel (i, j) is the point (i, j).
#pragma once

#include "model.h"
#include "rules.h"
#include "spcnet.h"

namespace spc {

using State = device::Box; // centre, width and height of the target
using device::clamped;
using device::Shift;

struct FrameSize {
    int width, height;
};

// The zero error of a search: how far off its answer is on the very frame that was learnt. The centre in sides of the
// answer, and the logarithms of the factors of width and height.
struct Offset {
    double x, y, w, h;
};

State from_box(const spcnet_box& box);
spcnet_box to_box(const State& state);

// Cut a box to the frame. false, and a sentence in why (of SPCNET_MESSAGE bytes), where it cannot be tracked.
bool check_box(spcnet_box& box, FrameSize frame, char* why);

Offset offset_between(const State& learnt, const State& found);

// The record of a target that begins at a state.
device::Target begun(const State& state, const Offset& offset);

// The constants of a search. interval is that of learning, 0 to locate only.
device::Search search_record(const Config& config, int interval);

} // namespace spc
