// The backbone without any NVIDIA library: 3x3 convolutions (zero border) with bias and ReLU; after the last one local
// response normalisation over 5 channels: y = x / (1 + alpha / 5 * sum of squares) ** 0.75. For GPUs without the
// tensor cores that conv_mma.cu needs.
//
// A thread computes 4 neighbouring pixels of 8 channels in registers: 96 multiply-adds for 6 + 24 numbers from shared
// memory. The normalisation needs the channels of neighbouring threads only at the edges of their groups, which go
// through shared memory.
#include "common.cuh"

const int TILE_X = 16, TILE_Y = 8, PIXELS = TILE_X * TILE_Y; // of a block

template <int STRIDE> struct Window { // of the inputs of a block
    static const int CHUNK = 4; // channels at a time
    static const int HIGH = (TILE_Y - 1) * STRIDE + 3, WIDE = (TILE_X - 1) * STRIDE + 3, PITCH = (WIDE + 3) / 4 * 4;
    static const int INPUTS = CHUNK * HIGH * PITCH, WEIGHTS = CHUNK * 9 * MAX_CHANNELS;
    static const int EDGES = MAX_CHANNELS / 8 * 4 * PIXELS;
    static const int FLOATS = INPUTS + WEIGHTS > EDGES ? INPUTS + WEIGHTS : EDGES;
};

// x (B, cin, N, N), M = ceil(N / STRIDE).
// grid (ceil(M / 16), ceil(M / 8), B), block (32, G) with G = ceil(cout / 8) groups of 8 channels.
// weight (cin, 9, 8 G), zeros beyond cout. y (B, cout, M, M).
// alpha 0: no normalisation.
template <int STRIDE>
__device__ inline void convolve(
    float* memory, const float* x, const float* weight, const float* bias, float* y, int size, int cin, int cout,
    float alpha) {
    typedef Window<STRIDE> W;
    const int CHUNK = W::CHUNK, REACH = 3 * STRIDE + 3; // REACH: inputs that 4 neighbouring outputs see in a row
    // The edges of the groups reuse the memory of the inputs.
    float(*tile)[W::HIGH][W::PITCH] = (float(*)[W::HIGH][W::PITCH])memory; // [CHUNK][y][x]
    float* weights = memory + W::INPUTS; // [CHUNK][9][8 G]
    int cells = (size + STRIDE - 1) / STRIDE;
    float(*edge)[4][PIXELS] = (float(*)[4][PIXELS])memory; // squares of channels 0, 1, 6, 7 of each group
    int groups = blockDim.y, group = threadIdx.y, tid = threadIdx.y * 32 + threadIdx.x, threads = groups * 32;
    int x0 = threadIdx.x % 4 * 4, y0 = threadIdx.x / 4; // of the thread's 4 pixels in the tile
    int left = blockIdx.x * TILE_X, top = blockIdx.y * TILE_Y, wide = groups * 8;
    const float* image = x + (size_t)blockIdx.z * cin * size * size;
    float sum[8][4] = {};
    for (int c0 = 0; c0 < cin; c0 += CHUNK) {
        int depth = min(CHUNK, cin - c0);
        __syncthreads();
        for (int i = tid; i < depth * W::HIGH * W::WIDE; i += threads) {
            int c = i / (W::HIGH * W::WIDE), v = i / W::WIDE % W::HIGH, u = i % W::WIDE;
            int row = top * STRIDE + v - 1, column = left * STRIDE + u - 1;
            bool inside = row >= 0 && row < size && column >= 0 && column < size;
            tile[c][v][u] = inside ? image[((size_t)(c0 + c) * size + row) * size + column] : 0.0f;
        }
        for (int i = tid; i < depth * 9 * wide; i += threads) weights[i] = weight[c0 * 9 * wide + i];
        __syncthreads();
        for (int c = 0; c < depth; c++)
#pragma unroll
            for (int dy = 0; dy < 3; dy++) {
                float in[REACH];
#pragma unroll
                for (int i = 0; i < REACH; i++) in[i] = tile[c][y0 * STRIDE + dy][x0 * STRIDE + i];
#pragma unroll
                for (int dx = 0; dx < 3; dx++) {
                    const float4* w = (const float4*)(weights + (c * 9 + dy * 3 + dx) * wide + group * 8);
                    float4 lower = w[0], upper = w[1];
                    float eight[8] = {lower.x, lower.y, lower.z, lower.w, upper.x, upper.y, upper.z, upper.w};
#pragma unroll
                    for (int o = 0; o < 8; o++)
#pragma unroll
                        for (int p = 0; p < 4; p++) sum[o][p] += eight[o] * in[p * STRIDE + dx];
                }
            }
    }
#pragma unroll
    for (int o = 0; o < 8; o++) {
        float b = group * 8 + o < cout ? bias[group * 8 + o] : 0.0f;
#pragma unroll
        for (int p = 0; p < 4; p++) sum[o][p] = fmaxf(sum[o][p] + b, 0.0f); // 0 beyond cout
    }
    if (alpha != 0.0f) {
        __syncthreads();
#pragma unroll
        for (int p = 0; p < 4; p++) {
            int pixel = y0 * TILE_X + x0 + p;
            edge[group][0][pixel] = sum[0][p] * sum[0][p];
            edge[group][1][pixel] = sum[1][p] * sum[1][p];
            edge[group][2][pixel] = sum[6][p] * sum[6][p];
            edge[group][3][pixel] = sum[7][p] * sum[7][p];
        }
        __syncthreads();
#pragma unroll
        for (int p = 0; p < 4; p++) {
            int pixel = y0 * TILE_X + x0 + p;
            float square[12]; // of the channels -2 ... 9 of the group
            square[0] = group ? edge[group - 1][2][pixel] : 0.0f;
            square[1] = group ? edge[group - 1][3][pixel] : 0.0f;
            square[10] = group + 1 < groups ? edge[group + 1][0][pixel] : 0.0f;
            square[11] = group + 1 < groups ? edge[group + 1][1][pixel] : 0.0f;
#pragma unroll
            for (int o = 0; o < 8; o++) square[o + 2] = sum[o][p] * sum[o][p];
#pragma unroll
            for (int o = 0; o < 8; o++)
                sum[o][p] = normalised(
                    sum[o][p], square[o] + square[o + 1] + square[o + 2] + square[o + 3] + square[o + 4], alpha);
        }
    }
    int row = top + y0;
    if (row >= cells) return;
#pragma unroll
    for (int p = 0; p < 4; p++) {
        int column = left + x0 + p;
        if (column >= cells) continue;
#pragma unroll
        for (int o = 0; o < 8; o++)
            if (group * 8 + o < cout)
                y[(((size_t)blockIdx.z * cout + group * 8 + o) * cells + row) * cells + column] = sum[o][p];
    }
}

extern "C" __global__ void __launch_bounds__(256) conv(
    const float* x, const float* weight, const float* bias, float* y, int size, int cin, int cout, float alpha) {
    __shared__ __align__(16) float memory[Window<1>::FLOATS];
    convolve<1>(memory, x, weight, bias, y, size, cin, cout, alpha);
}

extern "C" __global__ void __launch_bounds__(256) conv_by_2(
    const float* x, const float* weight, const float* bias, float* y, int size, int cin, int cout, float alpha) {
    __shared__ __align__(16) float memory[Window<2>::FLOATS];
    convolve<2>(memory, x, weight, bias, y, size, cin, cout, alpha);
}
