#include "patches.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "constants.h"
#include "failure.h"

namespace spc {

namespace {

const double PI = 3.14159265358979323846;

// The pixels on both sides of a sample along an axis, and its share of the second one.
void place(double sample, int size, int& first, int& second, float& share) {
    float x = float(sample), whole = std::floor(x);
    share = x - whole;
    first = int(clamped(whole, 0, size - 1));
    second = int(clamped(double(whole) + 1, 0, size - 1));
}

} // namespace

const Format FORMATS[] = {
    {"BGR", 1, {6, 0, 0}, 1, 1},  {"RGB", 1, {6, 0, 0}, 1, 1},  {"BGRA", 1, {8, 0, 0}, 1, 1},
    {"RGBA", 1, {8, 0, 0}, 1, 1}, {"GREY", 1, {2, 0, 0}, 1, 1}, {"NV12", 2, {2, 2, 0}, 2, 2},
    {"I420", 3, {2, 1, 1}, 2, 2}, {"YUYV", 1, {4, 0, 0}, 2, 1}};
const unsigned FORMAT_COUNT = sizeof FORMATS / sizeof *FORMATS;

bool check_frame(const spcnet_frame* frame, char* why) {
    if (!frame) return std::snprintf(why, SPCNET_MESSAGE, "the frame is NULL; give a picture"), false;
    unsigned number = unsigned(frame->format);
    if (number >= FORMAT_COUNT) {
        std::snprintf(why, SPCNET_MESSAGE, "the frame's format is %u; give one of spcnet_format", number);
        return false;
    }
    if (frame->memory != SPCNET_HOST && frame->memory != SPCNET_DEVICE) {
        std::snprintf(why, SPCNET_MESSAGE, "the frame's memory is %d; give one of spcnet_memory", frame->memory);
        return false;
    }
    const Format& format = FORMATS[number];
    int width = frame->width, height = frame->height;
    if (width < 1 || height < 1 || width > LONGEST_SIDE || height > LONGEST_SIDE) {
        std::snprintf(
            why, SPCNET_MESSAGE, "the frame is %d x %d px; give sides from 1 to %d", width, height, LONGEST_SIDE);
        return false;
    }
    if (width % format.even_width || height % format.even_height) {
        std::snprintf(
            why, SPCNET_MESSAGE, "the frame is %d x %d px; %s needs an even width%s", width, height, format.name,
            format.even_height == 2 ? " and height" : "");
        return false;
    }
    for (int plane = 0; plane < format.planes; plane++) {
        long long needed = (long long)format.row[plane] * width / 2;
        if (!frame->data[plane]) {
            std::snprintf(why, SPCNET_MESSAGE, "plane %d of the %s frame is NULL; give its pixels", plane, format.name);
            return false;
        }
        if (frame->stride[plane] < needed) {
            std::snprintf(
                why, SPCNET_MESSAGE,
                "stride %d of the %s frame is %lld bytes, but a row of %d px has %lld; give at least those",
                plane, format.name, (long long)frame->stride[plane], width, needed);
            return false;
        }
    }
    return true;
}

Patch::Patch(const Config& config, int border) : size_(config.patch_size), border_(border) {
    pixels_ = Array<float>(row() * (size_ + 2 * border_) + 1); // a pixel is written as four numbers
    places_ = Array<int>(4 * size_);
    shares_ = Array<float>(2 * size_);
}

void Patch::cut(
    const spcnet_frame& frame, const State& state, const Config& config, double scale, double turn,
    const Kernels& kernels) {
    int n = size_;
    double extent = (1 + config.padding) * scale;
    double step_x = state.w * extent / n, step_y = state.h * extent / n;
    float mean[3] = {float(config.pixel_mean[0]), float(config.pixel_mean[1]), float(config.pixel_mean[2])};
    int *left = places_.data(), *right = left + n, *upper = right + n, *lower = upper + n;
    float *u = shares_.data(), *v = u + n;
    SampledRow row = {left, right, upper, lower, u, v, n, turn != 0};
    double cosine = std::cos(turn * PI / 180), sine = std::sin(turn * PI / 180), middle = 0.5 * (n - 1);
    if (turn == 0)
        for (int i = 0; i < n; i++)
            place((state.cx - middle * step_x) + i * step_x, frame.width, left[i], right[i], u[i]);
    // Pixels of a patch are far apart in the frame, which is seldom in the cache: ask early for those of later rows.
    const int AHEAD = 6;
    int pixel = FORMATS[frame.format].row[0] / 2, skip = std::max(1, int(64 / (pixel * step_x + 1)));
    for (int j = 0; j < n; j++) {
        if (turn == 0) {
            double top = state.cy - middle * step_y, later = clamped(top + (j + AHEAD) * step_y, 0, frame.height - 1);
            const std::uint8_t* line = frame.data[0] + int(later) * frame.stride[0];
            std::ptrdiff_t next = int(later) + 1 < frame.height ? frame.stride[0] : 0;
            for (int i = 0; i < n; i += skip) {
                __builtin_prefetch(line + left[i] * pixel);
                __builtin_prefetch(line + left[i] * pixel + next);
            }
            place(top + j * step_y, frame.height, upper[0], lower[0], v[0]);
        } else
            for (int i = 0; i < n; i++) {
                double across = (i - middle) * step_x, down = (j - middle) * step_y;
                place((state.cx + across * cosine) - down * sine, frame.width, left[i], right[i], u[i]);
                place((state.cy + across * sine) + down * cosine, frame.height, upper[i], lower[i], v[i]);
            }
        float* out = pixels_.data() + (j + border_) * this->row() + 3 * border_;
        kernels.sample(frame, row, mean, out);
    }
}

void Patch::to_planes(float* planes) const {
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < size_; y++)
            for (int x = 0; x < size_; x++) *planes++ = line(y)[3 * x + c];
}

double hann(int index, int size, double power) {
    if (size == 1) return 1;
    return std::pow(0.5 + 0.5 * std::cos(PI * (1 - size + 2 * index) / (size - 1)), power);
}

void check_texture(
    const float* pixels, std::ptrdiff_t step, std::ptrdiff_t row, std::ptrdiff_t plane, const Config& config) {
    int n = config.patch_size;
    double side = double(n) / TEXTURE_CELLS, weights = 0, mean[3] = {}, square[3] = {};
    auto share = [side](int cell, int pixel) { // of a cell that a pixel covers, along an axis
        return std::max(std::min((cell + 1) * side, pixel + 1.0) - std::max(cell * side, double(pixel)), 0.0) / side;
    };
    for (int i = 0; i < TEXTURE_CELLS; i++)
        for (int j = 0; j < TEXTURE_CELLS; j++) {
            double levels[3] = {};
            for (int y = int(i * side); y < n && y < (i + 1) * side; y++)
                for (int x = int(j * side); x < n && x < (j + 1) * side; x++)
                    for (int c = 0; c < 3; c++) levels[c] += share(i, y) * share(j, x) * pixels[y * row + x * step + c * plane];
            double weight = hann(i + 1, TEXTURE_CELLS + 2, config.learn_window) * hann(j + 1, TEXTURE_CELLS + 2, config.learn_window);
            weights += weight;
            for (int c = 0; c < 3; c++) {
                mean[c] += weight * levels[c];
                square[c] += weight * levels[c] * levels[c];
            }
        }
    double most = 0;
    for (int c = 0; c < 3; c++)
        most = std::max(most, square[c] / weights - mean[c] / weights * (mean[c] / weights));
    double found = std::sqrt(most);
    if (!(found >= MIN_TEXTURE))
        throw Failure(
            SPCNET_BAD_ARGUMENT,
            "the target is flat: it and its surroundings vary by %.2f grey levels (standard deviation, without noise), "
            "needed are %g; give a box with texture, or begin in a later frame",
            found, MIN_TEXTURE);
}

} // namespace spc
