// Responses to the joint scale-position peak and the new state of the target, as in runtime/locate.py, geometry.move
// and recovery.py, with float64 where they have it. The state stays on the device; a record goes to the host.
#pragma once
#include "common.cuh"
#include "rules.cuh"
#include "tile.cuh"

// Its shared memory.
struct PeakMemory {
    Tile best[MAX_SCALES];
    double penalised[MAX_SCALES];
    double sums[4], squares[4];
    double psr;
    Shift shift;
    Box box;
    Frame frame;
    Target target;
};

// By a block of 128 threads for the target at a place of the batch; the arguments are those of locate.cu.
__device__ inline void find_peak(
    PeakMemory& memory, int place, const float* responses, const float* colour, const Tile* tiles,
    const Frame* frame_pointer, const Search* search_pointer, const int* slots, Target* targets, CellWindow* windows,
    Measurement* results) {
    auto& [best, penalised, sums, squares, psr, shift, box, frame, target] = memory;
    const Search& search = *search_pointer; // a reference: the constants of a copy would be spilled
    int scales = search.scales, size = search.size, tid = threadIdx.x, warp = tid / 32, lane = tid % 32;
    int count = (size + TILE_ROWS - 1) / TILE_ROWS, middle = (scales - 1) / 2;
    const float* response = responses + (size_t)place * scales * size * size;
    if (colour) colour += (size_t)place * size * size;
    if (tid == 32) frame = *frame_pointer; // in parallel with the loads of the others
    if (tid == 64) target = targets[slots[place]];
    for (int s = warp; s < scales; s += 4) {
        const Tile* own = tiles + ((size_t)place * scales + s) * count;
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
    const Tile& top = best[chosen];
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
    if (tid == 0)
        shift = {
            finite ? chosen - middle + scale_offset(penalised, scales, chosen) : 0.0,
            finite ? displacement(row, size) + parabola(up, top.best, down) : 0.0,
            finite ? displacement(column, size) + parabola(left, top.best, right) : 0.0};
    __syncthreads();
    bool sure = score >= search.uncertain_score;
    if (tid == 0) {
        box = moved(shift, target, frame, search);
        if (sure && !windows) box = without_offset(box, target.share, target, frame, search);
    }
    if (tid == 32 && windows) // the regression goes on from the box
        windows[place] = cell_window(shift, sure, target, search);
    if (tid == 64) {
        sum = square = 0;
        for (int i = 0; i < 4; i++) {
            sum += sums[i];
            square += squares[i];
        }
        psr = finite ? sidelobe_ratio(score, top.sum, top.square, sum, square, size, side) : 0.0;
    }
    __syncthreads();
    if (tid) return;
    Measurement found = settle(target, box, score, psr, frame, search);
    targets[slots[place]] = target;
    results[frame.result + place] = found;
}
