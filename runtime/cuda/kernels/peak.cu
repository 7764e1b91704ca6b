// Responses to the joint scale-position peak and the new state of the target, as in runtime/locate.py, geometry.move
// and recovery.py, with float64 where they have it. The state stays on the device; a record goes to the host.
// In: responses (T * S, P, P) and tiles (T * S, ceil(P / 8)) of invert.cu, colour (T, P, P) or null. Out: targets
// (slots,), results (T,), and windows (T,) for regress.cu if they are not null.
#include "geometry.cuh"
#include "tile.cuh"

// Offset of the peak of the parabola through three neighbouring samples.
__device__ inline double parabola(double before, double top, double after) {
    double curvature = 2 * top - before - after;
    return curvature > 0 ? 0.5 * (after - before) / curvature : 0.0;
}

__device__ inline int shifted(int index, int size) { // wrapped index to signed displacement
    return index > (size - 1) / 2 ? index - size : index;
}

// x ** n for a small whole n
__device__ inline double power(double x, int n) {
    double product = 1;
    for (int i = 0; i < n; i++) product *= x;
    return product;
}

// grid T, block 128
extern "C" __global__ void __launch_bounds__(128, 4) peak(
    const float* responses, const float* colour, const Tile* tiles, const Frame* frame_pointer,
    const Search* search_pointer, const int* slots, Target* targets, CellWindow* windows, Measurement* results) {
    __shared__ Tile best[MAX_SCALES];
    __shared__ double penalised[MAX_SCALES];
    __shared__ double sums[4], squares[4];
    __shared__ Frame frame;
    __shared__ Target target;
    const Search& search = *search_pointer; // a reference: the constants of a copy would be spilled
    int scales = search.scales, size = search.size, tid = threadIdx.x, warp = tid / 32, lane = tid % 32;
    int count = (size + TILE_ROWS - 1) / TILE_ROWS, middle = (scales - 1) / 2;
    const float* response = responses + (size_t)blockIdx.x * scales * size * size;
    if (colour) colour += (size_t)blockIdx.x * size * size;
    if (tid == 32) frame = *frame_pointer; // in parallel with the loads of the others
    if (tid == 64) target = targets[slots[blockIdx.x]];
    for (int s = warp; s < scales; s += 4) {
        const Tile* own = tiles + ((size_t)blockIdx.x * scales + s) * count;
        Tile tile = {-INFINITY_F, size * size, 0.0f, 0.0f};
        for (int i = lane; i < count; i += 32) {
            Tile other = own[i];
            keep_best(tile.best, tile.index, other.best, other.index);
            tile.sum += other.sum;
            tile.square += other.square;
        }
        reduce(tile);
        if (lane == 0) {
            best[s] = tile;
            penalised[s] = tile.best * power(search.scale_penalty, abs(s - middle));
        }
    }
    __syncthreads();
    int chosen = 0;
    bool finite = true; // comparisons with a NaN are false
    for (int s = 0; s < scales; s++) {
        if (penalised[s] > penalised[chosen]) chosen = s;
        finite = finite && fabsf(best[s].sum) < INFINITY_F;
    }
    if (!finite) chosen = middle;
    const Tile top = best[chosen];
    response += (size_t)chosen * size * size;
    // Where a response is not finite, the first point of the middle scale: no motion. The score is then -infinity.
    int index = finite ? top.index : 0, row = index / size, column = index % size, side = 2 * search.reach + 1;
    float weight = search.colour_weight, score = finite ? response[index] : -INFINITY_F;
    float up = joint(response, colour, (row + size - 1) % size * size + column, weight);
    float down = joint(response, colour, (row + 1) % size * size + column, weight);
    float left = joint(response, colour, row * size + (column + size - 1) % size, weight);
    float right = joint(response, colour, row * size + (column + 1) % size, weight);
    double sum = 0, square = 0;
    for (int i = tid; side < size && i < side * side; i += 128) { // the square around the peak, wrapped
        int y = (row + i / side - search.reach + size) % size, x = (column + i % side - search.reach + size) % size;
        double value = response[y * size + x];
        sum += value;
        square += value * value;
    }
    for (int distance = 16; distance; distance >>= 1) {
        sum += __shfl_down_sync(~0u, sum, distance);
        square += __shfl_down_sync(~0u, square, distance);
    }
    if (lane == 0) {
        sums[warp] = sum;
        squares[warp] = square;
    }
    __syncthreads();
    if (tid) return;
    for (int i = 1; i < 4; i++) {
        sum += sums[i];
        square += squares[i];
    }

    double psr = 0;
    if (side < size) {
        double outside = (double)size * size - (double)side * side;
        double mean = (top.sum - sum) / outside;
        double deviation = sqrt(fmax((top.square - square) / outside - mean * mean, 0.0));
        if (finite && deviation > FLAT) psr = (score - mean) / deviation;
    }
    double d_row = finite ? parabola(up, top.best, down) : 0.0;
    double d_column = finite ? parabola(left, top.best, right) : 0.0;
    int exponent = chosen - middle;
    double d_scale = 0;
    if (scales > 1 && finite) { // the first and the last scale use the parabola of the scale next to them
        int center = min(max(chosen, 1), scales - 2), inward = center - chosen;
        const double* value = penalised + center;
        double offset = parabola(value[-1], value[0], value[1]);
        if (!inward)
            d_scale = offset;
        else if (2 * value[0] - value[-1] - value[1] > 0)
            d_scale = inward * clamped(1 + inward * offset, 0.0, 0.5);
    }

    double scale = exponent + d_scale, nearest = rint(scale), steps = power(search.scale_step, abs((int)nearest));
    double point = nearest < 0 ? search.point / steps : search.point * steps;
    double right_by = shifted(column, size) + d_column, down_by = shifted(row, size) + d_row;
    double step = exp(scale * search.log_step);
    Box box = limited(
        target.search_x + right_by * point * target.w, target.search_y + down_by * point * target.h,
        target.w / target.first_w * step, target.h / target.first_h * step, target, frame, search);
    bool sure = score >= search.uncertain_score;
    if (sure && !windows) box = without_offset(box, target.share, target, frame, search); // else after the regression
    if (windows) {
        double factor = nearest < 0 ? 1 / steps : steps, up = search.upsampling;
        double columns = rint(right_by / up), rows = rint(down_by / up);
        windows[blockIdx.x] = {
            target.search_x + columns * up * point * target.w,
            target.search_y + rows * up * point * target.h,
            target.w * factor,
            target.h * factor,
            target.share,
            sure ? (int)nearest + middle : -1,
            (int)rows,
            (int)columns};
    }
    double told = finite ? score : 0.0; // no number that is not finite leaves
    Measurement found = {
        box.cx, box.cy, box.w, box.h, told, psr, double(sure ? TRACKING : UNCERTAIN)};
    bool recovers = search.recovery_radius > 0;
    bool missed = score < (target.misses > 1 ? search.uncertain_score : search.lost_score);
    if (missed && !recovers) found.status = LOST;
    if (missed && recovers && target.misses == 0) { // follow one weak peak, but keep the state
        target.misses = 1;
        target.search_x = found.cx;
        target.search_y = found.cy;
    } else if (missed && recovers) { // search around the place where the target was last seen
        const double* offset = SEARCH_OFFSETS[((int)target.misses - 1) % SEARCH_PLACES];
        target.misses += 1;
        target.search_x =
            clamped(target.cx + offset[0] * search.recovery_radius * target.w, 0.0, frame.width - 1.0);
        target.search_y =
            clamped(target.cy + offset[1] * search.recovery_radius * target.h, 0.0, frame.height - 1.0);
        found = {target.cx, target.cy, target.w, target.h, told, psr, double(LOST)};
    } else {
        target.search_x = target.cx = found.cx;
        target.search_y = target.cy = found.cy;
        target.w = found.w;
        target.h = found.h;
        target.misses = 0;
    }
    target.share *= OFFSET_FADE;
    if (search.interval) {
        bool due = ((int)target.age + 1) % search.interval == 0 && (found.status == TRACKING || !recovers);
        target.age += 1;
        target.rate = due ? search.rate : 0.0;
    }
    found.seen_x = target.cx;
    found.seen_y = target.cy;
    found.seen_w = target.w;
    found.seen_h = target.h;
    found.search_x = target.search_x;
    found.search_y = target.search_y;
    targets[slots[blockIdx.x]] = target;
    results[frame.result + blockIdx.x] = found;
}
