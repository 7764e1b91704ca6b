// Eq. 17 and 25: the columns of xf, the new numerator and denominator, and the update of the filter. The learning rate
// is the given share, or (share -1) the one that locate.cu wrote to the target's state. With a rate of 0 the kernel does
// nothing, without the host knowing.
// In: half (T * S, C, K, N) of dft.cu. In and out: num (slots, C, K, R), den (slots, K, R).
// yf (K, R): the label's spectrum, real; amplitudes (S,): the label over the scales.
//
// A second filter, fast_num and fast_den, learns the same at fast_rate. The first one is then slow_num and den, and num
// is the numerator, over den, of the mean of their responses: eq. 18 is linear in it. Until the block knows both
// denominators, num holds what it has learnt. With one filter slow_num, fast_num and fast_den are null.
//
// learn_dft    any N: the tiled product of columns.cuh; a block does 8 frequencies and their negatives, all channels.
// learn_fft_N  N = 32, 64, 128: a warp transforms one column of one channel at a time.
#include "columns.cuh"
#include "fft.cuh"

// share if it is not negative, else the rate in the target's state
__device__ inline float rate_of(const Target& target, float share) {
    return share < 0.0f ? (float)target.rate : share;
}

__device__ inline void blend_into(float2& old, float2 learnt, float rate) {
    old = make_float2(blend(old.x, learnt.x, rate), blend(old.y, learnt.y, rate));
}

// The denominators of both filters; returns their quotient, by which a fast numerator fits the slow denominator.
__device__ inline float blend_energies(
    float& energy, float& fast_energy, float power, float rate, float fast_rate, float regularization) {
    energy = blend(energy, power, rate);
    fast_energy = blend(fast_energy, power, fast_rate);
    return (energy + regularization) / (fast_energy + regularization);
}

// num at an index: the learnt numerator, to that of the mean response.
__device__ inline void blend_both(
    float2* num, float2* slow_num, float2* fast_num, size_t index, float rate, float fast_rate, float quotient) {
    float2 learnt = num[index], slow = slow_num[index], fast = fast_num[index];
    blend_into(slow, learnt, rate);
    blend_into(fast, learnt, fast_rate);
    slow_num[index] = slow;
    fast_num[index] = fast;
    num[index] = make_float2(0.5f * (slow.x + quotient * fast.x), 0.5f * (slow.y + quotient * fast.y));
}

// grid (ceil(F / 8), K, T), block 64. basis (N, F): see columns.cuh. At most 96 registers: what one filter needs.
extern "C" __global__ void __launch_bounds__(64, 10) learn_dft(
    const float2* half, const float2* basis, const float* yf, const float* amplitudes, const Target* targets,
    const int* slots, float2* num, float* den, float2* slow_num, float2* fast_num, float* fast_den, int scales,
    int channels, int size, int rows, int band, int frequencies, float share, float fast_rate, float regularization) {
    __shared__ float powers[16][2][9]; // [pair of channels][+f, -f][f], padded; in [0] quotients later
    int f0 = blockIdx.x * 8, k = blockIdx.y, slot = slots[blockIdx.z];
    int center = rows - frequencies, f = column_frequency(), c = column_channel();
    float rate = rate_of(targets[slot], share);
    if (rate == 0.0f) return;
    float num_rate = fast_num ? 1.0f : rate;
    float power_up[2] = {}, power_down[2] = {};
    for (int c0 = 0; c0 < channels; c0 += 32) {
        Columns sum = {};
        for (int s = 0; s < scales; s++) {
            size_t image = (size_t)blockIdx.z * scales + s;
            Columns x = column_dft(
                half + (image * channels * band + k) * size, (size_t)band * size, basis, size, frequencies, f0, c0,
                channels);
            float amplitude = amplitudes[s];
#pragma unroll
            for (int i = 0; i < 2; i++)
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    float2 up = x.plus[i][j], down = x.minus[i][j];
                    sum.plus[i][j].x += amplitude * up.x;
                    sum.plus[i][j].y += amplitude * up.y;
                    sum.minus[i][j].x += amplitude * down.x;
                    sum.minus[i][j].y += amplitude * down.y;
                    power_up[i] += up.x * up.x + up.y * up.y;
                    power_down[i] += down.x * down.x + down.y * down.y;
                }
        }
#pragma unroll
        for (int j = 0; j < 2; j++) {
            if (c0 + c + j >= channels) continue;
            float2* numerator = num + (((size_t)slot * channels + c0 + c + j) * band + k) * rows;
#pragma unroll
            for (int i = 0; i < 2; i++) {
                int frequency = f0 + f + i;
                int up = vertical_index(frequency, center, rows), down = vertical_index(-frequency, center, rows);
                float label = up >= 0 ? yf[k * rows + up] : 0.0f; // even: the same at -f
                if (up >= 0)
                    blend_into(
                        numerator[up], make_float2(label * sum.plus[i][j].x, label * sum.plus[i][j].y), num_rate);
                if (down >= 0 && frequency)
                    blend_into(
                        numerator[down], make_float2(label * sum.minus[i][j].x, label * sum.minus[i][j].y), num_rate);
            }
        }
    }
    for (int i = 0; i < 2; i++) {
        powers[c / 2][0][f + i] = power_up[i];
        powers[c / 2][1][f + i] = power_down[i];
    }
    __syncthreads();
    int i = threadIdx.x % 8, sign = threadIdx.x / 8 % 2, frequency = f0 + i;
    int r = vertical_index(sign ? -frequency : frequency, center, rows);
    bool inside = r >= 0 && (!sign || frequency);
    if (threadIdx.x < 16 && inside) {
        float power = 0.0f;
        for (int pair = 0; pair < 16; pair++) power += powers[pair][sign][i];
        size_t index = ((size_t)slot * band + k) * rows + r;
        if (fast_num)
            powers[0][sign][i] = blend_energies(den[index], fast_den[index], power, rate, fast_rate, regularization);
        else
            den[index] = blend(den[index], power, rate);
    }
    if (!fast_num) return;
    __syncthreads();
    float quotient = powers[0][sign][i];
    for (int channel = threadIdx.x / 16; inside && channel < channels; channel += 4) {
        size_t index = (((size_t)slot * channels + channel) * band + k) * rows + r;
        blend_both(num, slow_num, fast_num, index, rate, fast_rate, quotient);
    }
}

// grid (K, T), block 256: a warp every 8th channel
template <int N>
__device__ inline void learn_fft(
    const float2* half, const float* window, const float2* table, const float* yf, const float* amplitudes,
    const Target* targets, const int* slots, float2* num, float* den, float2* slow_num, float2* fast_num,
    float* fast_den, int scales, int channels, int rows, int band, int center, float share, float fast_rate,
    float regularization) {
    __shared__ float powers[8][N]; // [warp][r]; in [0] quotients later
    int k = blockIdx.x, slot = slots[blockIdx.y];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float rate = rate_of(targets[slot], share);
    if (rate == 0.0f) return;
    float num_rate = fast_num ? 1.0f : rate;
    const Twiddles<N> twiddles(table);
    float w[N / 32], power[N / 32] = {};
#pragma unroll
    for (int j = 0; j < N / 32; j++) w[j] = window[lane + 32 * j];
    for (int c = warp; c < channels; c += 8) {
        float2 sum[N / 32] = {};
        for (int s = 0; s < scales; s++) {
            size_t image = (size_t)blockIdx.y * scales + s;
            const float2* column = half + ((image * channels + c) * band + k) * N;
            float2 x[N / 32];
#pragma unroll
            for (int j = 0; j < N / 32; j++) {
                float2 value = column[lane + 32 * j];
                x[j] = make_float2(value.x * w[j], value.y * w[j]);
            }
            warp_fft<N>(x, twiddles);
            float amplitude = amplitudes[s];
#pragma unroll
            for (int q = 0; q < N / 32; q++) {
                sum[q] = make_float2(sum[q].x + amplitude * x[q].x, sum[q].y + amplitude * x[q].y);
                power[q] += x[q].x * x[q].x + x[q].y * x[q].y;
            }
        }
        float2* numerator = num + (((size_t)slot * channels + c) * band + k) * rows;
#pragma unroll
        for (int q = 0; q < N / 32; q++) {
            int r = vertical_index(fft_frequency<N>(q), center, rows);
            if (r < 0) continue;
            float label = yf[k * rows + r];
            blend_into(numerator[r], make_float2(label * sum[q].x, label * sum[q].y), num_rate);
        }
    }
#pragma unroll
    for (int q = 0; q < N / 32; q++) {
        int r = vertical_index(fft_frequency<N>(q), center, rows);
        if (r >= 0) powers[warp][r] = power[q];
    }
    __syncthreads();
    for (int r = threadIdx.x; r < rows; r += 256) {
        float total = 0.0f;
        for (int i = 0; i < 8; i++) total += powers[i][r];
        size_t index = ((size_t)slot * band + k) * rows + r;
        if (fast_num)
            powers[0][r] = blend_energies(den[index], fast_den[index], total, rate, fast_rate, regularization);
        else
            den[index] = blend(den[index], total, rate);
    }
    if (!fast_num) return;
    __syncthreads();
    for (int i = threadIdx.x; i < channels * rows; i += 256) {
        int c = i / rows, r = i % rows;
        size_t index = (((size_t)slot * channels + c) * band + k) * rows + r;
        blend_both(num, slow_num, fast_num, index, rate, fast_rate, powers[0][r]);
    }
}

#define LEARN_FFT(N) \
    extern "C" __global__ void __launch_bounds__(256, 2) learn_fft_##N( \
        const float2* half, const float* window, const float2* table, const float* yf, const float* amplitudes, \
        const Target* targets, const int* slots, float2* num, float* den, float2* slow_num, float2* fast_num, \
        float* fast_den, int scales, int channels, int rows, int band, int center, float share, float fast_rate, \
        float regularization) { \
        learn_fft<N>( \
            half, window, table, yf, amplitudes, targets, slots, num, den, slow_num, fast_num, fast_den, scales, \
            channels, rows, band, center, share, fast_rate, regularization); \
    }
LEARN_FFT(32)
LEARN_FFT(64)
LEARN_FFT(128)
