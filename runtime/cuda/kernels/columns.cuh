// The second half of the 2D DFT for any N: R vertical frequencies of the columns that dft.cu left, as a tiled
// product. The frequencies f and -f share their products with cosine and sine, which halves the work.
#pragma once
#include "common.cuh"

const int COLUMN_THREADS = 64; // of a block: 4 pairs of frequencies x 16 pairs of channels

// Spectra of 2 channels at 2 frequencies f, and at the frequencies -f. Index: [frequency][channel].
struct Columns {
    float2 plus[2][2], minus[2][2];
};

// The first frequency and the first channel of a thread inside the block's tile of 8 x 32.
__device__ inline int column_frequency() {
    return threadIdx.x % 4 * 2;
}

__device__ inline int column_channel() {
    return threadIdx.x / 4 * 2;
}

// half: the column k of channel 0 of an image, stride complex numbers to the next channel; basis (N, F): window
// times (cos, sin) of the F frequencies 0 ... F-1. The tile begins at frequency f0 and channel c0. All threads
// of the block must call this; the result outside is zero.
__device__ inline Columns column_dft(
    const float2* half, size_t stride, const float2* basis, int size, int frequencies, int f0, int c0, int channels) {
    const int CHUNK = 16;
    __shared__ __align__(16) float2 xs[CHUNK][34]; // [n][c], padded
    __shared__ __align__(16) float2 bs[CHUNK][8]; // [n][f]
    int tid = threadIdx.x, f = column_frequency(), c = column_channel();
    float2 even[2][2] = {}, odd[2][2] = {}; // sums with cosine, with sine
    for (int n0 = 0; n0 < size; n0 += CHUNK) {
        __syncthreads();
        for (int i = tid; i < CHUNK * 32; i += COLUMN_THREADS) {
            int n = i % CHUNK, channel = i / CHUNK;
            bool inside = n0 + n < size && c0 + channel < channels;
            xs[n][channel] = inside ? half[(size_t)(c0 + channel) * stride + n0 + n] : make_float2(0.0f, 0.0f);
        }
        for (int i = tid; i < CHUNK * 8; i += COLUMN_THREADS) {
            int n = i / 8, frequency = i % 8;
            bool inside = n0 + n < size && f0 + frequency < frequencies;
            bs[n][frequency] = inside ? basis[(n0 + n) * frequencies + f0 + frequency] : make_float2(0.0f, 0.0f);
        }
        __syncthreads();
#pragma unroll 4
        for (int n = 0; n < CHUNK; n++) {
            float4 x = *(const float4*)&xs[n][c]; // two complex numbers
            float4 b = *(const float4*)&bs[n][f]; // two pairs of cosine and sine
            float2 values[2] = {make_float2(x.x, x.y), make_float2(x.z, x.w)};
            float2 waves[2] = {make_float2(b.x, b.y), make_float2(b.z, b.w)};
#pragma unroll
            for (int i = 0; i < 2; i++)
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    even[i][j].x += waves[i].x * values[j].x;
                    even[i][j].y += waves[i].x * values[j].y;
                    odd[i][j].x += waves[i].y * values[j].x;
                    odd[i][j].y += waves[i].y * values[j].y;
                }
        }
    }
    Columns z; // even -+ i odd
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 2; j++) {
            z.plus[i][j] = make_float2(even[i][j].x + odd[i][j].y, even[i][j].y - odd[i][j].x);
            z.minus[i][j] = make_float2(even[i][j].x - odd[i][j].y, even[i][j].y + odd[i][j].x);
        }
    return z;
}

// Vertical index r of frequency f, or -1 where the band has none. center is the index of frequency 0.
__device__ inline int vertical_index(int f, int center, int rows) {
    int r = f + center;
    return r >= 0 && r < rows ? r : -1;
}
