#include "colour.h"

#include <algorithm>
#include <cmath>

namespace spc {

ColourModel::ColourModel(const Config& config, const Kernels& kernels)
    : kernels_(kernels), size_(config.patch_size), width_(padded(size_)), points_(config.points()),
      mean_{float(config.pixel_mean[0]), float(config.pixel_mean[1]), float(config.pixel_mean[2])} {
    int n = size_;
    double side = n / (1 + config.padding), inner = std::max(COLOUR_INNER * side / 2, 0.5);
    double outer = std::max(std::min(COLOUR_OUTER * side / 2, n / 2.0 - 0.75), inner);
    zones_ = Array<unsigned char>(n);
    double counts[3] = {};
    for (int i = 0; i < n; i++) {
        double distance = std::fabs(i - (n - 1) / 2.0);
        zones_[i] = (unsigned char)((distance > inner) + (distance > outer));
        counts[zones_[i]]++;
    }
    pixels_[0] = float(counts[0] * counts[0]);
    pixels_[1] = float(double(n) * n - (counts[0] + counts[1]) * (counts[0] + counts[1]));

    int p = points_, stride = padded(p);
    means_ = Array<float>(std::size_t(p) * width_);
    transposed_ = Array<float>(std::size_t(width_) * stride);
    double half = COLOUR_BOX * side / 2;
    for (int i = 0; i < p; i++) {
        double center = n / 2.0 + (i > (p - 1) / 2 ? i - p : i) * (double(n) / p);
        double low = clamped(center - half, 0, n), high = clamped(center + half, 0, n);
        for (int j = 0; j < n; j++) {
            double covered = clamped(high, j, j + 1) - clamped(low, j, j + 1);
            means_[i * width_ + j] = transposed_[j * stride + i] = float(covered / (high - low));
        }
    }
}

TargetColours ColourModel::target() const {
    TargetColours made;
    made.target = Array<float>(COLOURS);
    made.surroundings = Array<float>(COLOURS);
    made.likelihoods = Array<float>(COLOURS);
    return made;
}

int ColourModel::colour(const float* pixel) const {
    int bins[3];
    for (int c = 0; c < 3; c++) {
        float level = (pixel[c] + mean_[c]) * (BINS / 256.0f);
        bins[c] = int(std::min(std::max(level, 0.0f), BINS - 1.0f)); // the whole part
    }
    return (bins[0] * BINS + bins[1]) * BINS + bins[2];
}

void ColourModel::learn(TargetColours& colours, const Patch& patch, float rate, int* counts) const {
    std::fill(counts, counts + 2 * COLOURS, 0);
    for (int y = 0; y < size_; y++)
        for (int x = 0; x < size_; x++) {
            int zone = std::max(zones_[y], zones_[x]);
            if (zone != 1) counts[zone / 2 * COLOURS + colour(patch.line(y) + 3 * x)]++;
        }
    for (int i = 0; i < COLOURS; i++) {
        float &target = colours.target[i], &surroundings = colours.surroundings[i];
        target += rate * (counts[i] / pixels_[0] - target);
        surroundings += rate * (counts[COLOURS + i] / pixels_[1] - surroundings);
    }
    weigh(colours);
}

void ColourModel::weigh(TargetColours& colours) const {
    for (int i = 0; i < COLOURS; i++) {
        float t = colours.target[i] + float(COLOUR_NEUTRAL), s = colours.surroundings[i] + float(COLOUR_NEUTRAL);
        colours.likelihoods[i] = t / (t + s);
    }
}

void ColourModel::respond(const TargetColours& colours, const Patch& patch, float* space, float* response) const {
    float *likelihood = space, *lines = space + std::size_t(size_) * width_;
    for (int y = 0; y < size_; y++) {
        for (int x = 0; x < size_; x++)
            likelihood[y * width_ + x] = colours.likelihoods[colour(patch.line(y) + 3 * x)];
        for (int x = size_; x < width_; x++) likelihood[y * width_ + x] = 0;
    }
    kernels_.multiply(means_.data(), width_, 1, likelihood, width_, lines, width_, points_, size_, width_);
    int stride = padded(points_);
    kernels_.multiply(lines, width_, 1, transposed_.data(), stride, response, stride, points_, size_, stride);
}

} // namespace spc
