// The joint scale-position peak of the responses, as spcnet.runtime.locate.
#pragma once

#include "geometry.h"

namespace spc {

struct Peak {
    Shift shift;
    double score, psr; // of the filter's response there; a score of -infinity: the responses are not finite
    int scale; // index of the best response
};

// Responses (S, P, stride) and the colour model's (P, stride) together, into joint (S, P, stride).
void join(const float* responses, const float* colour, int stride, const Config& config, float* joint);

// The peak of responses (S, P, stride), of which joint (S, P, stride) are the sums with the colour model's; the same
// where there is none.
Peak find_peak(const float* responses, const float* joint, int stride, const device::Search& search);

} // namespace spc
