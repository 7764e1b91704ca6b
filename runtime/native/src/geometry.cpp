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

Offset offset_between(const State& learnt, const State& found) {
    return {
        (found.cx - learnt.cx) / found.w, (found.cy - learnt.cy) / found.h, std::log(found.w / learnt.w),
        std::log(found.h / learnt.h)};
}

device::Target begun(const State& state, const Offset& offset) {
    return {state.cx, state.cy, state.w,  state.h,  state.w,  state.h,  0,        0,
            0,        state.cx, state.cy, offset.x, offset.y, offset.w, offset.h, 1};
}

device::Search search_record(const Config& config, int interval) {
    double upsampling = config.response_upsampling;
    device::Search search = {};
    search.point = (1 + config.padding) / config.points();
    search.scale_step = config.scale_step;
    search.log_step = std::log(config.scale_step);
    search.scale_penalty = config.scale_penalty;
    search.min_side = MIN_SIDE;
    search.min_factor = MIN_FACTOR;
    search.max_factor = MAX_FACTOR;
    search.rate = config.interp_factor;
    search.uncertain_score = config.uncertain_score;
    search.lost_score = config.lost_score;
    search.recovery_radius = config.recovery_radius;
    search.colour_weight = config.colour_weight;
    search.box_gain = config.box_gain;
    search.scales = config.scales;
    search.size = config.points();
    search.upsampling = config.response_upsampling;
    search.reach = int(std::nearbyint(PSR_REACH * config.sigma() * upsampling));
    search.interval = interval;
    return search;
}

} // namespace spc
