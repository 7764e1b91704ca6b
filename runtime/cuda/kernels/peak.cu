// Responses to the joint scale-position peak and the new state of the target, as in runtime/locate.py, geometry.move
// and recovery.py, with float64 where they have it. The state stays on the device; a record goes to the host.
// In: responses (T * S, P, P) and tiles (T * S, ceil(P / 8)) of invert.cu, colour (T, P, P) or null. Out: targets
// (slots,), results (T,), and windows (T,) for regress.cu if they are not null.
#include "common.cuh"
#include "rules.cuh"
#include "tile.cuh"

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

    double psr = finite ? sidelobe_ratio(score, top.sum, top.square, sum, square, size, side) : 0.0;
    Shift shift = {0, 0, 0};
    if (finite)
        shift = {
            chosen - middle + scale_offset(penalised, scales, chosen),
            displacement(row, size) + parabola(up, top.best, down),
            displacement(column, size) + parabola(left, top.best, right)};
    Box box = moved(shift, target, frame, search);
    bool sure = score >= search.uncertain_score;
    if (windows)
        windows[blockIdx.x] = cell_window(shift, sure, target, search); // the regression goes on from the box
    else if (sure)
        box = without_offset(box, target.share, target, frame, search);
    Measurement found = settle(target, box, score, psr, frame, search);
    targets[slots[blockIdx.x]] = target;
    results[frame.result + blockIdx.x] = found;
}
