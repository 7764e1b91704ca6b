// Box regression, as spcnet.runtime.regression: a small network that corrects the box that the filter found.
#pragma once

#include "array.h"
#include "geometry.h"
#include "locate.h"
#include "network.h"

namespace spc {

// Template, searched cells and their product (3C, W, W) to (dw, dh, dx, dy).
class RegressionHead {
public:
    RegressionHead(const Model& model, const Kernels& kernels);

    struct Space {
        Picture pair, result;
        Network::Space network;
    };
    Space space() const;
    std::size_t template_size() const { return std::size_t(side_) * side_ * channels_; }

    // The template of a target: the square roots of the middle W x W cells of its first features, (W, W, C).
    void learn(const Picture& features, float* cells) const { window(features, 0, 0, cells, channels_, 0); }

    // The answer for a target, of the template of its first patch, in a patch around whole cells.
    void box(const float* first, const Picture& features, int row, int column, Space& space, float* box) const;

private:
    // The square roots of the middle W x W cells, moved by (row, column), 0 outside: pixel numbers from one to the
    // next, and gap more from a row to the next.
    void window(
        const Picture& features, int row, int column, float* out, std::ptrdiff_t pixel, std::ptrdiff_t gap) const;

    int channels_, side_;
    Network network_;
    Array<float> weight_, bias_; // (4, cells, cells, depth), (4)
};

} // namespace spc
