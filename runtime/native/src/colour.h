// The colour model, as spcnet.runtime.colour: histograms of the target and of its surroundings.
#pragma once

#include "array.h"
#include "constants.h"
#include "kernels.h"
#include "patches.h"

namespace spc {

struct TargetColours {
    Array<float> target, surroundings; // histograms (COLOURS)
    Array<float> likelihoods; // (COLOURS): of each colour
};

class ColourModel {
public:
    ColourModel(const Config& config, const Kernels& kernels);

    TargetColours target() const;
    std::size_t space_size() const { return std::size_t(size_) * width_ + std::size_t(points_) * width_; }

    // Move the histograms towards those of a patch; counts: space for 2 * COLOURS numbers.
    void learn(TargetColours& colours, const Patch& patch, float rate, int* counts) const;

    // Compute the likelihoods from the histograms.
    void weigh(TargetColours& colours) const;

    // The mean likelihood in a box at each displacement (P, padded(P)).
    void respond(const TargetColours& colours, const Patch& patch, float* space, float* response) const;

private:
    int colour(const float* pixel) const;

    const Kernels& kernels_;
    int size_, width_, points_; // N, padded(N), P
    float mean_[3], pixels_[2]; // in the target, in its surroundings
    Array<unsigned char> zones_; // (N): 0 in the target, 1 at its edge, 2 in its surroundings
    Array<float> means_, transposed_; // (P, width), (width, padded(P))
};

} // namespace spc
