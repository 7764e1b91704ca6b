// The patch around a target, as spcnet.runtime.patches.
#pragma once

#include "array.h"
#include "geometry.h"
#include "kernels.h"

namespace spc {

// The planes of an spcnet_format.
struct Format {
    const char* name;
    int planes;
    int row[3]; // bytes for two pixels of a row of each plane
    int even_width, even_height; // what the sides are multiples of; so many rows share one of the second plane
};

extern const Format FORMATS[];

// false, and a sentence in why (of SPCNET_MESSAGE bytes), where a frame cannot be read.
bool check_frame(const spcnet_frame* frame, char* why);

// N x N pixels of B, G, R minus the mean, interleaved, within a border of zeros.
class Patch {
public:
    Patch() = default;
    Patch(const Config& config, int border);

    // Cut at scale times the size of state, turned by so many degrees clockwise. Bilinear; outside of the frame the
    // border pixel repeats.
    void cut(
        const spcnet_frame& frame, const State& state, const Config& config, double scale, double turn,
        const Kernels& kernels);

    const float* with_border() const { return pixels_.data(); }
    std::ptrdiff_t row() const { return 3 * std::ptrdiff_t(size_ + 2 * border_); } // to the next
    void to_planes(float* planes) const; // (3, N, N)
    const float* line(int y) const { return pixels_.data() + (y + border_) * row() + 3 * border_; }

private:
    int size_ = 0, border_ = 0;
    Array<float> pixels_;
    Array<int> places_; // of a row's samples: left, right, upper, lower
    Array<float> shares_;
};

// Throws Failure where there is nothing to learn in a target's first patch: where its texture, the standard deviation
// of means over cells, under the window of learnt features, in grey levels, of the channel that has most, is below
// MIN_TEXTURE. pixels is B of the first pixel; step is from pixel to pixel, row from row to row, plane to G and to R.
void check_texture(
    const float* pixels, std::ptrdiff_t step, std::ptrdiff_t row, std::ptrdiff_t plane, const Config& config);

// np.hanning(size) to the given power.
double hann(int index, int size, double power);

} // namespace spc
