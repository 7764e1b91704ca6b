// The correlation filter in joint scale-position space, as spcnet.runtime.dcf: window, DFT, learn, respond.
#pragma once

#include "array.h"
#include "kernels.h"
#include "model.h"
#include "network.h"

namespace spc {

// The filter of a target. With fast_interp_factor there are two, and mean responds for both.
struct TargetFilter {
    Array<float> num[2], den[2], mean;
};

class CorrelationFilter {
public:
    CorrelationFilter(const Config& config, int depth, const Kernels& kernels);

    TargetFilter target(const Config& config) const;
    std::size_t spectrum_size() const { return std::size_t(points()) * 2 * search_.depth; }
    std::size_t space_size() const; // of transform and respond
    int rows() const { return search_.rows; } // R
    int columns() const { return search_.columns; } // K
    int points() const { return search_.rows * search_.columns; }
    int stride() const { return padded(side_); } // of a response, whose side is P

    // The spectrum [R, K][2][depth] of features.
    void transform(const Picture& features, bool learn, float* space, float* spectrum) const;

    // The response (P, stride) to a spectrum.
    void respond(const TargetFilter& target, const float* spectrum, float* space, float* response) const;

    // Learn the spectra of learn_scales patches at a rate, or if it is negative each filter at its own.
    void learn(TargetFilter& target, const float* spectra, double rate, const Config& config) const;

private:
    const Kernels& kernels_;
    int side_; // P
    float regularization_;
    Dft search_, learn_;
    Array<float> windows_, cosine_, sine_; // [cells / 2 + 1][waves]
    Array<float> amplitudes_, label_;
    Array<float> inverse_cosine_, inverse_sine_; // [P / 2 + 1][frequencies]
    Array<float> inverse_columns_; // [2K][stride]
};

} // namespace spc
