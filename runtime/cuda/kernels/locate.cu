// Spectra to responses, and their peak to the new states of the targets (peak.cuh).
// In: gf (T * S, K, R), colour (T, P, P) or null. Out: responses (T * S, P, P), tiles (T * S, ceil(P / 8)), targets
// (slots,), results (T,), and windows (T,) for regress.cu if they are not null. arrived (T,): see last_of.
#include "common.cuh"
#include "peak.cuh"
#include "tile.cuh"

union LocateMemory {
    struct {
        float2 lines[MAX_BAND][TILE_ROWS]; // spectra of the 8 rows
        Tile warps[4];
    } tile;
    PeakMemory peak;
};

// The responses of 8 rows, and their sums and the maximum of the joint response. The band is small, so the inverse DFT
// is two products with constant matrices: first the vertical transform of the rows, into shared memory.
__device__ inline void invert(
    LocateMemory& memory, const float2* gf, const float2* inverse_rows, const float2* inverse_columns,
    const float* colour, float* responses, Tile* tiles, int size, int rows, int band, float weight) {
    const int ROWS = TILE_ROWS;
    auto& [lines, warps] = memory.tile;
    int row0 = blockIdx.x * ROWS, image = blockIdx.z * gridDim.y + blockIdx.y, tid = threadIdx.x;
    responses += (size_t)image * size * size;
    if (colour) colour += (size_t)blockIdx.z * size * size;
    const float2* spectrum = gf + (size_t)image * band * rows;
    for (int i = tid; i < band * ROWS; i += 128) {
        int k = i / ROWS, row = row0 + i % ROWS;
        float2 sum = make_float2(0.0f, 0.0f);
        if (row < size)
#pragma unroll 8
            for (int r = 0; r < rows; r++) { // 8: loads under way at once
                float2 p = multiply(spectrum[k * rows + r], inverse_rows[r * size + row]);
                sum = make_float2(sum.x + p.x, sum.y + p.y);
            }
        lines[k][i % ROWS] = sum;
    }
    __syncthreads();
    Tile tile = {-INFINITY_F, size * size, 0.0f, 0.0f};
    for (int column = tid; column < size; column += 128) {
        float sum[ROWS] = {};
#pragma unroll 8
        for (int k = 0; k < band; k++) {
            float2 wave = inverse_columns[k * size + column];
#pragma unroll
            for (int i = 0; i < ROWS; i++) sum[i] += lines[k][i].x * wave.x + lines[k][i].y * wave.y;
        }
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            if (row0 + i >= size) break;
            int index = (row0 + i) * size + column;
            responses[index] = sum[i];
            keep_best(tile.best, tile.index, joint(responses, colour, index, weight), index);
            tile.sum += sum[i];
            tile.square += sum[i] * sum[i];
        }
    }
    reduce(tile);
    if (tid % 32 == 0) warps[tid / 32] = tile;
    __syncthreads();
    for (int i = 1; tid == 0 && i < 4; i++) {
        keep_best(tile.best, tile.index, warps[i].best, warps[i].index);
        tile.sum += warps[i].sum;
        tile.square += warps[i].square;
    }
    if (tid == 0) tiles[(size_t)image * gridDim.x + blockIdx.x] = tile;
}

// grid (ceil(P / 8), S, T), block 128; with gf null, responses and tiles are there already, and the grid is (1, 1, T).
extern "C" __global__ void __launch_bounds__(128, 8) locate(
    const float2* gf, const float2* inverse_rows, const float2* inverse_columns, const float* colour,
    float* responses, Tile* tiles, const Frame* frame, const Search* search, const int* slots, Target* targets,
    CellWindow* windows, Measurement* results, unsigned* arrived, int size, int rows, int band, float weight) {
    __shared__ __align__(16) LocateMemory memory;
    if (gf)
        invert(memory, gf, inverse_rows, inverse_columns, colour, responses, tiles, size, rows, band, weight);
    if (last_of(gridDim.x * gridDim.y, arrived + blockIdx.z))
        find_peak(memory.peak, blockIdx.z, responses, colour, tiles, frame, search, slots, targets, windows, results);
}
