#include "recovery.h"

#include <climits>

#include "constants.h"

namespace spc {

State TargetState::search_state(FrameSize frame, const Config& config) const {
    State place = seen;
    if (misses == 1) {
        place.cx = weak_x;
        place.cy = weak_y;
    } else if (misses > 1) {
        const double* offset = SEARCH_OFFSETS[(misses - 2) % SEARCH_PLACES];
        place.cx = clamped(seen.cx + offset[0] * config.recovery_radius * seen.w, 0, frame.width - 1.0);
        place.cy = clamped(seen.cy + offset[1] * config.recovery_radius * seen.h, 0, frame.height - 1.0);
    }
    return place;
}

spcnet_status TargetState::advance(State& found, double score, const Config& config) {
    bool recovers = config.recovery_radius > 0;
    if (score >= (misses > 1 ? config.uncertain_score : config.lost_score)) {
        *this = {found, 0, 0, 0};
        return score < config.uncertain_score ? SPCNET_UNCERTAIN : SPCNET_TRACKING;
    }
    if (!recovers) {
        *this = {found, 0, 0, 0};
        return SPCNET_LOST;
    }
    if (misses == 0) { // one weak peak is followed, as a blurred target gives
        *this = {seen, 1, found.cx, found.cy};
        return SPCNET_UNCERTAIN;
    }
    misses = misses < INT_MAX - SEARCH_PLACES ? misses + 1 : misses + 1 - SEARCH_PLACES; // the same place of the round
    found = seen;
    return SPCNET_LOST;
}

bool may_learn(spcnet_status status, const Config& config) {
    return config.interp_factor > 0 && (config.recovery_radius == 0 || status == SPCNET_TRACKING);
}

} // namespace spc
