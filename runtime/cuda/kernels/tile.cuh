// The joint response, and the maximum and the sums of a tile of a response, for locate.cu and peak.cuh.
#pragma once
#include "common.cuh"

// A sample of the joint response, from the filter's and the colour model's (null: none), as runtime/locate.py.
__device__ inline float joint(const float* filter, const float* colour, int index, float weight) {
    return colour ? __fmaf_rn(weight, colour[index], (1 - weight) * filter[index]) : filter[index];
}

// The higher value; of equal ones the lower index, as NumPy's argmax.
__device__ inline void keep_best(float& best, int& index, float value, int other) {
    if (value > best || (value == best && other < index)) {
        best = value;
        index = other;
    }
}

// The tiles of a warp's lanes as one, in lane 0.
__device__ inline void reduce(Tile& tile) {
    for (int distance = 16; distance; distance >>= 1) {
        float best = __shfl_down_sync(~0u, tile.best, distance);
        int index = __shfl_down_sync(~0u, tile.index, distance);
        tile.sum += __shfl_down_sync(~0u, tile.sum, distance);
        tile.square += __shfl_down_sync(~0u, tile.square, distance);
        keep_best(tile.best, tile.index, best, index);
    }
}
