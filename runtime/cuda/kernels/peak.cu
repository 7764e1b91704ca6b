// Responses to the joint scale-position peak and the new state of the target, as in runtime/locate.py, geometry.move
// and recovery.py, with float64 where they have it. The state stays on the device; a record goes to the host.
// In: responses (T * S, P, P) and tiles (T * S, ceil(P / 8)) of invert.cu. Out: targets (slots,), results (T,).
#include "common.cuh"

// Offset of the peak of the parabola through three neighbouring samples.
__device__ inline double parabola(double before, double top, double after) {
    double curvature = 2 * top - before - after;
    return curvature > 0 ? 0.5 * (after - before) / curvature : 0.0;
}

__device__ inline int shifted(int index, int size) { // wrapped index to signed displacement
    return index > (size - 1) / 2 ? index - size : index;
}

__device__ inline double clamped(double x, double low, double high) {
    return fmin(fmax(x, low), high);
}

// grid T, block 128
extern "C" __global__ void __launch_bounds__(128, 4) peak(
    const float* responses, const Tile* tiles, const Frame* frame, const Search* search_pointer, const int* slots,
    Target* targets, Measurement* results) {
    __shared__ Tile best[MAX_SCALES];
    __shared__ int chosen;
    __shared__ double sums[128], squares[128];
    const Search& search = *search_pointer; // a reference: the constants of a copy would be spilled
    int scales = search.scales, size = search.size, tid = threadIdx.x, count = (size + TILE_ROWS - 1) / TILE_ROWS;
    const float* response = responses + (size_t)blockIdx.x * scales * size * size;
    if (tid < scales) {
        const Tile* own = tiles + ((size_t)blockIdx.x * scales + tid) * count;
        Tile tile = own[0];
        for (int i = 1; i < count; i++) { // in row order: the first of equal maxima wins
            if (own[i].best > tile.best) {
                tile.best = own[i].best;
                tile.index = own[i].index;
            }
            tile.sum += own[i].sum;
            tile.square += own[i].square;
        }
        best[tid] = tile;
    }
    __syncthreads();
    if (tid == 0) {
        double highest = 0;
        for (int s = 0; s < scales; s++) {
            double value = best[s].best * pow(search.scale_penalty, fabs(s - (scales - 1) / 2.0));
            if (s == 0 || value > highest) {
                highest = value;
                chosen = s;
            }
        }
    }
    __syncthreads();
    const Tile top = best[chosen];
    response += (size_t)chosen * size * size;
    int row = top.index / size, column = top.index % size, side = 2 * search.reach + 1;
    double sum = 0, square = 0;
    for (int i = tid; side < size && i < side * side; i += 128) { // the square around the peak, wrapped
        int y = (row + i / side - search.reach + size) % size, x = (column + i % side - search.reach + size) % size;
        double value = response[y * size + x];
        sum += value;
        square += value * value;
    }
    sums[tid] = sum;
    squares[tid] = square;
    __syncthreads();
    for (int half = 64; half; half >>= 1) {
        if (tid < half) {
            sums[tid] += sums[tid + half];
            squares[tid] += squares[tid + half];
        }
        __syncthreads();
    }
    if (tid) return;

    double psr = 0;
    if (side < size) {
        double outside = (double)size * size - (double)side * side;
        double mean = (top.sum - sums[0]) / outside;
        double deviation = sqrt(fmax((top.square - squares[0]) / outside - mean * mean, 0.0));
        if (deviation > FLAT) psr = (top.best - mean) / deviation;
    }
    double d_row = parabola(
        response[(row + size - 1) % size * size + column], top.best, response[(row + 1) % size * size + column]);
    double d_column = parabola(
        response[row * size + (column + size - 1) % size], top.best, response[row * size + (column + 1) % size]);
    int middle = (scales - 1) / 2, exponent = chosen - middle;
    double d_scale = 0;
    if (scales > 1) { // the first and the last scale use the parabola of the scale next to them
        int center = min(max(chosen, 1), scales - 2), inward = center - chosen;
        double value[3];
        for (int i = -1; i <= 1; i++)
            value[i + 1] = best[center + i].best * pow(search.scale_penalty, fabs((double)(center - middle + i)));
        double offset = parabola(value[0], value[1], value[2]);
        if (!inward)
            d_scale = offset;
        else if (2 * value[1] - value[0] - value[2] > 0)
            d_scale = inward * clamped(1 + inward * offset, 0.0, 0.5);
    }

    Target& target = targets[slots[blockIdx.x]];
    double point = search.point * pow(search.scale_step, rint(exponent + d_scale));
    double factor = target.w / target.first_w * pow(search.scale_step, exponent + d_scale);
    double low = fmax(search.min_factor, search.min_side / fmin(target.first_w, target.first_h));
    double high = fmin(search.max_factor, fmin(frame->width / target.first_w, frame->height / target.first_h));
    factor = fmax(fmin(factor, high), fmin(low, 1.0));
    double x = target.search_x + (shifted(column, size) + d_column) * point * target.w;
    double y = target.search_y + (shifted(row, size) + d_row) * point * target.h;
    Measurement found = {
        clamped(x, 0.0, frame->width - 1.0),
        clamped(y, 0.0, frame->height - 1.0),
        target.first_w * factor,
        target.first_h * factor,
        top.best,
        psr,
        double(top.best < search.uncertain_score ? UNCERTAIN : TRACKING)};
    bool recovers = search.recovery_radius > 0;
    bool missed = top.best < (target.misses > 1 ? search.uncertain_score : search.lost_score);
    if (missed && !recovers) found.status = LOST;
    if (missed && recovers && target.misses == 0) { // follow one weak peak, but keep the state
        target.misses = 1;
        target.search_x = found.cx;
        target.search_y = found.cy;
    } else if (missed && recovers) { // search around the place where the target was last seen
        const double* offset = SEARCH_OFFSETS[((int)target.misses - 1) % SEARCH_PLACES];
        target.misses += 1;
        target.search_x =
            clamped(target.cx + offset[0] * search.recovery_radius * target.w, 0.0, frame->width - 1.0);
        target.search_y =
            clamped(target.cy + offset[1] * search.recovery_radius * target.h, 0.0, frame->height - 1.0);
        found = {target.cx, target.cy, target.w, target.h, top.best, psr, double(LOST)};
    } else {
        target.search_x = target.cx = found.cx;
        target.search_y = target.cy = found.cy;
        target.w = found.w;
        target.h = found.h;
        target.misses = 0;
    }
    if (search.interval) {
        bool due = fmod(target.age + 1, (double)search.interval) == 0 && (found.status == TRACKING || !recovers);
        target.age += 1;
        target.rate = due ? search.rate : 0.0;
    }
    results[frame->result + blockIdx.x] = found;
}
