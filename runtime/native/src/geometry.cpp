#include "geometry.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "constants.h"

namespace spc {

State from_box(const spcnet_box& box) {
    return {box.x + (box.w - 1) / 2, box.y + (box.h - 1) / 2, box.w, box.h};
}

spcnet_box to_box(const State& state) {
    return {state.cx - (state.w - 1) / 2, state.cy - (state.h - 1) / 2, state.w, state.h};
}

bool check_box(spcnet_box& box, FrameSize frame, char* why) {
    if (!std::isfinite(box.x) || !std::isfinite(box.y) || !std::isfinite(box.w) || !std::isfinite(box.h)) {
        std::snprintf(
            why, SPCNET_MESSAGE, "the box is (%g, %g, %g, %g); give four finite numbers x, y, w, h in pixels", box.x,
            box.y, box.w, box.h);
        return false;
    }
    if (box.w <= 0 || box.h <= 0) {
        std::snprintf(
            why, SPCNET_MESSAGE, "the box is %g x %g px; give a positive width and height", box.w, box.h);
        return false;
    }
    double left = std::max(box.x, 0.0), right = std::min(box.x + box.w, double(frame.width));
    double top = std::max(box.y, 0.0), bottom = std::min(box.y + box.h, double(frame.height));
    if (box.w > frame.width || box.h > frame.height || right - left < 1 || bottom - top < 1) {
        std::snprintf(
            why, SPCNET_MESSAGE,
            "the box (%g, %g, %g, %g) has %g x %g px in the frame of %d x %d; give a box inside the frame, of at least "
            "one pixel",
            box.x, box.y, box.w, box.h, std::max(right - left, 0.0), std::max(bottom - top, 0.0), frame.width,
            frame.height);
        return false;
    }
    box = {left, top, right - left, bottom - top};
    return true;
}

State move(const State& state, const State& first, const Shift& shift, FrameSize frame, const Config& config) {
    double point =
        (1 + config.padding) / config.points() * std::pow(config.scale_step, std::nearbyint(shift.scale));
    double step = std::pow(config.scale_step, shift.scale);
    return limited(
        state.cx + shift.column * point * state.w, state.cy + shift.row * point * state.h, state.w / first.w * step,
        state.h / first.h * step, first, frame, config);
}

State limited(
    double x, double y, double wider, double higher, const State& first, FrameSize frame, const Config& config) {
    double low_w = std::min(std::max(MIN_FACTOR, MIN_SIDE / first.w), 1.0);
    double low_h = std::min(std::max(MIN_FACTOR, MIN_SIDE / first.h), 1.0);
    double high_w = std::min(MAX_FACTOR, frame.width / first.w);
    double high_h = std::min(MAX_FACTOR, frame.height / first.h);
    if (config.box_gain == 0) { // one factor
        higher = wider;
        low_w = low_h = std::max(low_w, low_h);
        high_w = high_h = std::min(high_w, high_h);
    }
    return {
        clamped(x, 0, frame.width - 1.0), clamped(y, 0, frame.height - 1.0),
        first.w * std::max(std::min(wider, high_w), low_w), first.h * std::max(std::min(higher, high_h), low_h)};
}

Offset offset_between(const State& learnt, const State& found) {
    return {
        (found.cx - learnt.cx) / found.w, (found.cy - learnt.cy) / found.h, std::log(found.w / learnt.w),
        std::log(found.h / learnt.h)};
}

State without_offset(
    const State& found, const Offset& offset, double share, const State& first, FrameSize frame, const Config& config) {
    if (share < LEAST_SHARE) return found;
    return limited(
        found.cx - share * offset.x * found.w, found.cy - share * offset.y * found.h,
        found.w / first.w * std::exp(-share * offset.w), found.h / first.h * std::exp(-share * offset.h), first, frame,
        config);
}

} // namespace spc
