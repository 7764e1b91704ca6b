#include "network.h"

#include <algorithm>

namespace spc {

namespace {

// Weights (outputs, inputs, kernel, kernel) as kernels.convolve wants them; what is added is 0.
Array<float> pack(const Layer& layer, int inputs, int group) {
    int taps = layer.kernel * layer.kernel;
    Array<float> packed(std::size_t(padded(layer.outputs)) * taps * inputs);
    for (int o = 0; o < layer.outputs; o++)
        for (int i = 0; i < layer.inputs; i++)
            for (int t = 0; t < taps; t++)
                packed[((std::size_t(o / group) * taps + t) * inputs + i) * group + o % group] =
                    layer.weight[(std::size_t(o) * layer.inputs + i) * taps + t];
    return packed;
}

// Weights (outputs, inputs, 3, 3) as kernels.winograd wants them: G w G', as [4, 4][inputs][outputs].
Array<float> transform(const Layer& layer, int outputs) {
    const double G[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
    Array<float> transformed(std::size_t(16) * layer.inputs * outputs);
    for (int o = 0; o < layer.outputs; o++)
        for (int i = 0; i < layer.inputs; i++)
            for (int place = 0; place < 16; place++) {
                const float* w = &layer.weight[(std::size_t(o) * layer.inputs + i) * 9];
                double sum = 0;
                for (int tap = 0; tap < 9; tap++) sum += G[place / 4][tap / 3] * w[tap] * G[place % 4][tap % 3];
                transformed[(std::size_t(place) * layer.inputs + i) * outputs + o] = float(sum);
            }
    return transformed;
}

} // namespace

void from_planes(const float* planes, int channels, Picture& picture) {
    int count = picture.cells * picture.cells;
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < count; i++) picture.numbers[std::size_t(i) * picture.depth + c] = *planes++;
}

void to_planes(const Picture& picture, int channels, float* planes) {
    int count = picture.cells * picture.cells;
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < count; i++) *planes++ = picture.numbers[std::size_t(i) * picture.depth + c];
}

Network::Network(const std::vector<Layer>& layers, int cells, int depth, const Kernels& kernels)
    : kernels_(kernels), depth_(depth), cells_(cells) {
    int channels = 0;
    for (const Layer& layer : layers) {
        Step step = {};
        step.convolves = layer.kind == Layer::CONVOLUTION;
        if (step.convolves) {
            int outputs = padded(layer.outputs), group = outputs % kernels.group ? LANES : kernels.group;
            if (shapes_.empty())
                border_ = layer.padding;
            else
                shapes_.back().border = layer.padding;
            Convolution& c = step.convolution;
            c.kernel = layer.kernel;
            c.stride = layer.stride;
            c.inputs = layer.inputs;
            c.outputs = outputs;
            c.cells = (cells_ + 2 * layer.padding - layer.kernel) / layer.stride + 1;
            c.in_pixel = depth_;
            c.out_pixel = outputs;
            c.relu = layer.relu;
            step.weight = suits_winograd(c) ? transform(layer, outputs) : pack(layer, layer.inputs, group);
            step.bias = Array<float>(outputs);
            for (int o = 0; o < layer.outputs; o++) step.bias[o] = layer.bias[o];
            shapes_.push_back({c.cells, 0, outputs});
            channels = layer.outputs;
            depth_ = outputs;
            cells_ = c.cells;
        } else
            step.normalisation = {channels, depth_, layer.size, layer.alpha / layer.size, layer.beta,
                                  layer.k};
        step.picture = int(shapes_.size()) - 1;
        steps_.push_back(std::move(step));
    }
}

Network::Space Network::space() const {
    Space made;
    for (std::size_t i = 0; i + 1 < shapes_.size(); i++)
        made.pictures.emplace_back(shapes_[i].cells, shapes_[i].border, shapes_[i].depth);
    std::size_t most = 0;
    for (const Step& step : steps_)
        if (step.convolves && suits_winograd(step.convolution))
            most = std::max(most, winograd_space(step.convolution));
    made.winograd = Array<float>(most);
    return made;
}

void Network::run(const float* in, std::ptrdiff_t row, Space& space, Picture& result) const {
    for (const Step& step : steps_) {
        bool last = step.picture == int(shapes_.size()) - 1;
        Picture& picture = last ? result : space.pictures[step.picture];
        if (step.convolves) {
            Convolution c = step.convolution;
            c.in_row = row;
            c.out_row = picture.row();
            c.weight = step.weight.data();
            c.bias = step.bias.data();
            if (suits_winograd(c))
                kernels_.winograd(c, in, picture.inside(), space.winograd.data());
            else
                kernels_.convolve(c, in, picture.inside());
        } else
            for (int y = 0; y < picture.cells; y++)
                kernels_.normalise(step.normalisation, picture.inside() + y * picture.row(), picture.cells);
        in = picture.numbers.data();
        row = picture.row();
    }
}

} // namespace spc
