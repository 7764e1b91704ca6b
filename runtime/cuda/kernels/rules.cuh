// The rules of a target's state after a search, written once for the kernels and for libspcnet (runtime/native): those of
// runtime/geometry.py, locate.py, regression.py and recovery.py, in float64. Whoever includes it has defined RULE, which
// stands before each function, and has the constants and structures of layout.py.
#pragma once

// Centre, width and height in pixels.
struct Box {
    double cx, cy, w, h;
};

// A displacement: the sub-scale exponent, and points of the response at the nearest searched scale.
struct Shift {
    double scale, row, column;
};

RULE double clamped(double x, double low, double high) {
    return fmin(fmax(x, low), high);
}

// x ** n for a small whole n
RULE double power(double x, int n) {
    double product = 1;
    for (int i = 0; i < n; i++) product *= x;
    return product;
}

// Offset of the peak of the parabola through three neighbouring samples.
RULE double parabola(double before, double top, double after) {
    double curvature = 2 * top - before - after;
    return curvature > 0 ? 0.5 * (after - before) / curvature : 0.0;
}

// A wrapped index as a signed displacement.
RULE int displacement(int index, int size) {
    return index > (size - 1) / 2 ? index - size : index;
}

// Offset of the refined scale from the best one: the first and the last use the parabola of the scale next to them.
RULE double scale_offset(const double* maxima, int scales, int best) {
    if (scales == 1) return 0.0;
    int center = best < 1 ? 1 : best > scales - 2 ? scales - 2 : best, inward = center - best;
    const double* value = maxima + center;
    double offset = parabola(value[-1], value[0], value[1]);
    if (!inward) return offset;
    if (2 * value[0] - value[-1] - value[1] <= 0) return 0.0; // no peak inside: the last scale is the best guess
    return inward * clamped(1 + inward * offset, 0.0, 0.5);
}

// locate.py: the peak-to-sidelobe ratio of a score, by the sums of the response and of its squares over all
// size x size points, and over the side x side points around the peak.
RULE double sidelobe_ratio(
    double score, double sum, double square, double near_sum, double near_square, int size, int side) {
    if (side >= size) return 0.0;
    double outside = (double)size * size - (double)side * side, mean = (sum - near_sum) / outside;
    double deviation = sqrt(fmax((square - near_square) / outside - mean * mean, 0.0));
    return deviation > FLAT ? (score - mean) / deviation : 0.0;
}

// geometry.limited: the centre (x, y), and the sides as factors of the first ones.
RULE Box limited(
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

// alpha ** scale at the nearest searched scale.
RULE double nearest_factor(const Shift& shift, const Search& search) {
    double nearest = rint(shift.scale), steps = power(search.scale_step, abs((int)nearest));
    return nearest < 0 ? 1 / steps : steps;
}

// geometry.move: where a search has found the target.
RULE Box moved(const Shift& shift, const Target& target, const Frame& frame, const Search& search) {
    double point = search.point * nearest_factor(shift, search), step = exp(shift.scale * search.log_step);
    return limited(
        target.search_x + shift.column * point * target.w, target.search_y + shift.row * point * target.h,
        target.w / target.first_w * step, target.h / target.first_h * step, target, frame, search);
}

// geometry.without_offset: what was found less a share of the target's offset.
RULE Box without_offset(
    const Box& found, double share, const Target& target, const Frame& frame, const Search& search) {
    if (share < LEAST_SHARE) return found;
    return limited(
        found.cx - share * target.offset_x * found.w, found.cy - share * target.offset_y * found.h,
        found.w / target.first_w * exp(-share * target.offset_w),
        found.h / target.first_h * exp(-share * target.offset_h), target, frame, search);
}

// The whole cells that the box regression sees, around the peak of a search.
RULE CellWindow cell_window(const Shift& shift, bool sure, const Target& target, const Search& search) {
    double factor = nearest_factor(shift, search), up = search.upsampling;
    double columns = rint(shift.column / up), rows = rint(shift.row / up), cell = up * search.point * factor;
    return {
        target.search_x + columns * cell * target.w,
        target.search_y + rows * cell * target.h,
        target.w * factor,
        target.h * factor,
        target.share,
        sure ? (int)rint(shift.scale) + (search.scales - 1) / 2 : -1,
        (int)rows,
        (int)columns};
}

// regression.corrected: what was found, moved by box_gain towards the answer (dw, dh, dx, dy) for a window.
RULE Box corrected(
    const Box& found, const CellWindow& place, const float* answer, const Target& target, const Frame& frame,
    const Search& search) {
    for (int i = 0; i < 4; i++)
        if (!(fabs((double)answer[i]) < 1e300)) return found; // NaN or infinite
    double gain = search.box_gain;
    double wider = log(place.w / found.w) + answer[0], higher = log(place.h / found.h) + answer[1];
    double size = clamped(gain * (wider + higher) / 2, -BOX_LIMIT, BOX_LIMIT);
    double aspect = clamped(gain * (wider - higher), -BOX_LIMIT, BOX_LIMIT) / 2;
    double dx = clamped(answer[2], -BOX_SHIFT, BOX_SHIFT), dy = clamped(answer[3], -BOX_SHIFT, BOX_SHIFT);
    return limited(
        found.cx + gain * (place.cx + dx * place.w - found.cx), found.cy + gain * (place.cy + dy * place.h - found.cy),
        found.w / target.first_w * exp(size + aspect), found.h / target.first_h * exp(size - aspect), target, frame,
        search);
}

// recovery.TargetState.advance, and whether to learn: the state after a search, and what is told of it. A score of
// -infinity is that of a response that is not finite.
RULE Measurement settle(
    Target& target, const Box& box, double score, double psr, const Frame& frame, const Search& search) {
    double told = score > -1e300 ? score : 0.0; // no number that is not finite leaves
    bool sure = score >= search.uncertain_score, recovers = search.recovery_radius > 0;
    bool missed = score < (target.misses > 1 ? search.uncertain_score : search.lost_score);
    double status = sure ? TRACKING : UNCERTAIN;
    Box seen = box;
    if (missed && !recovers) status = LOST;
    if (missed && recovers && target.misses == 0) { // follow one weak peak, but keep the state
        target.misses = 1;
        target.search_x = seen.cx;
        target.search_y = seen.cy;
    } else if (missed && recovers) { // search around the place where the target was last seen
        const double* offset = SEARCH_OFFSETS[(int)fmod(target.misses - 1, (double)SEARCH_PLACES)];
        target.misses += 1;
        target.search_x = clamped(target.cx + offset[0] * search.recovery_radius * target.w, 0.0, frame.width - 1.0);
        target.search_y = clamped(target.cy + offset[1] * search.recovery_radius * target.h, 0.0, frame.height - 1.0);
        seen = {target.cx, target.cy, target.w, target.h};
        status = LOST;
    } else {
        target.search_x = target.cx = seen.cx;
        target.search_y = target.cy = seen.cy;
        target.w = seen.w;
        target.h = seen.h;
        target.misses = 0;
    }
    target.share *= OFFSET_FADE;
    if (search.interval) {
        target.age += 1;
        bool due = fmod(target.age, (double)search.interval) == 0 && (status == TRACKING || !recovers);
        target.rate = due ? search.rate : 0.0;
    }
    return {
        seen.cx, seen.cy, seen.w, seen.h, told, psr, status, target.cx, target.cy, target.w, target.h,
        target.search_x, target.search_y};
}
