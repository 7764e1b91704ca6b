#include "locate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "constants.h"

namespace spc {

namespace {

struct Moments {
    double sum = 0, square = 0;

    void add(const float* values, int count) {
        double sums[4] = {}, squares[4] = {}; // four chains, so that additions overlap
        int i = 0;
        for (; i + 4 <= count; i += 4)
            for (int j = 0; j < 4; j++) {
                double value = values[i + j];
                sums[j] += value;
                squares[j] += value * value;
            }
        for (; i < count; i++) {
            double value = values[i];
            sums[0] += value;
            squares[0] += value * value;
        }
        sum += sums[0] + sums[1] + sums[2] + sums[3];
        square += squares[0] + squares[1] + squares[2] + squares[3];
    }
};

} // namespace

void join(const float* responses, const float* colour, int stride, const Config& config, float* joint) {
    std::size_t count = std::size_t(config.points()) * stride;
    float weight = float(config.colour_weight);
    for (int s = 0; s < config.scales; s++)
        for (std::size_t i = 0; i < count; i++)
            joint[s * count + i] = (1 - weight) * responses[s * count + i] + weight * colour[i];
}

Peak find_peak(const float* responses, const float* joint, int stride, const device::Search& search) {
    int scales = search.scales, size = search.size, half = scales / 2;
    double maxima[MAX_SCALES];
    Moments moments[MAX_SCALES];
    int best = 0;
    bool finite = true;
    for (int s = 0; s < scales; s++) {
        float top = -std::numeric_limits<float>::infinity();
        for (int row = 0; row < size; row++) {
            const float* values = joint + (std::size_t(s) * size + row) * stride;
            for (int i = 0; i < size; i++) top = std::max(top, values[i]);
            moments[s].add(responses + (std::size_t(s) * size + row) * stride, size);
        }
        maxima[s] = top * device::power(search.scale_penalty, std::abs(s - half));
        finite = finite && std::isfinite(float(moments[s].sum));
        if (maxima[s] > maxima[best]) best = s;
    }
    if (!finite) return {{0, 0, 0}, -std::numeric_limits<double>::infinity(), 0, half};

    const float* response = joint + std::size_t(best) * size * stride;
    const float* filter = responses + std::size_t(best) * size * stride;
    int row = 0, column = 0;
    for (int y = 0; y < size; y++) {
        int x = int(std::max_element(response + y * stride, response + y * stride + size) - (response + y * stride));
        if (response[y * stride + x] > response[row * stride + column]) {
            row = y;
            column = x;
        }
    }
    auto at = [&](int y, int x) { return double(response[(y + size) % size * stride + (x + size) % size]); };
    double top = at(row, column);
    double d_row = device::parabola(at(row - 1, column), top, at(row + 1, column));
    double d_column = device::parabola(at(row, column - 1), top, at(row, column + 1));
    double score = filter[row * stride + column];

    int reach = search.reach, side = 2 * reach + 1;
    Moments near;
    int x = (column - reach + size) % size, right = std::min(side, size - x);
    for (int y = row - reach; side < size && y <= row + reach; y++) {
        const float* values = filter + (y + size) % size * stride;
        near.add(values + x, right);
        near.add(values, side - right);
    }
    const Moments& all = moments[best];
    double psr = device::sidelobe_ratio(score, all.sum, all.square, near.sum, near.square, size, side);
    double d_scale = device::scale_offset(maxima, scales, best);
    return {
        {best - half + d_scale, device::displacement(row, size) + d_row, device::displacement(column, size) + d_column}, score, psr,
        best};
}

} // namespace spc
