// The backbone on tensor cores (compute capability 7.5 and later): the layers of conv.cu as implicit GEMM, m16n8k16,
// FP16 operands with FP32 sums. A (pixels x inputs) is the window of each pixel, B (inputs x channels) the weights.
//
// PARTS 2     FP32: a number is the sum of two FP16 numbers, a = ah + al, and a b = ah bh + ah bl + al bh, which
//             leaves out al bl: about 2^-22 of the product.
// PARTS 1     FP16.
// conv_first  the first layer, from planes of float: the 27 inputs of a pixel, filled up to 32.
// conv_next   the others: 16 channels at a time, the next being copied to shared memory during the product.
//
// A block is 4 warps; a warp computes ROWS rows of 16 pixels, all 8 TILES channels. Between layers, features are packed
// as (B, M, M, cout / 16, PARTS, 16) half, all scaled by a power of two, so that they neither overflow nor lose bits:
// output = relu(factor * product + bias).
#include "common.cuh"

const int WARPS = 4, ACROSS = 16, K_STEP = 16; // ACROSS: pixels of a tile of A

#ifdef CUDA_CPU_SHIM
__device__ inline half_bits to_half(float x) {
    return cpu_float_to_half(x);
}
__device__ inline float from_half(half_bits x) {
    return cpu::from_half(x);
}
#else
__device__ inline half_bits to_half(float x) {
    half_bits h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
    return h;
}
__device__ inline float from_half(half_bits x) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(x));
    return f;
}
#endif

// D += A B: A 16 x 16, B 16 x 8 half, D 16 x 8 float, spread over the warp (PTX ISA, mma.m16n8k16): with g = lane / 4,
// t = lane % 4, and pairs of neighbouring columns of A, or rows of B: a[0], a[1] are A[g], A[g+8][2t, 2t+1], a[2], a[3]
// the same 8 columns on, b[0] is B[2t, 2t+1][g], b[1] 8 rows on; d[0..1] is D[g][2t, 2t+1], d[2..3] D[g+8][2t, 2t+1].
__device__ inline void mma(float (&d)[4], const unsigned* a, const unsigned* b) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif __CUDA_ARCH__ >= 750
#pragma unroll
    for (int i = 0; i < 2; i++)
        asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[2 * i]), "r"(a[2 * i + 1]), "r"(b[i]));
#endif // the host does not launch it on older devices
}

// The same for numbers in parts, high ones first: a [part][4], b [part][2]. FP32 is added to d outside of the tensor
// cores, which cut bits off.
template <int PARTS>
__device__ inline void product(float (&d)[4], const unsigned (&a)[4 * PARTS], const unsigned (&b)[2 * PARTS]) {
#ifdef CUDA_CPU_SHIM
    cpu_mma<PARTS>(d, a, b);
#else
    if (PARTS == 1) return mma(d, a, b);
    float sum[4] = {};
    mma(sum, a + 4 * (PARTS - 1), b);
    mma(sum, a, b + 2 * (PARTS - 1));
    mma(sum, a, b);
#pragma unroll
    for (int i = 0; i < 4; i++) d[i] += sum[i];
#endif
}

// 16 bytes from global to shared memory, or zeros, in the background where the device can: see wait_for_copies.
__device__ inline void copy_16(void* to, const void* from, bool inside) {
#if !defined(CUDA_CPU_SHIM) && __CUDA_ARCH__ >= 800
    unsigned address = (unsigned)__cvta_generic_to_shared(to);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(inside ? 16 : 0));
#else
    *(uint4*)to = inside ? *(const uint4*)from : make_uint4(0, 0, 0, 0);
#endif
}

__device__ inline void wait_for_copies() {
#if !defined(CUDA_CPU_SHIM) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;");
#endif
}

// sum += A B for 16 inputs. inputs: the warp's first pixel in shared memory, halves; next: from pixel to pixel, below:
// from row to row, part: from the high to the low halves. weight: fragments of B, [tile][lane][part][register].
template <int PARTS, int ROWS, int TILES>
__device__ inline void multiply(
    float (&sum)[ROWS][TILES][4], const half_bits* inputs, int next, int below, int part, const unsigned* weight) {
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    unsigned a[ROWS][4 * PARTS];
#pragma unroll
    for (int m = 0; m < ROWS; m++)
#pragma unroll
        for (int i = 0; i < 4 * PARTS; i++)
            a[m][i] = *(const unsigned*)(
                inputs + m * below + (g + i % 2 * 8) * next + i / 4 * part + i % 4 / 2 * 8 + t * 2);
#pragma unroll
    for (int n = 0; n < TILES; n++) {
        alignas(16) unsigned b[2 * PARTS];
        if (PARTS == 2)
            *(uint4*)b = ((const uint4*)weight)[n * 32 + lane];
        else
            *(uint2*)b = ((const uint2*)weight)[n * 32 + lane];
#pragma unroll
        for (int m = 0; m < ROWS; m++) product<PARTS>(sum[m][n], a[m], b);
    }
}

// Scale, bias, ReLU; then either packed for the next layer or planes y (B, cout, M, M), normalised unless alpha is 0.
// bias (8 TILES,): 0 beyond cout.
template <int PARTS, int ROWS, int TILES>
__device__ inline void finish(
    float (&sum)[ROWS][TILES][4], const float* bias, void* y, int cells, bool packed, int cout, float factor,
    float alpha) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    float2 biases[TILES];
#pragma unroll
    for (int n = 0; n < TILES; n++) biases[n] = ((const float2*)bias)[n * 4 + t];
#pragma unroll
    for (int m = 0; m < ROWS; m++)
#pragma unroll
        for (int low = 0; low < 2; low++) { // the pixels g, or g + 8
            int row = (blockIdx.y * WARPS + warp) * ROWS + m, column = blockIdx.x * ACROSS + g + low * 8;
            bool inside = row < cells && column < cells;
            float2 value[TILES]; // of the channels 8 n + 2 t and the next
#pragma unroll
            for (int n = 0; n < TILES; n++) {
                value[n].x = fmaxf(factor * sum[m][n][low * 2] + biases[n].x, 0.0f);
                value[n].y = fmaxf(factor * sum[m][n][low * 2 + 1] + biases[n].y, 0.0f);
            }
            if (packed) {
                size_t cell = ((size_t)blockIdx.z * cells + row) * cells + column;
                half_bits* out = (half_bits*)y + cell * (TILES / 2) * PARTS * 16 + 2 * t;
#pragma unroll
                for (int n = 0; n < TILES; n++) {
                    unsigned* to = (unsigned*)(out + n / 2 * PARTS * 16 + n % 2 * 8);
                    half_bits even = to_half(value[n].x), odd = to_half(value[n].y);
                    if (inside) to[0] = even | (unsigned)odd << 16;
                    if (inside && PARTS == 2)
                        to[8] = to_half(value[n].x - from_half(even))
                            | (unsigned)to_half(value[n].y - from_half(odd)) << 16;
                }
                continue;
            }
            float2 square[TILES + 2] = {}; // of the tiles -1 ... TILES
#pragma unroll
            for (int n = 0; n < TILES; n++)
                square[n + 1] = make_float2(value[n].x * value[n].x, value[n].y * value[n].y);
#pragma unroll
            for (int n = 0; n < TILES; n++) {
                if (alpha != 0.0f) { // the channels before and after lie in the neighbouring lanes of four
                    float2 own = square[n + 1], up = t == 3 ? square[n] : own, down = t == 0 ? square[n + 2] : own;
                    int above = lane - t + (t + 3) % 4, below = lane - t + (t + 1) % 4;
                    float2 before = {__shfl_sync(~0u, up.x, above), __shfl_sync(~0u, up.y, above)};
                    float2 after = {__shfl_sync(~0u, down.x, below), __shfl_sync(~0u, down.y, below)};
                    float middle = before.y + own.x + own.y + after.x;
                    value[n].x = normalised(value[n].x, before.x + middle, alpha);
                    value[n].y = normalised(value[n].y, middle + after.y, alpha);
                }
                int channel = n * 8 + t * 2;
                float* out = (float*)y + (((size_t)blockIdx.z * cout + channel) * cells + row) * cells + column;
                if (inside && channel < cout) out[0] = value[n].x;
                if (inside && channel + 1 < cout) out[(size_t)cells * cells] = value[n].y;
            }
        }
}

template <int STRIDE> struct Block { // of a block
    static const int ROWS = STRIDE == 1 ? 2 : 1, PIXELS = WARPS * ROWS * ACROSS; // ROWS: of a warp
};

// The inputs FROM ... FROM + COUNT - 1 of a pixel's window, channel by channel, to [part][input]; 0 beyond the 27th.
template <int PARTS, int FROM, int COUNT>
__device__ inline void gather(const float* image, int size, int row, int column, half_bits* to) {
#pragma unroll
    for (int k = FROM; k < FROM + COUNT; k += 2) {
        unsigned high = 0, low = 0;
#pragma unroll
        for (int j = 0; j < 2; j++) {
            int v = row + (k + j) / 3 % 3 - 1, u = column + (k + j) % 3 - 1;
            bool inside = k + j < 27 && v >= 0 && v < size && u >= 0 && u < size;
            float value = inside ? image[((k + j) / 9 * size + v) * size + u] : 0.0f;
            half_bits h = to_half(value);
            high |= (unsigned)h << 16 * j;
            if (PARTS == 2) low |= (unsigned)to_half(value - from_half(h)) << 16 * j;
        }
        *(unsigned*)(to + k) = high;
        if (PARTS == 2) *(unsigned*)(to + 32 + k) = low;
    }
}

// grid (ceil(M / 16), ceil(M / (4 ROWS)), B), block 128. x (B, 3, N, N). weight [2][TILES][32][PARTS][2]: see multiply.
template <int PARTS, int STRIDE, int TILES>
__device__ inline void first(
    const float* x, const unsigned* weight, const float* bias, void* y, int size, bool packed, int cout, float factor,
    float alpha) {
    const int ROWS = Block<STRIDE>::ROWS, PIXELS = Block<STRIDE>::PIXELS;
    const int INPUTS = 32, NEXT = PARTS * INPUTS + 8; // NEXT: keeps the banks apart
    __shared__ __align__(16) half_bits inputs[PIXELS * NEXT]; // [pixel][part][input]
    int pixel = threadIdx.x % PIXELS, warp = threadIdx.x / 32;
    int row = (blockIdx.y * WARPS * ROWS + pixel / ACROSS) * STRIDE;
    int column = (blockIdx.x * ACROSS + pixel % ACROSS) * STRIDE;
    const float* image = x + (size_t)blockIdx.z * 3 * size * size;
    if (STRIDE == 1)
        gather<PARTS, 0, INPUTS>(image, size, row, column, inputs + pixel * NEXT);
    else if (threadIdx.x < PIXELS) // two threads a pixel
        gather<PARTS, 0, INPUTS / 2>(image, size, row, column, inputs + pixel * NEXT);
    else
        gather<PARTS, INPUTS / 2, INPUTS / 2>(image, size, row, column, inputs + pixel * NEXT);
    __syncthreads();
    float sum[ROWS][TILES][4] = {};
#pragma unroll
    for (int step = 0; step < INPUTS / K_STEP; step++)
        multiply<PARTS, ROWS, TILES>(
            sum, inputs + warp * ROWS * ACROSS * NEXT + step * K_STEP, NEXT, ACROSS * NEXT, INPUTS,
            weight + step * TILES * 32 * PARTS * 2);
    finish<PARTS, ROWS, TILES>(sum, bias, y, (size + STRIDE - 1) / STRIDE, packed, cout, factor, alpha);
}

// grid and block as first. x (B, N, N, chunks, PARTS, 16). weight [chunks][9][TILES][32][PARTS][2].
template <int PARTS, int STRIDE, int TILES>
__device__ inline void next(
    const half_bits* x, const unsigned* weight, const float* bias, void* y, int size, bool packed, int chunks, int cout,
    float factor, float alpha) {
    const int ROWS = Block<STRIDE>::ROWS;
    const int HIGH = (WARPS * ROWS - 1) * STRIDE + 3, WIDE = (ACROSS - 1) * STRIDE + 3; // pixels that a block reads
    const int NEXT = PARTS * 16 + 8, BUFFERS = STRIDE == 1 ? 2 : 1, BUFFER = HIGH * WIDE * NEXT;
    __shared__ __align__(16) half_bits inputs[BUFFERS * BUFFER]; // [buffer][pixel][part][channel]
    int warp = threadIdx.x / 32;
    int left = blockIdx.x * ACROSS * STRIDE - 1, top = blockIdx.y * WARPS * ROWS * STRIDE - 1;
    auto copy = [&](int chunk) {
        half_bits* to = inputs + chunk % BUFFERS * BUFFER;
        for (int i = threadIdx.x; i < HIGH * WIDE * PARTS * 2; i += WARPS * 32) {
            int eight = i % (PARTS * 2), pixel = i / (PARTS * 2);
            int row = top + pixel / WIDE, column = left + pixel % WIDE;
            bool inside = row >= 0 && row < size && column >= 0 && column < size;
            size_t place = inside ? ((size_t)blockIdx.z * size + row) * size + column : 0;
            copy_16(to + pixel * NEXT + eight * 8, x + (place * chunks + chunk) * PARTS * 16 + eight * 8, inside);
        }
    };
    float sum[ROWS][TILES][4] = {};
    copy(0);
    for (int chunk = 0; chunk < chunks; chunk++) {
        wait_for_copies();
        __syncthreads();
        if (BUFFERS == 2 && chunk + 1 < chunks) copy(chunk + 1); // its buffer was read before the barrier
        const half_bits* own = inputs + chunk % BUFFERS * BUFFER + warp * ROWS * STRIDE * WIDE * NEXT;
#pragma unroll(TILES == 8 ? 1 : 3)
        for (int tap = 0; tap < 9; tap++)
            multiply<PARTS, ROWS, TILES>(
                sum, own + (tap / 3 * WIDE + tap % 3) * NEXT, STRIDE * NEXT, STRIDE * WIDE * NEXT, 16,
                weight + (size_t)(chunk * 9 + tap) * TILES * 32 * PARTS * 2);
        if (BUFFERS == 1 && chunk + 1 < chunks) {
            __syncthreads();
            copy(chunk + 1);
        }
    }
    finish<PARTS, ROWS, TILES>(sum, bias, y, (size + STRIDE - 1) / STRIDE, packed, cout, factor, alpha);
}

// name_stride_tiles, all of one signature; chunks is unused in the first layer. The last arguments are the launch
// bounds: a limit keeps the compiler from spilling for the sake of occupancy.
#define KERNEL(NAME, INPUT, STRIDE, TILES, CALL, ...) \
    extern "C" __global__ void __launch_bounds__(__VA_ARGS__) NAME##_##STRIDE##_##TILES( \
        const INPUT* x, const unsigned* weight, const float* bias, void* y, int size, int packed, int chunks, \
        int cout, float factor, float alpha) { \
        CALL; \
    }
#define FIRST(PARTS, STRIDE, TILES) \
    first<PARTS, STRIDE, TILES>(x, weight, bias, y, size, packed, cout, factor, alpha)
#define NEXT(PARTS, STRIDE, TILES) \
    next<PARTS, STRIDE, TILES>(x, weight, bias, y, size, packed, chunks, cout, factor, alpha)
#define KERNELS(STRIDE, TILES, ...) \
    KERNEL(conv_first, float, STRIDE, TILES, (FIRST(2, STRIDE, TILES)), __VA_ARGS__) \
    KERNEL(conv_next, half_bits, STRIDE, TILES, (NEXT(2, STRIDE, TILES)), __VA_ARGS__) \
    KERNEL(conv_half_first, float, STRIDE, TILES, (FIRST(1, STRIDE, TILES)), __VA_ARGS__) \
    KERNEL(conv_half_next, half_bits, STRIDE, TILES, (NEXT(1, STRIDE, TILES)), __VA_ARGS__)
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 750
KERNELS(1, 2, 128, 4)
KERNELS(1, 4, 128)
KERNELS(1, 8, 128, 2)
KERNELS(2, 2, 128)
KERNELS(2, 4, 128)
KERNELS(2, 8, 128, 2)
#endif
