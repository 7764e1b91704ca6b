// A model file, read and checked: the configuration, the backbone's layers, and the box regression.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace spc {

// As spcnet.runtime.config.TrackerConfig, with its names.
struct Config {
    int patch_size, channels, stride, scales, learn_scales, response_upsampling, update_interval;
    double scale_step, padding, output_sigma_factor, search_window, learn_window, scale_sigma, regularization,
        interp_factor, fast_interp_factor, first_turn, scale_penalty, uncertain_score, lost_score, recovery_radius,
        colour_weight, colour_rate, box_gain;
    double pixel_mean[3]; // B, G, R

    int grid() const; // M
    int points() const; // P
    int window() const; // W: the head sees W x W cells, 3/4 of a side, an even number
    double sigma() const; // of the label, in cells
};

// A layer of a network: a square convolution and ReLU, a local response normalisation, or a fully connected one.
struct Layer {
    enum Kind { CONVOLUTION, NORMALISATION, LINEAR } kind;
    int inputs, outputs, kernel, stride, padding; // of a convolution; inputs and outputs of a linear one, too
    bool relu;
    int size; // of a normalisation, and ...
    float alpha, beta, k; // ... x / (k + alpha / size * sum of squares over size channels) ** beta
    std::vector<float> weight, bias; // (outputs, inputs, kernel, kernel) and (outputs)
};

// What launches the kernels of GPUs from a compute capability on (75: 7.5); see cuda_plan.h. The bytes lie in the file.
struct CudaPart {
    int capability = 0;
    std::vector<double> plan;
    std::string_view kernels; // names, each with a zero byte
    std::string_view constants;
};

struct Model {
    Config config;
    std::vector<Layer> backbone; // (3, N, N) to (C, M, M)
    std::vector<Layer> head; // (3C, W, W) to (4,): convolutions, then a linear layer; empty: no box regression
    std::vector<CudaPart> cuda; // by capability; empty: for the CPU alone
    std::string_view code; // of the kernels, for the driver
};

// Read a model from memory. false, and in why a sentence that goes on after the file's name, where it is cut off,
// altered, of another kind, or has sizes or numbers that no exported model has. It allocates about as much as it is
// given, and throws std::bad_alloc. The bytes for GPUs are those of data.
bool read_model(const void* data, std::size_t bytes, Model& model, std::string& why);

} // namespace spc
