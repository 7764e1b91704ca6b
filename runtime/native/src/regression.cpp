#include "regression.h"

#include <algorithm>
#include <cmath>

#include "constants.h"

namespace spc {

namespace {

std::vector<Layer> convolutions(const Model& model) {
    return {model.head.begin(), model.head.end() - 1};
}

} // namespace

RegressionHead::RegressionHead(const Model& model, const Kernels& kernels)
    : channels_(model.config.channels), side_(model.config.window()),
      network_(convolutions(model), side_, padded(3 * channels_), kernels) {
    const Layer& linear = model.head.back();
    int cells = network_.cells() * network_.cells(), depth = network_.depth();
    int channels = linear.inputs / cells;
    weight_ = Array<float>(std::size_t(4) * cells * depth);
    bias_ = Array<float>(4);
    for (int o = 0; o < 4; o++) {
        bias_[o] = linear.bias[o];
        for (int c = 0; c < channels; c++)
            for (int i = 0; i < cells; i++)
                weight_[(std::size_t(o) * cells + i) * depth + c] =
                    linear.weight[(std::size_t(o) * channels + c) * cells + i];
    }
}

RegressionHead::Space RegressionHead::space() const {
    return {Picture(side_, network_.border(), padded(3 * channels_)),
            Picture(network_.cells(), 0, network_.depth()), network_.space()};
}

void RegressionHead::window(
    const Picture& features, int row, int column, float* out, std::ptrdiff_t pixel, std::ptrdiff_t gap) const {
    int first = (features.cells - side_) / 2;
    for (int y = 0; y < side_; y++, out += gap)
        for (int x = 0; x < side_; x++, out += pixel) {
            int down = first + row + y, right = first + column + x;
            bool inside = down >= 0 && down < features.cells && right >= 0 && right < features.cells;
            const float* seen = features.inside() + down * features.row() + right * features.depth;
            for (int c = 0; c < channels_; c++) out[c] = inside ? std::sqrt(seen[c]) : 0;
        }
}

void RegressionHead::box(
    const float* first, const Picture& features, int row, int column, Space& space, float* box) const {
    Picture& pair = space.pair; // template, searched cells, and their product
    window(features, row, column, pair.inside() + channels_, pair.depth, pair.row() - side_ * pair.depth);
    for (int y = 0; y < side_; y++)
        for (int x = 0; x < side_; x++) {
            float* out = pair.inside() + y * pair.row() + x * pair.depth;
            for (int c = 0; c < channels_; c++) {
                out[c] = *first++;
                out[2 * channels_ + c] = out[c] * out[channels_ + c];
            }
        }
    network_.run(space.pair.numbers.data(), space.pair.row(), space.network, space.result);
    std::size_t count = weight_.size() / 4;
    for (int o = 0; o < 4; o++) {
        float sum = 0;
        for (std::size_t i = 0; i < count; i++) sum += weight_[o * count + i] * space.result.numbers[i];
        box[o] = sum + bias_[o];
    }
}

} // namespace spc
