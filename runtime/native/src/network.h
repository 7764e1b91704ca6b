// A network of convolutions and local response normalisations, on pictures with the channels last.
#pragma once

#include <vector>

#include "array.h"
#include "kernels.h"
#include "model.h"

namespace spc {

// Cells of a picture within a border of zeros.
struct Picture {
    int cells = 0, border = 0;
    int depth = 0; // stored channels
    Array<float> numbers;

    Picture() = default;
    Picture(int cells, int border, int depth)
        : cells(cells), border(border), depth(depth),
          numbers(std::size_t(cells + 2 * border + 2) * (cells + 2 * border) * depth) {} // two rows that are not used
    std::ptrdiff_t row() const { return std::ptrdiff_t(cells + 2 * border) * depth; }
    float* inside() { return numbers.data() + border * (row() + depth); }
    const float* inside() const { return numbers.data() + border * (row() + depth); }
};

// Numbers (channels, cells, cells) into a picture without a border, and back.
void from_planes(const float* planes, int channels, Picture& picture);
void to_planes(const Picture& picture, int channels, float* planes);

class Network {
public:
    // layers: convolutions and normalisations, the first one a convolution; the input has cells x cells pixels, and
    // depth numbers each.
    Network(const std::vector<Layer>& layers, int cells, int depth, const Kernels& kernels);

    int border() const { return border_; } // of the input
    int depth() const { return depth_; } // of the result, without a border
    int cells() const { return cells_; }

    // What run() writes on its way to the result; one a thread.
    struct Space {
        std::vector<Picture> pictures;
        Array<float> winograd;
    };
    Space space() const;

    // in: the input with its border, row numbers from a row to the next.
    void run(const float* in, std::ptrdiff_t row, Space& space, Picture& result) const;

private:
    struct Step {
        bool convolves;
        Convolution convolution;
        Normalisation normalisation;
        Array<float> weight, bias;
        int picture; // that it writes, or changes in place
    };
    struct Shape {
        int cells, border, depth;
    };
    const Kernels& kernels_;
    int border_ = 0, depth_, cells_;
    std::vector<Step> steps_;
    std::vector<Shape> shapes_; // of the pictures
};

} // namespace spc
