// Features to the K lowest horizontal frequencies of their windowed rows: the first half of the 2D DFT.
// In: features (images, N, N) float. Out: half (images, K, N) complex, the row index fast, so that the second
// half (respond.cu, learn.cu) reads contiguous columns. The vertical window is applied there.
//
// rows_dft     any N: a tiled product with the constant matrix (N, K), window folded in. 16 multiply-adds for
//              each pair of 16-byte reads from shared memory instead of 2 for each pair of reads from global.
// rows_fft_N   N = 32, 64, 128: one warp transforms two real rows as one complex one, in registers and
//              shuffles, and only the K wanted frequencies leave: 5 times fewer operations at N = 128, K = 24.
#include "fft.cuh"

// A block computes 32 rows x 32 frequencies of one image; a thread 4 rows x 2 frequencies.
// grid (ceil(N / 32), ceil(K / 32), images), block 128
extern "C" __global__ void __launch_bounds__(128)
rows_dft(const float* features, const float2* columns, float2* half, int size, int band) {
    const int CHUNK = 32;
    __shared__ __align__(16) float xs[CHUNK][36]; // [n][row], padded
    __shared__ __align__(16) float2 ws[CHUNK][32]; // [n][k]
    int row0 = blockIdx.x * 32, k0 = blockIdx.y * 32, tid = threadIdx.x;
    int r = tid % 8 * 4, k = tid / 8 * 2;
    const float* image = features + (size_t)blockIdx.z * size * size;
    float2 sum[2][4] = {};
    for (int n0 = 0; n0 < size; n0 += CHUNK) {
        __syncthreads();
        for (int i = tid; i < CHUNK * 32; i += 128) {
            int n = i % CHUNK, row = i / CHUNK;
            bool inside = n0 + n < size && row0 + row < size;
            xs[n][row] = inside ? image[(size_t)(row0 + row) * size + n0 + n] : 0.0f;
        }
        for (int i = tid; i < CHUNK * 32; i += 128) {
            int kk = i % 32, n = i / 32;
            bool inside = n0 + n < size && k0 + kk < band;
            ws[n][kk] = inside ? columns[(n0 + n) * band + k0 + kk] : make_float2(0.0f, 0.0f);
        }
        __syncthreads();
        if (k0 + k >= band) continue; // the barriers are above
#pragma unroll 8
        for (int n = 0; n < CHUNK; n++) {
            float4 x = *(const float4*)&xs[n][r];
            float4 w = *(const float4*)&ws[n][k]; // two complex numbers
            float rows[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                sum[0][i].x += rows[i] * w.x;
                sum[0][i].y += rows[i] * w.y;
                sum[1][i].x += rows[i] * w.z;
                sum[1][i].y += rows[i] * w.w;
            }
        }
    }
    for (int j = 0; j < 2 && k0 + k + j < band; j++) {
        float2* out = half + ((size_t)blockIdx.z * band + k0 + k + j) * size + row0 + r;
        for (int i = 0; i < 4 && row0 + r + i < size; i++) out[i] = sum[j][i];
    }
}

// A block transforms 32 rows of one image, each of its 4 warps 4 pairs of rows.
// grid (N / 32, images), block 128. window (N,), table (N,).
template <int N>
__device__ inline void rows_fft(
    const float* features, const float* window, const float2* table, float2* half, int band) {
    __shared__ float2 spectrum[4][N];
    __shared__ float2 tile[N / 2 + 1][33]; // [k][row], padded
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, row0 = blockIdx.x * 32;
    const float* image = features + ((size_t)blockIdx.y * N + row0) * N;
    const Twiddles<N> twiddles(table);
    float w[N / 32];
#pragma unroll
    for (int j = 0; j < N / 32; j++) w[j] = window[lane + 32 * j];
    for (int row = warp * 8; row < warp * 8 + 8; row += 2) {
        float2 x[N / 32];
#pragma unroll
        for (int j = 0; j < N / 32; j++) {
            const float* sample = image + row * N + lane + 32 * j;
            x[j] = make_float2(sample[0] * w[j], sample[N] * w[j]);
        }
        warp_fft<N>(x, twiddles);
#pragma unroll
        for (int q = 0; q < N / 32; q++) spectrum[warp][N / 32 * reversed_lane() + q] = x[q];
        __syncwarp();
        for (int k = lane; k < band; k += 32) { // the spectra of the real and the imaginary part
            float2 a = spectrum[warp][k], b = spectrum[warp][(N - k) % N];
            tile[k][row] = make_float2(0.5f * (a.x + b.x), 0.5f * (a.y - b.y));
            tile[k][row + 1] = make_float2(0.5f * (a.y + b.y), 0.5f * (b.x - a.x));
        }
        __syncwarp();
    }
    __syncthreads();
    for (int i = threadIdx.x; i < band * 32; i += 128)
        half[((size_t)blockIdx.y * band + i / 32) * N + row0 + i % 32] = tile[i / 32][i % 32];
}

#define ROWS_FFT(N) \
    extern "C" __global__ void __launch_bounds__(128) rows_fft_##N( \
        const float* features, const float* window, const float2* table, float2* half, int band) { \
        rows_fft<N>(features, window, table, half, band); \
    }
ROWS_FFT(32)
ROWS_FFT(64)
ROWS_FFT(128)
