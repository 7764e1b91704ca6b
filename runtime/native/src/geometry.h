// Boxes and target states, as spcnet.runtime.geometry: pixels, 0-based, the centre of pixel (i, j) is the point (i, j).
#pragma once

#include "model.h"
#include "spcnet.h"

namespace spc {

// Centre, width and height of the target.
struct State {
    double cx, cy, w, h;
};

struct FrameSize {
    int width, height;
};

// A displacement: the sub-scale exponent, and points of the response at the nearest searched scale.
struct Shift {
    double scale, row, column;
};

// The zero error of a search: how far off its answer is on the very frame that was learnt. The centre in sides of the
// answer, and the logarithms of the factors of width and height.
struct Offset {
    double x, y, w, h;
};

State from_box(const spcnet_box& box);
spcnet_box to_box(const State& state);

inline double clamped(double x, double low, double high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}

// Cut a box to the frame. false, and a sentence in why (of SPCNET_MESSAGE bytes), where it cannot be tracked.
bool check_box(spcnet_box& box, FrameSize frame, char* why);

// The state after a measured shift.
State move(const State& state, const State& first, const Shift& shift, FrameSize frame, const Config& config);

// The state at (x, y) whose sides are factors times those of the first state, within the limits.
State limited(
    double x, double y, double wider, double higher, const State& first, FrameSize frame, const Config& config);

Offset offset_between(const State& learnt, const State& found);

// The state that was found less a share of the offset.
State without_offset(
    const State& found, const Offset& offset, double share, const State& first, FrameSize frame, const Config& config);

} // namespace spc
