// The inner loops, compiled for several instruction sets. They know pointers and sizes alone.
//
// Pictures and features are stored with the channels last, and from the first convolution on with a multiple of LANES
// channels, so that every loop runs over whole vectors. A distance is counted in numbers, not bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "spcnet.h"

namespace spc {

const int LANES = 16;

inline int padded(int channels) {
    return (channels + LANES - 1) / LANES * LANES;
}

// The points of the frame that a row of a patch is sampled at: between the columns left and right and the rows upper
// and lower, at the shares u and v. A turned patch has rows of its own for each pixel, an upright one has one.
struct SampledRow {
    const int *left, *right, *upper, *lower;
    const float *u, *v;
    int count;
    bool turned;
};

// A convolution and ReLU of a picture with its border of zeros.
// weight: [outputs / group][kernel, kernel, inputs][group]
struct Convolution {
    int kernel, stride, inputs, outputs; // outputs: a multiple of LANES
    int cells; // along an axis of the result
    std::ptrdiff_t in_pixel, in_row, out_pixel, out_row;
    const float *weight, *bias;
    bool relu;
};

// The same for kernels of 3 x 3 at stride 1, by Winograd's F(2 x 2, 3 x 3): 16 products for 4 cells instead of 36. The
// input has one more row behind its border. weight: [4, 4][inputs][outputs], transformed.
const int WINOGRAD_TILES = 16; // that are computed together

inline bool suits_winograd(const Convolution& c) {
    return c.kernel == 3 && c.stride == 1 && c.in_pixel % LANES == 0;
}

inline std::size_t winograd_space(const Convolution& c) {
    return 16 * WINOGRAD_TILES * std::size_t(c.in_pixel + c.outputs);
}

struct Normalisation {
    int channels, depth; // depth: stored channels
    int size;
    float alpha, beta, k; // alpha: of the formula, divided by size
};

// Window and DFT of M x M cells. Waves are [M / 2 + 1][waves]: cos and sin of 2 pi cell frequency / M.
struct Dft {
    int cells, depth;
    int rows, columns, center; // R, K, and the row of the vertical frequency 0
    int waves;
    const float *window, *cosine, *sine;
};

// One pair of a filter: its parts are [R, K][2][depth] and (R, K).
struct Filter {
    float *num, *den;
    float rate;
};

struct Learning {
    int points, depth, scales; // points: R x K
    const float *amplitudes, *label; // (scales) and (points)
    float regularization;
};

struct Kernels {
    const char* name;
    int group; // outputs of a convolution that are computed together; divides LANES, or is 2 * LANES

    // A row of a patch: B, G, R minus mean, interleaved; writes a fourth number, 0, after the last pixel.
    void (*sample)(const spcnet_frame& frame, const SampledRow& row, const float* mean, float* out);
    void (*convolve)(const Convolution& convolution, const float* in, float* out);
    void (*winograd)(const Convolution& convolution, const float* in, float* out, float* space);
    // Local response normalisation of count pixels, in place.
    void (*normalise)(const Normalisation& normalisation, float* x, int count);
    // out[i][c] = sum over j of a[i * a_row + j * a_column] * b[j][c]; width is a multiple of LANES.
    void (*multiply)(
        const float* a, std::ptrdiff_t a_row, std::ptrdiff_t a_column, const float* b, std::ptrdiff_t b_row, float* out,
        std::ptrdiff_t out_row, int rows, int inner, int width);
    // Features (M, M, depth) to a spectrum [R, K][2][depth]; space: dft_space() numbers.
    void (*transform)(const Dft& dft, const float* features, std::ptrdiff_t row, float* space, float* spectrum);
    // gf [R, K][2]: the sum over the channels of conj(num) * zf, over den + regularization.
    void (*respond)(
        const float* num, const float* den, float regularization, const float* zf, int points, int depth, float* gf);
    // Move one or two filters towards what the spectra (scales, points, 2, depth) teach. With two, mean is the
    // numerator that responds, over the first one's den, as the mean of both do.
    void (*learn)(const Learning& learning, const float* spectra, const Filter* filters, int count, float* mean);
};

inline std::size_t dft_space(const Dft& d) {
    std::size_t wide = 2 * std::size_t(d.depth), half = d.cells / 2 + 1;
    return wide * d.cells * d.columns + wide * 2 * half + wide * 2 * d.waves;
}

// The fastest kernels that this processor runs; name: those of this name, or NULL where it does not.
const Kernels* choose_kernels(const char* name = nullptr);

} // namespace spc
