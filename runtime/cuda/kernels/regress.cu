// The box regression, as in runtime/regression.py: three convolutions and a linear layer see the winning patch beside
// the target's first one, and correct the box that locate.cu found. A warp computes the 32 channels of a row of
// outputs, one in each lane, from four input channels at a time. Sums have a fixed order: two runs are the same.
//
// W: cells of a window along an axis, even. W1, W2, W3: cells that the convolutions write; each halves them and rounds
// up. Weights are (C / 4, 3 rows, 3 taps, planes, 32 outputs, 4 channels), features between the layers channel-last.
#include "common.cuh"
#include "rules.cuh"

const int MAX_W1 = MAX_WINDOW / 2, MAX_W2 = (MAX_W1 + 1) / 2, MAX_W3 = (MAX_W2 + 1) / 2;
const int LANES = HEAD_CHANNELS; // and channels of the features in shared memory at a time

__device__ inline float add_product(float sum, float4 a, float4 b) {
    return sum + a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
}

__device__ inline float rectified(float x) {
    return x < 0.0f ? 0.0f : x; // a NaN stays one
}

// Add a row of inputs, of four channels, to the sums of a row of outputs. line: column -1 of the first plane, pitch
// numbers to the next column; with three planes, other is the second one, and the third is their product.
template <int PLANES, int COLUMNS>
__device__ inline void convolve_row(
    float (&sums)[COLUMNS], int columns, const float* line, const float* other, int pitch, const float4* weights) {
    float4 taps[3][PLANES];
#pragma unroll
    for (int i = 0; i < 3 * PLANES; i++) taps[i / PLANES][i % PLANES] = weights[i * LANES + threadIdx.x % LANES];
#pragma unroll
    for (int x = 0; x <= 2 * COLUMNS; x++) {
        if (x > 2 * columns) continue;
        float4 values[PLANES];
        values[0] = *(const float4*)(line + x * pitch);
        if (PLANES == 3) {
            float4 t = values[0], z = *(const float4*)(other + x * pitch);
            values[1 % PLANES] = z;
            values[2 % PLANES] = make_float4(t.x * z.x, t.y * z.y, t.z * z.z, t.w * z.w);
        }
#pragma unroll
        for (int plane = 0; plane < PLANES; plane++) {
            if (x % 2)
                sums[x / 2] = add_product(sums[x / 2], taps[1][plane], values[plane]);
            else {
                const int next = x / 2 % COLUMNS, last = x ? x / 2 - 1 : 0;
                if (x < 2 * COLUMNS) sums[next] = add_product(sums[next], taps[0][plane], values[plane]);
                if (x) sums[last] = add_product(sums[last], taps[2][plane], values[plane]);
            }
        }
    }
}

// The template of new targets: roots of the middle of their middle learnt patch's features (T * S, C, M, M).
// grid (ceil(C * W * W / 256), T), block 256. templates (slots, C, W, W).
extern "C" __global__ void __launch_bounds__(256) regress_keep(
    const float* features, const int* slots, float* templates, int scales, int channels, int size, int window) {
    int index = blockIdx.x * 256 + threadIdx.x, cells = window * window, border = (size - window) / 2;
    if (index >= channels * cells) return;
    int c = index / cells, y = index / window % window + border, x = index % window + border;
    const float* patch = features + ((size_t)blockIdx.y * scales + scales / 2) * channels * size * size;
    templates[(size_t)slots[blockIdx.y] * channels * cells + index] = sqrtf(patch[((size_t)c * size + y) * size + x]);
}

const int HEAD_WARPS = 8; // of regress
const int HEAD_PITCH = LANES + 4; // padded, so that the writes have fewer bank conflicts
const int PITCH1 = MAX_W1 + 1, PITCH2 = MAX_W2 + 1; // with the border of zeros
const int HEAD_ROWS = 3; // rows of a warp in a later layer, at most

union RegressMemory {
    float lines[2][3][MAX_WINDOW + 1][HEAD_PITCH]; // template and window: [row][column + 1][channel]
    float parts[HEAD_WARPS][MAX_W1][LANES]; // [warp][column][output]
    struct {
        float wide[PITCH1 * PITCH1 * LANES]; // inputs of the second layer, then parts of the sums of a layer
        float narrow[PITCH2 * PITCH2 * LANES]; // outputs of a layer
        float box[4];
    } later;
};

// The first convolution, of the template, the window and their product: a block computes a row of a target's outputs,
// its warps in turn four channels of 32.
__device__ inline void convolve_pair(
    RegressMemory& memory, const float* features, const float* templates, const CellWindow& place, const int* slots,
    const float4* weights, const float* bias, float* first, int scales, int channels, int size, int window) {
    auto& lines = memory.lines;
    auto& parts = memory.parts; // in the end
    int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, w1 = window / 2, row = blockIdx.x;
    const float* known = templates + (size_t)slots[blockIdx.y] * channels * window * window;
    const float* seen = features + ((size_t)blockIdx.y * scales + place.patch) * channels * size * size;
    int border = (size - window) / 2;
    float sums[MAX_W1] = {};
    for (int c0 = 0; c0 < channels; c0 += LANES) {
        __syncthreads();
        for (int i = tid; i < LANES * 3 * (window + 1); i += 32 * HEAD_WARPS) {
            int c = i / (3 * (window + 1)), r = i / (window + 1) % 3, x = i % (window + 1);
            int at_y = 2 * row + r - 1, at_x = x - 1; // in the window; it ends with the last output's taps
            int y = at_y + border + place.row, x_seen = at_x + border + place.column;
            bool inside = c0 + c < channels && at_y >= 0 && at_x >= 0;
            bool there = inside && y >= 0 && y < size && x_seen >= 0 && x_seen < size;
            lines[0][r][x][c] = inside ? known[((size_t)(c0 + c) * window + at_y) * window + at_x] : 0.0f;
            lines[1][r][x][c] = there ? sqrtf(seen[((size_t)(c0 + c) * size + y) * size + x_seen]) : 0.0f;
        }
        __syncthreads();
        if (c0 + 4 * warp >= channels) continue;
        for (int r = 0; r < 3; r++)
            convolve_row<3>(
                sums, w1, &lines[0][r][0][4 * warp], &lines[1][r][0][4 * warp], HEAD_PITCH,
                weights + ((c0 / 4 + warp) * 3 + r) * 9 * LANES);
    }
    __syncthreads();
#pragma unroll
    for (int x = 0; x < MAX_W1; x++) parts[warp][x][lane] = sums[x];
    __syncthreads();
    float* out = first + ((size_t)blockIdx.y * w1 + row) * w1 * LANES;
    for (int i = tid; i < w1 * LANES; i += 32 * HEAD_WARPS) {
        float sum = bias[i % LANES];
        for (int part = 0; part < HEAD_WARPS; part++) sum += parts[part][i / LANES][i % LANES];
        out[i] = rectified(sum);
    }
}

// A convolution of 32 channels inside a block: ROWS warps share the output rows in turn, the others have more of the
// input channels. in: cell (-1, -1) of rows of in_pitch cells. The outputs go to narrow, which may be in, too: rows of
// pitch cells, with a border of zeros around them.
template <int ROWS, int COLUMNS>
__device__ inline void convolve(
    RegressMemory& memory, const float* in, int in_pitch, int size, const float4* weights, const float* bias, int pitch,
    int border) {
    int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, row = warp % ROWS;
    float *parts = memory.later.wide, sums[HEAD_ROWS][COLUMNS] = {};
    for (int group = warp / ROWS; group < LANES / 4; group += HEAD_WARPS / ROWS)
#pragma unroll
        for (int r = 0; r < 3; r++)
#pragma unroll
            for (int i = 0; i < HEAD_ROWS; i++)
                if (row + i * ROWS < size)
                    convolve_row<1>(
                        sums[i], size, in + (2 * (row + i * ROWS) + r) * in_pitch * LANES + 4 * group, nullptr, LANES,
                        weights + (group * 3 + r) * 3 * LANES);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < HEAD_ROWS * COLUMNS; i++)
        parts[(warp * HEAD_ROWS * COLUMNS + i) * LANES + lane] = sums[i / COLUMNS][i % COLUMNS];
    __syncthreads();
    for (int i = tid; i < pitch * pitch * LANES; i += 32 * HEAD_WARPS) {
        int channel = i % LANES, x = i / LANES % pitch - border, y = i / LANES / pitch - border;
        bool inside = x >= 0 && x < size && y >= 0 && y < size;
        float sum = inside ? bias[channel] : 0.0f;
        for (int part = y % ROWS; inside && part < HEAD_WARPS; part += ROWS)
            sum += parts[((part * HEAD_ROWS + y / ROWS) * COLUMNS + x) * LANES + channel];
        memory.later.narrow[i] = rectified(sum);
    }
    __syncthreads();
}

// The other layers, and the state that they ask for, with float64 where geometry.py has it. first: (W1, W1, 32) of the
// target at this place of the batch.
__device__ inline void correct(
    RegressMemory& memory, const float* first, const CellWindow& place, const float4* weights2, const float* bias2,
    const float4* weights3, const float* bias3, const float* linear, const float* bias4, const Frame* frame_pointer,
    const Search& search, Target& target, Measurement* results, int window) {
    auto& [wide, narrow, box] = memory.later;
    int tid = threadIdx.x, warp = tid / 32, lane = tid % 32;
    int w1 = window / 2, w2 = (w1 + 1) / 2, w3 = (w2 + 1) / 2;
    for (int i = tid; i < PITCH1 * PITCH1 * LANES; i += 32 * HEAD_WARPS) {
        int y = i / LANES / PITCH1 - 1, x = i / LANES % PITCH1 - 1;
        bool inside = y >= 0 && y < w1 && x >= 0 && x < w1;
        wide[i] = inside ? first[(y * w1 + x) * LANES + i % LANES] : 0.0f;
    }
    __syncthreads();
    convolve<2, MAX_W2>(memory, wide, PITCH1, w2, weights2, bias2, PITCH2, 1);
    convolve<1, MAX_W3>(memory, narrow, PITCH2, w3, weights3, bias3, w3, 0);
    if (warp < 4) {
        float sum = 0.0f;
        for (int i = lane; i < w3 * w3 * LANES; i += 32) sum += linear[warp * w3 * w3 * LANES + i] * narrow[i];
        for (int distance = 16; distance; distance >>= 1) sum += __shfl_down_sync(~0u, sum, distance);
        if (lane == 0) box[warp] = sum + bias4[warp];
    }
    __syncthreads();
    if (tid) return;

    const Frame frame = *frame_pointer;
    Measurement& found = results[frame.result + blockIdx.y];
    Box state = {target.cx, target.cy, target.w, target.h};
    state = corrected(state, place, box, target, frame, search);
    state = without_offset(state, place.share, target, frame, search);
    target.cx = target.search_x = found.cx = found.seen_x = found.search_x = state.cx;
    target.cy = target.search_y = found.cy = found.seen_y = found.search_y = state.cy;
    target.w = found.w = found.seen_w = state.w;
    target.h = found.h = found.seen_h = state.h;
}

// grid (W1, T), block 256. features (T * S, C, M, M) of the searched patches; first (T, W1, W1, 32); linear (4, W3, W3,
// 32); targets and results as locate.cu left them. arrived (T,): see last_of.
extern "C" __global__ void __launch_bounds__(32 * HEAD_WARPS, 2) regress(
    const float* features, const float* templates, const CellWindow* windows, const int* slots, const float4* weights1,
    const float* bias1, float* first, const float4* weights2, const float* bias2, const float4* weights3,
    const float* bias3, const float* linear, const float* bias4, const Frame* frame, const Search* search,
    Target* targets, Measurement* results, unsigned* arrived, int scales, int channels, int size, int window) {
    __shared__ __align__(16) RegressMemory memory;
    const CellWindow& place = windows[blockIdx.y];
    if (place.patch < 0) return; // in all blocks of the target
    convolve_pair(
        memory, features, templates, place, slots, weights1, bias1, first, scales, channels, size, window);
    if (!last_of(gridDim.x, arrived + blockIdx.y)) return;
    correct(
        memory, first + (size_t)blockIdx.y * gridDim.x * gridDim.x * LANES, place, weights2, bias2, weights3, bias3,
        linear, bias4, frame, *search, targets[slots[blockIdx.y]], results, window);
}
