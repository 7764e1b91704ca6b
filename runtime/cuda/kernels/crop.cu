// Frame to the patch pyramids of all targets, as runtime/patches.py to the bit: bilinear, border pixels repeated, minus
// the pixel mean. One thread per pixel; the frame is read through the L2 cache, the patches are written coalesced.
#include "common.cuh"

__device__ inline float limit(float x) {
    return rintf(fminf(fmaxf(x, 0.0f), 255.0f));
}

// The pixel (x, y) as B, G, R grey levels.
__device__ inline void fetch(const Frame& frame, int x, int y, float* bgr) {
    const uchar* p = frame.data + (size_t)y * frame.pitch + (size_t)x * frame.pixel;
    if (frame.u) { // ITU-R BT.601, limited range, nearest chroma; three digits, as OpenCV has them
        size_t at = (size_t)(y / frame.chroma_rows) * frame.chroma_pitch + (size_t)(x / 2) * frame.chroma_step;
        float luma = 1.164f * fmaxf(p[0] - 16.0f, 0.0f), u = frame.u[at] - 128.0f, v = frame.v[at] - 128.0f;
        bgr[0] = limit(luma + 2.018f * u);
        bgr[1] = limit(luma - 0.391f * u - 0.813f * v);
        bgr[2] = limit(luma + 1.596f * v);
    } else {
        bgr[0] = p[frame.blue];
        bgr[1] = p[frame.green];
        bgr[2] = p[frame.red];
    }
}

// grid (ceil(N / 32), ceil(N / 8), T * S), block (32, 8)
// factors (S,): extent of the patch in target sizes, (1 + padding) * alpha**s. learn: at the target, else at the centre
// of the search. cosine and sine of the patches' turn in the frame, clockwise as seen. patches (T * S, 3, N, N).
extern "C" __global__ void crop(
    const Frame* frame_pointer, const Target* targets, const int* slots, const double* factors, float* patches,
    int scales, int size, int learn, double cosine, double sine, float mean_b, float mean_g, float mean_r) {
    __shared__ double origin[2], step[2]; // of turned patches: the centre, and from pixel to pixel
    __shared__ float places[2][32]; // of upright ones: x of the block's columns, y of its rows
    int patch = blockIdx.z, axis = threadIdx.y; // axis 0: x, 1: y
    int column = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
    // float64, in two warps of a block alone, for it is slow, and no contraction, as on the host, so that the patches are
    // the same to the bit.
    if (axis < 2) {
        const Target& target = targets[slots[patch / scales]];
        double side = axis ? target.h : target.w, center = axis ? target.search_y : target.search_x;
        if (learn) center = axis ? target.cy : target.cx;
        double cell = __dmul_rn(side, factors[patch % scales]) / size;
        double first = __dadd_rn(center, -__dmul_rn(0.5 * (size - 1), cell));
        int index = (axis ? blockIdx.y * blockDim.y : blockIdx.x * blockDim.x) + threadIdx.x;
        places[axis][threadIdx.x] = (float)__dadd_rn(first, __dmul_rn(index, cell));
        if (threadIdx.x == 0) {
            origin[axis] = center;
            step[axis] = cell;
        }
    }
    __syncthreads();
    if (column >= size || row >= size) return;
    const Frame frame = *frame_pointer;
    float x = places[0][threadIdx.x], y = places[1][threadIdx.y];
    if (sine != 0) {
        double u = __dmul_rn(column - 0.5 * (size - 1), step[0]), v = __dmul_rn(row - 0.5 * (size - 1), step[1]);
        x = (float)__dadd_rn(__dadd_rn(origin[0], __dmul_rn(u, cosine)), -__dmul_rn(v, sine));
        y = (float)__dadd_rn(__dadd_rn(origin[1], __dmul_rn(u, sine)), __dmul_rn(v, cosine));
    }
    float left = floorf(x), top = floorf(y);
    // What is in memory holds all pixels that a patch reaches, so its border is the frame's where it is reached.
    int last_x = frame.right - 1, last_y = frame.bottom - 1;
    int x0 = min(max((int)left, frame.left), last_x), x1 = min(max((int)left + 1, frame.left), last_x);
    int y0 = min(max((int)top, frame.top), last_y), y1 = min(max((int)top + 1, frame.top), last_y);
    float corner[4][3];
    fetch(frame, x0, y0, corner[0]);
    fetch(frame, x1, y0, corner[1]);
    fetch(frame, x0, y1, corner[2]);
    fetch(frame, x1, y1, corner[3]);
    float mean[3] = {mean_b, mean_g, mean_r};
    float* out = patches + ((size_t)patch * 3 * size + row) * size + column;
    for (int c = 0; c < 3; c++) {
        float upper = __fmaf_rn(x - left, corner[1][c] - corner[0][c], corner[0][c]);
        float lower = __fmaf_rn(x - left, corner[3][c] - corner[2][c], corner[2][c]);
        out[(size_t)c * size * size] = __fmaf_rn(y - top, lower - upper, upper) - mean[c];
    }
}
