// States and their limits, as in runtime/geometry.py, for peak.cu and regress.cu.
#pragma once
#include "common.cuh"

__device__ inline double clamped(double x, double low, double high) {
    return fmin(fmax(x, low), high);
}

// Centre, width and height in pixels.
struct Box {
    double cx, cy, w, h;
};

// geometry.limited: the centre (x, y), and the sides as factors of the first ones.
__device__ inline Box limited(
    double x, double y, double wider, double higher, const Target& target, const Frame& frame, const Search& search) {
    double low_w = fmin(fmax(search.min_factor, search.min_side / target.first_w), 1.0);
    double low_h = fmin(fmax(search.min_factor, search.min_side / target.first_h), 1.0);
    double high_w = fmin(search.max_factor, frame.width / target.first_w);
    double high_h = fmin(search.max_factor, frame.height / target.first_h);
    if (search.box_gain == 0) { // one factor
        higher = wider;
        low_w = low_h = fmax(low_w, low_h);
        high_w = high_h = fmin(high_w, high_h);
    }
    return {
        clamped(x, 0.0, frame.width - 1.0),
        clamped(y, 0.0, frame.height - 1.0),
        target.first_w * fmax(fmin(wider, high_w), low_w),
        target.first_h * fmax(fmin(higher, high_h), low_h)};
}

// geometry.without_offset: what was found less a share of the target's offset.
__device__ inline Box without_offset(
    const Box& found, double share, const Target& target, const Frame& frame, const Search& search) {
    if (share < LEAST_SHARE) return found;
    return limited(
        found.cx - share * target.offset_x * found.w, found.cy - share * target.offset_y * found.h,
        found.w / target.first_w * exp(-share * target.offset_w),
        found.h / target.first_h * exp(-share * target.offset_h), target, frame, search);
}
