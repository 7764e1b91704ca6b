// Eq. 18 before the inverse DFT: the columns of zf, times the conjugate numerator, summed over the channels,
// divided by the denominator. The spectra zf never reach memory.
// In: half (T * S, C, K, N) of dft.cu; num (slots, C, K, R), den (slots, K, R). Out: gf (T * S, K, R).
//
// respond_dft    any N: the tiled product of columns.cuh; a block does 8 frequencies and their negatives.
// respond_fft_N  N = 32, 64, 128: a warp transforms one column of one channel at a time.
#include "columns.cuh"
#include "fft.cuh"

// grid (ceil(F / 8), K, T * S), block 64. basis (N, F): see columns.cuh.
extern "C" __global__ void __launch_bounds__(64) respond_dft(
    const float2* half, const float2* basis, const float2* num, const float* den, const int* slots, float2* gf,
    int scales, int channels, int size, int rows, int band, int frequencies, float regularization) {
    __shared__ float2 sums[16][2][9]; // [pair of channels][+f, -f][f], padded
    int f0 = blockIdx.x * 8, k = blockIdx.y, image = blockIdx.z, slot = slots[image / scales];
    int center = rows - frequencies, f = column_frequency(), c = column_channel();
    const float2* columns = half + ((size_t)image * channels * band + k) * size;
    float2 plus[2] = {}, minus[2] = {};
    for (int c0 = 0; c0 < channels; c0 += 32) {
        Columns z = column_dft(columns, (size_t)band * size, basis, size, frequencies, f0, c0, channels);
#pragma unroll
        for (int j = 0; j < 2; j++) {
            if (c0 + c + j >= channels) continue;
            const float2* numerator = num + (((size_t)slot * channels + c0 + c + j) * band + k) * rows;
#pragma unroll
            for (int i = 0; i < 2; i++) {
                int up = vertical_index(f0 + f + i, center, rows), down = vertical_index(-f0 - f - i, center, rows);
                if (up >= 0) plus[i] = add_conjugate_product(plus[i], numerator[up], z.plus[i][j]);
                if (down >= 0) minus[i] = add_conjugate_product(minus[i], numerator[down], z.minus[i][j]);
            }
        }
    }
    for (int i = 0; i < 2; i++) {
        sums[c / 2][0][f + i] = plus[i];
        sums[c / 2][1][f + i] = minus[i];
    }
    __syncthreads();
    if (threadIdx.x >= 16) return;
    int sign = threadIdx.x / 8, frequency = f0 + threadIdx.x % 8;
    int r = vertical_index(sign ? -frequency : frequency, center, rows);
    if (r < 0 || (sign && frequency == 0)) return;
    float2 sum = make_float2(0.0f, 0.0f);
    for (int pair = 0; pair < 16; pair++) {
        float2 part = sums[pair][sign][threadIdx.x % 8];
        sum = make_float2(sum.x + part.x, sum.y + part.y);
    }
    float scale = 1.0f / (den[((size_t)slot * band + k) * rows + r] + regularization);
    gf[((size_t)image * band + k) * rows + r] = make_float2(sum.x * scale, sum.y * scale);
}

// grid (K, T * S), block 256: a warp every 8th channel
template <int N>
__device__ inline void respond_fft(
    const float2* half, const float* window, const float2* table, const float2* num, const float* den,
    const int* slots, float2* gf, int scales, int channels, int rows, int band, int center, float regularization) {
    __shared__ float2 sums[8][N];
    int k = blockIdx.x, image = blockIdx.y, slot = slots[image / scales];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const Twiddles<N> twiddles(table);
    float w[N / 32];
    float2 sum[N / 32] = {};
#pragma unroll
    for (int j = 0; j < N / 32; j++) w[j] = window[lane + 32 * j];
    for (int c = warp; c < channels; c += 8) {
        const float2* column = half + (((size_t)image * channels + c) * band + k) * N;
        const float2* numerator = num + (((size_t)slot * channels + c) * band + k) * rows;
        float2 x[N / 32];
#pragma unroll
        for (int j = 0; j < N / 32; j++) {
            float2 value = column[lane + 32 * j];
            x[j] = make_float2(value.x * w[j], value.y * w[j]);
        }
        warp_fft<N>(x, twiddles);
#pragma unroll
        for (int q = 0; q < N / 32; q++) {
            int r = vertical_index(fft_frequency<N>(q), center, rows);
            if (r >= 0) sum[q] = add_conjugate_product(sum[q], numerator[r], x[q]);
        }
    }
#pragma unroll
    for (int q = 0; q < N / 32; q++) {
        int r = vertical_index(fft_frequency<N>(q), center, rows);
        if (r >= 0) sums[warp][r] = sum[q];
    }
    __syncthreads();
    for (int r = threadIdx.x; r < rows; r += 256) {
        float2 total = make_float2(0.0f, 0.0f);
        for (int i = 0; i < 8; i++) total = make_float2(total.x + sums[i][r].x, total.y + sums[i][r].y);
        float scale = 1.0f / (den[((size_t)slot * band + k) * rows + r] + regularization);
        gf[((size_t)image * band + k) * rows + r] = make_float2(total.x * scale, total.y * scale);
    }
}

#define RESPOND_FFT(N) \
    extern "C" __global__ void __launch_bounds__(256, 2) respond_fft_##N( \
        const float2* half, const float* window, const float2* table, const float2* num, const float* den, \
        const int* slots, float2* gf, int scales, int channels, int rows, int band, int center, \
        float regularization) { \
        respond_fft<N>( \
            half, window, table, num, den, slots, gf, scales, channels, rows, band, center, regularization); \
    }
RESPOND_FFT(32)
RESPOND_FFT(64)
RESPOND_FFT(128)
