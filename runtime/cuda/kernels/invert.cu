// Spectra to responses, and the sums of each and the maximum of the joint response, in tiles of 8 rows, for the search
// of the peak. In: gf (T * S, K, R), colour (T, P, P) or null. Out: responses (T * S, P, P), tiles (T * S, ceil(P / 8)).
// The band is small, so the inverse DFT is two products with constant matrices.
// A block computes 8 rows: first the vertical transform of its rows into shared memory.
#include "tile.cuh"

// grid (ceil(P / 8), S, T), block 128
extern "C" __global__ void __launch_bounds__(128) invert(
    const float2* gf, const float2* inverse_rows, const float2* inverse_columns, const float* colour,
    float* responses, Tile* tiles, int size, int rows, int band, float weight) {
    const int ROWS = TILE_ROWS;
    __shared__ float2 lines[MAX_BAND][ROWS]; // spectra of the 8 rows
    __shared__ Tile warps[4];
    int row0 = blockIdx.x * ROWS, image = blockIdx.z * gridDim.y + blockIdx.y, tid = threadIdx.x;
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
        float* response = responses + (size_t)image * size * size;
        const float* own = colour ? colour + (size_t)blockIdx.z * size * size : nullptr;
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            if (row0 + i >= size) break;
            int index = (row0 + i) * size + column;
            response[index] = sum[i];
            keep_best(tile.best, tile.index, joint(response, own, index, weight), index);
            tile.sum += sum[i];
            tile.square += sum[i] * sum[i];
        }
    }
    reduce(tile);
    if (tid % 32 == 0) warps[tid / 32] = tile;
    __syncthreads();
    if (tid) return;
    for (int i = 1; i < 4; i++) {
        keep_best(tile.best, tile.index, warps[i].best, warps[i].index);
        tile.sum += warps[i].sum;
        tile.square += warps[i].square;
    }
    tiles[(size_t)image * gridDim.x + blockIdx.x] = tile;
}
