#include "filter.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "constants.h"
#include "patches.h"

namespace spc {

namespace {

const double TWO_PI = 6.28318530717958647692;

double label_spectrum(int frequency, int cells, double sigma) {
    double sum = 0;
    for (int i = 0; i < cells; i++) {
        double distance = std::min(i, cells - i) / sigma;
        sum += std::cos(TWO_PI / cells * frequency * i) * std::exp(-0.5 * distance * distance);
    }
    return sum;
}

} // namespace

CorrelationFilter::CorrelationFilter(const Config& config, int depth, const Kernels& kernels)
    : kernels_(kernels), side_(config.points()), regularization_(float(config.regularization)) {
    int m = config.grid(), p = side_;
    double sigma = config.sigma();
    double band = std::ceil(std::sqrt(-2 * std::log(BAND_FLOOR)) * m / (TWO_PI * sigma));
    int rows = 2 * band + 1 < m ? 2 * int(band) + 1 : m, center = (rows - 1) / 2;
    int columns = int(std::min(band, double(m / 2))) + 1;
    int frequencies = rows - center, waves = std::max(frequencies, columns);

    windows_ = Array<float>(2 * m);
    for (int i = 0; i < m; i++) {
        windows_[i] = float(hann(i, m, config.search_window));
        windows_[m + i] = float(hann(i, m, config.learn_window));
    }
    cosine_ = Array<float>(std::size_t(m / 2 + 1) * waves);
    sine_ = Array<float>(std::size_t(m / 2 + 1) * waves);
    for (int i = 0; i <= m / 2; i++)
        for (int f = 0; f < waves; f++) {
            double angle = TWO_PI / m * ((long long)i * f % m);
            cosine_[i * waves + f] = float(std::cos(angle));
            sine_[i * waves + f] = float(std::sin(angle));
        }
    search_ = {m, depth, rows, columns, center, waves, windows_.data(), cosine_.data(), sine_.data()};
    learn_ = search_;
    learn_.window = windows_.data() + m;

    amplitudes_ = Array<float>(config.learn_scales);
    for (int s = 0; s < config.learn_scales; s++) {
        double exponent = (s - config.learn_scales / 2) / config.scale_sigma;
        amplitudes_[s] = float(std::exp(-0.5 * exponent * exponent));
    }
    label_ = Array<float>(points());
    Array<double> spectrum(waves); // even: that of -f is that of f
    for (int f = 0; f < waves; f++) spectrum[f] = label_spectrum(f, m, sigma);
    for (int r = 0; r < rows; r++)
        for (int k = 0; k < columns; k++)
            label_[r * columns + k] = float(spectrum[std::abs(r - center)] * spectrum[k]);

    inverse_cosine_ = Array<float>(std::size_t(p / 2 + 1) * frequencies);
    inverse_sine_ = Array<float>(std::size_t(p / 2 + 1) * frequencies);
    for (int i = 0; i <= p / 2; i++)
        for (int f = 0; f < frequencies; f++) {
            double angle = TWO_PI / p * ((long long)i * f % p);
            inverse_cosine_[i * frequencies + f] = float(std::cos(angle));
            inverse_sine_[i * frequencies + f] = float(std::sin(angle));
        }
    inverse_columns_ = Array<float>(std::size_t(2 * columns) * stride());
    for (int k = 0; k < columns; k++) // half of the spectrum is left out: it is the conjugate
        for (int i = 0; i < p; i++) {
            double weight = (k == 0 || 2 * k == m ? 1.0 : 2.0) / (double(m) * m);
            double angle = TWO_PI / p * ((long long)i * k % p);
            inverse_columns_[(2 * k) * stride() + i] = float(std::cos(angle) * weight);
            inverse_columns_[(2 * k + 1) * stride() + i] = float(-std::sin(angle) * weight);
        }
}

TargetFilter CorrelationFilter::target(const Config& config) const {
    TargetFilter made;
    for (int i = 0; i < (config.fast_interp_factor > 0 ? 2 : 1); i++) {
        made.num[i] = Array<float>(spectrum_size());
        made.den[i] = Array<float>(points());
    }
    if (config.fast_interp_factor > 0) made.mean = Array<float>(spectrum_size());
    return made;
}

std::size_t CorrelationFilter::space_size() const {
    std::size_t wide = padded(2 * columns());
    return std::max(
        dft_space(search_), 2 * std::size_t(points()) + wide * (2 * (rows() + 1) + 2 * (side_ / 2 + 1) + side_));
}

void CorrelationFilter::transform(const Picture& features, bool learn, float* space, float* spectrum) const {
    kernels_.transform(learn ? learn_ : search_, features.inside(), features.row(), space, spectrum);
}

void CorrelationFilter::respond(
    const TargetFilter& target, const float* spectrum, float* space, float* response) const {
    int rows = search_.rows, columns = search_.columns, center = search_.center, frequencies = rows - center;
    int wide = padded(2 * columns), p = side_, half = p / 2 + 1;
    float* gf = space; // [R, K][2]
    float* sums = gf + 2 * std::size_t(points()); // [frequencies][wide]: of the frequencies f and -f
    float* differences = sums + frequencies * wide;
    float* with_cosine = differences + frequencies * wide; // [half][wide]
    float* with_sine = with_cosine + half * wide;
    float* lines = with_sine + half * wide; // [P][wide]: inverse along the vertical frequencies
    const float* num = target.mean.size() ? target.mean.data() : target.num[0].data();
    kernels_.respond(num, target.den[0].data(), regularization_, spectrum, points(), search_.depth, gf);
    for (int f = 0; f < frequencies; f++) {
        const float* plus = gf + 2 * std::size_t(center + f) * columns;
        const float* minus = f && f <= center ? gf + 2 * std::size_t(center - f) * columns : nullptr;
        for (int i = 0; i < 2 * columns; i++) {
            sums[f * wide + i] = plus[i] + (minus ? minus[i] : 0);
            differences[f * wide + i] = plus[i] - (minus ? minus[i] : 0);
        }
        for (int i = 2 * columns; i < wide; i++) sums[f * wide + i] = differences[f * wide + i] = 0;
    }
    kernels_.multiply(
        inverse_cosine_.data(), frequencies, 1, sums, wide, with_cosine, wide, half, frequencies, wide);
    kernels_.multiply(
        inverse_sine_.data(), frequencies, 1, differences, wide, with_sine, wide, half, frequencies, wide);
    for (int i = 0; i < half; i++) {
        const float *c = with_cosine + i * wide, *s = with_sine + i * wide;
        float *down = lines + i * wide, *up = lines + (p - i) % p * wide;
        for (int k = 0; k < 2 * columns; k += 2) { // c + i s, and c - i s at the opposite point
            float re = c[k], im = c[k + 1], sine_re = s[k], sine_im = s[k + 1];
            up[k] = re + sine_im;
            up[k + 1] = im - sine_re;
            down[k] = re - sine_im;
            down[k + 1] = im + sine_re;
        }
    }
    kernels_.multiply(
        lines, wide, 1, inverse_columns_.data(), stride(), response, stride(), p, 2 * columns, stride());
}

void CorrelationFilter::learn(TargetFilter& target, const float* spectra, double rate, const Config& config) const {
    Learning learning = {points(), search_.depth, config.learn_scales, amplitudes_.data(), label_.data(),
                         regularization_};
    double rates[2] = {config.interp_factor, config.fast_interp_factor};
    Filter filters[2];
    int count = target.mean.size() ? 2 : 1;
    for (int i = 0; i < count; i++)
        filters[i] = {target.num[i].data(), target.den[i].data(), float(rate < 0 ? rates[i] : rate)};
    kernels_.learn(learning, spectra, filters, count, target.mean.data());
}

} // namespace spc
