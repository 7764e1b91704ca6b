// The colour model, as in runtime/colour.py: the response of a target's histograms to the searched patch of the current
// size, and their update from the learnt one. Counts are integers, and sums have a fixed order: two runs are the same.
// In and out: histograms (slots, 2, COLOURS), of the target and of its surroundings.
#include "common.cuh"

// The grey levels that a patch (3, N, N) lacks, by channel.
struct PixelMean { float b, g, r; };

__device__ inline int bin_of(float level) {
    return (int)fminf(fmaxf(level * (COLOUR_BINS / 256.0f), 0.0f), COLOUR_BINS - 1.0f);
}

// The colour of a pixel of a patch, as a cell of a histogram.
__device__ inline int colour_of(const float* patch, int pixel, int pixels, PixelMean mean) {
    int b = bin_of(patch[pixel] + mean.b), g = bin_of(patch[pixels + pixel] + mean.g);
    return (b * COLOUR_BINS + g) * COLOUR_BINS + bin_of(patch[2 * pixels + pixel] + mean.r);
}

// The patch (3, N, N) of the current size of target t, in patches (T * S, 3, N, N).
__device__ inline const float* middle_patch(const float* patches, int t, int scales, int pixels) {
    return patches + ((size_t)t * scales + scales / 2) * 3 * pixels;
}

// A block computes 8 rows of one target's response: first the vertical means of their boxes into shared memory.
// grid (ceil(P / 8), T), block 128. means (N, P): the share of each pixel in each box, along an axis; spans (P, 2): the
// first and last + 1 pixel of each box. colour (T, P, P).
extern "C" __global__ void __launch_bounds__(128) colour_respond(
    const float* patches, const float* histograms, const int* slots, const float* means, const int2* spans,
    float* colour, int scales, int size, int points, float mean_b, float mean_g, float mean_r) {
    const int ROWS = TILE_ROWS;
    __shared__ float lines[ROWS][MAX_PATCH];
    int row0 = blockIdx.x * ROWS, rows = min(ROWS, points - row0), pixels = size * size;
    const float* patch = middle_patch(patches, blockIdx.y, scales, pixels);
    const float* target = histograms + (size_t)slots[blockIdx.y] * 2 * COLOURS;
    const float* surroundings = target + COLOURS;
    int first = size, last = 0;
    for (int i = 0; i < rows; i++) {
        first = min(first, spans[row0 + i].x);
        last = max(last, spans[row0 + i].y);
    }
    for (int x = threadIdx.x; x < size; x += 128) {
        float sum[ROWS] = {};
#pragma unroll 4
        for (int y = first; y < last; y++) { // 4: loads under way at once
            int cell = colour_of(patch, y * size + x, pixels, {mean_b, mean_g, mean_r});
            float own = target[cell] + NEUTRAL, likelihood = own / (own + (surroundings[cell] + NEUTRAL));
#pragma unroll
            for (int i = 0; i < ROWS; i++) // the last block repeats its last row
                sum[i] += means[y * points + row0 + min(i, rows - 1)] * likelihood;
        }
#pragma unroll
        for (int i = 0; i < ROWS; i++) lines[i][x] = sum[i];
    }
    __syncthreads();
    for (int index = threadIdx.x; index < rows * points; index += 128) {
        int i = index / points, column = index % points;
        int2 span = spans[column];
        float sum = 0.0f;
        for (int x = span.x; x < span.y; x++) sum += lines[i][x] * means[x * points + column];
        colour[((size_t)blockIdx.y * points + row0 + i) * points + column] = sum;
    }
}

// grid T, block 512. zones (N,): see runtime/colour.py. inner, outer: the pixels of the target and of its surroundings.
// gated: only the targets that locate.cu gave a learning rate.
extern "C" __global__ void __launch_bounds__(512) colour_learn(
    const float* patches, const int* zones, const Target* targets, const int* slots, float* histograms, int scales,
    int size, float mean_b, float mean_g, float mean_r, float inner, float outer, float rate, int gated) {
    __shared__ int counts[2][COLOURS];
    int slot = slots[blockIdx.x], pixels = size * size;
    if (gated && targets[slot].rate == 0) return;
    const float* patch = middle_patch(patches, blockIdx.x, scales, pixels);
    for (int i = threadIdx.x; i < 2 * COLOURS; i += 512) counts[i / COLOURS][i % COLOURS] = 0;
    __syncthreads();
#pragma unroll 4
    for (int i = threadIdx.x; i < pixels; i += 512) {
        int zone = max(zones[i / size], zones[i % size]);
        if (zone != 1) atomicAdd(&counts[zone / 2][colour_of(patch, i, pixels, {mean_b, mean_g, mean_r})], 1);
    }
    __syncthreads();
    float* own = histograms + (size_t)slot * 2 * COLOURS;
    for (int i = threadIdx.x; i < 2 * COLOURS; i += 512)
        own[i] = blend(own[i], counts[i / COLOURS][i % COLOURS] / (i < COLOURS ? inner : outer), rate);
}
