// The FFT of 32, 64 or 128 points by one warp, in registers and shuffles.
#pragma once
#include "common.cuh"

// Twiddle factors of one lane for a transform of N = 32 J points, N a power of two, kept in registers.
template <int N> struct Twiddles {
    float2 first[N / 32]; // W_N**(lane * q)
    float2 stage[5]; // of the 32-point transform across the lanes

    // table (N,): W_N**i = exp(-2 pi i / N)
    __device__ explicit Twiddles(const float2* table) {
        int lane = threadIdx.x % 32;
#pragma unroll
        for (int q = 0; q < N / 32; q++) first[q] = table[lane * q];
#pragma unroll
        for (int i = 0; i < 5; i++) stage[i] = table[(lane & ((16 >> i) - 1)) * (N / 32 << i)];
    }
};

__device__ inline int reversed_lane() {
    return __brev(threadIdx.x % 32) >> 27;
}

// DFT of N = 32 J points by a warp. In: x[j] is sample lane + 32 j. Out: x[q] is frequency J * reversed_lane() + q.
// A J-point transform inside each lane, then J transforms of 32 points across the lanes, decimation in frequency.
template <int N> __device__ inline void warp_fft(float2 (&x)[N / 32], const Twiddles<N>& w) {
    if (N == 64) {
        float2 a = x[0], b = x[1 % (N / 32)];
        x[0] = make_float2(a.x + b.x, a.y + b.y);
        x[1 % (N / 32)] = make_float2(a.x - b.x, a.y - b.y);
    }
    if (N == 128) {
        const int i1 = 1 % (N / 32), i2 = 2 % (N / 32), i3 = 3 % (N / 32);
        float2 s = make_float2(x[0].x + x[i2].x, x[0].y + x[i2].y), d = make_float2(x[0].x - x[i2].x, x[0].y - x[i2].y);
        float2 t = make_float2(x[i1].x + x[i3].x, x[i1].y + x[i3].y);
        float2 u = make_float2(x[i1].y - x[i3].y, x[i3].x - x[i1].x); // -i (x1 - x3)
        x[0] = make_float2(s.x + t.x, s.y + t.y);
        x[i1] = make_float2(d.x + u.x, d.y + u.y);
        x[i2] = make_float2(s.x - t.x, s.y - t.y);
        x[i3] = make_float2(d.x - u.x, d.y - u.y);
    }
#pragma unroll
    for (int q = 1; q < N / 32; q++) x[q] = multiply(x[q], w.first[q]);
#pragma unroll
    for (int i = 0; i < 5; i++) {
        int distance = 16 >> i;
        bool lower = threadIdx.x & distance;
#pragma unroll
        for (int q = 0; q < N / 32; q++) {
            float2 other = make_float2(
                __shfl_xor_sync(0xffffffffu, x[q].x, distance), __shfl_xor_sync(0xffffffffu, x[q].y, distance));
            if (lower)
                x[q] = multiply(make_float2(other.x - x[q].x, other.y - x[q].y), w.stage[i]);
            else
                x[q] = make_float2(x[q].x + other.x, x[q].y + other.y);
        }
    }
}

// The signed frequency of x[q] after warp_fft: -(N - 1) / 2 ... N / 2, as in dcf.py.
template <int N> __device__ inline int fft_frequency(int q) {
    int frequency = N / 32 * reversed_lane() + q;
    return frequency > N / 2 ? frequency - N : frequency;
}
