// Shared by several kernels. No system headers: the source must compile with NVRTC alone.
//
// Shapes: T targets, S scales, C channels, N patch size, K x R band: K horizontal frequencies 0 ... K-1, R
// vertical ones -center ... R-1-center (spcnet/runtime/dcf.py). On the device the vertical frequency is the fast
// index. Half-precision numbers are passed as their 16 bits.
#pragma once

typedef unsigned char uchar;
typedef unsigned short half_bits;

#include "layout.cuh" // constants and structures, written by ../layout.py

#define RULE __device__ inline // for rules.cuh

const int MAX_BAND = MAX_SIZE / 2 + 1; // K
#define INFINITY_F __int_as_float(0x7f800000)

__device__ inline float2 multiply(float2 a, float2 b) {
    return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

// acc + conj(a) * b
__device__ inline float2 add_conjugate_product(float2 acc, float2 a, float2 b) {
    return make_float2(acc.x + a.x * b.x + a.y * b.y, acc.y + a.x * b.y - a.y * b.x);
}

// old + rate * (learnt - old); with a rate of 1 the old value may be uninitialised.
__device__ inline float blend(float old, float learnt, float rate) {
    return rate == 1.0f ? learnt : old + rate * (learnt - old);
}

// Local response normalisation: squares is the sum over 5 channels, alpha that of the formula, over 5.
__device__ inline float normalised(float x, float squares, float alpha) {
    float root = rsqrtf(1.0f + alpha * squares);
    return x * root * sqrtf(root);
}

// True in the block that is the last of so many to come here with this count, and then sees what the others wrote
// before, if it does not read through the read-only cache. The count is 0 before and after: it wraps.
__device__ inline bool last_of(unsigned blocks, unsigned* arrived) {
    __shared__ bool last;
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence(); // the writes of this block, which the barrier has ordered before, come before its arrival
        last = atomicInc(arrived, blocks - 1) == blocks - 1;
        __threadfence(); // and the arrivals of the others before the reads that the barrier orders after
    }
    __syncthreads();
    return last;
}
