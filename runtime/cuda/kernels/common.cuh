// What several kernels share. No headers: the source must compile with NVRTC alone.
//
// Shapes: T targets, S scales, C channels, N patch size, K x R band: K horizontal frequencies 0 ... K-1, R
// vertical ones -center ... R-1-center (spcnet/runtime/dcf.py). On the device the vertical frequency is the fast
// index. Half-precision numbers are passed as their 16 bits.
#pragma once

typedef unsigned char uchar;
typedef unsigned short half_bits;

struct Frame {
    const uchar* data; // NV12: the luma plane
    const uchar* chroma; // NV12: the plane of interleaved U, V at half the resolution
    int width, height, pitch, chroma_pitch; // pixels, pixels, bytes, bytes
    int pixel; // bytes a pixel: 3, 4; 1 is NV12
    int red, blue; // byte of the channel inside a pixel
    int result; // record of the result buffer where the results of this frame begin
};

struct Target { // state of one target, in pixels; float64, as on the host
    double cx, cy, w, h;
    double first_w, first_h;
    double age; // frames since it was added
    double rate; // share of the next learnt spectra in the filter; 0: do not learn
    double misses; // frames in a row without a sure peak
    double look_x, look_y; // centre of the next search: the target's, or another after a miss
};

struct Tile { // of a response: its maximum and where (row * N + column), the sums of its samples and their squares
    float best;
    int index;
    float sum, square;
};

const int MAX_SIZE = 256; // N
const int MAX_BAND = MAX_SIZE / 2 + 1; // K
const int MAX_SCALES = 33; // S
#define INFINITY_F __int_as_float(0x7f800000)

__device__ inline float2 multiply(float2 a, float2 b) {
    return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

// acc + conj(a) * b
__device__ inline float2 add_conjugate_product(float2 acc, float2 a, float2 b) {
    return make_float2(acc.x + a.x * b.x + a.y * b.y, acc.y + a.x * b.y - a.y * b.x);
}

// old + rate * (learnt - old); a rate of 1 forgets the old value, which may be uninitialised.
__device__ inline float blend(float old, float learnt, float rate) {
    return rate == 1.0f ? learnt : old + rate * (learnt - old);
}

#ifdef CUDA_CPU_SHIM
__device__ inline half_bits to_half(float x) {
    return cpu_float_to_half(x);
}
#else
__device__ inline half_bits to_half(float x) {
    half_bits h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
    return h;
}
#endif
