// CUDA C++ kernels as host C++: g++ -std=c++20 -O2 -fopenmp -shared -fPIC -x c++ -include cuda_cpu.h kernels.cu
//
// A block runs on one OS thread, its CUDA threads as fibers: a fiber runs CUDA threads one after another until
// one of them waits at a barrier; only then is the next fiber needed. Blocks are spread over OS threads.
// Covered: static __shared__ memory, __syncthreads, __syncwarp, shuffles, atomicAdd, atomicInc, __threadfence,
// tensor-core mma.m16n8k16. A barrier that not all threads reach aborts and names the block. CUDA_CPU_ORDER=reversed
// runs the threads of a block from the last to the first, so that a missing barrier which one order hides shows in the
// other. CUDA_CPU_FIRST=n runs the blocks one after another from the n-th on, around to the one before it.
//
// With -fsanitize=thread (and without -fopenmp) each CUDA thread is a fiber of ThreadSanitizer, ordered with others by
// __syncthreads and __syncwarp alone, so that a missing barrier is reported whatever order the threads ran in. Each
// block has an OS thread, and so shared memory, of its own. Two blocks are ordered only where a thread of one has a
// fence before its atomicInc, and a thread of the other one after its own, of the same word, with no barrier between.
#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <sys/mman.h>
#include <ucontext.h>
#include <utility>
#include <vector>
#ifdef __F16C__
#include <immintrin.h>
#endif

#define CUDA_CPU_SHIM 1
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __shared__ static thread_local
#define __restrict__ __restrict
#define __align__(n) __attribute__((aligned(n)))

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x = 1, y = 1, z = 1; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#include <thread>
#define UNSEEN __attribute__((no_sanitize_thread)) // the emulator's own accesses are not those of a kernel
#else
#define UNSEEN
#endif

// Only every n-th block of a launch runs, or with the rest all but those: two builds can share a launch.
extern "C" { unsigned cuda_cpu_every = 1, cuda_cpu_rest = 0; }

namespace cpu {

// A place to go on from.
struct Context {
    ucontext_t state;
#ifdef __SANITIZE_THREAD__
    void* fiber = nullptr;
#else
    jmp_buf here;
    bool begun = false;
#endif
};

struct Barrier { unsigned count = 0, alive = 0, generation = 0; char places[2]; };

struct Fiber {
    Context context;
    char* stack = nullptr;
    Barrier* wait = nullptr;
    unsigned generation = 0, thread = 0;
    uint3 index; // of the thread, three numbers
    bool busy = false;
    bool fenced = false; // since the last barrier
    void* counted = nullptr; // the word of its atomicInc since then
};

struct Exchange { uint32_t words[12]; }; // what a lane shows its warp

constexpr size_t STACK = 64 << 10;

struct Block {
    std::vector<Fiber> fibers;
    std::vector<Barrier> warps;
    // Two places a thread: who writes the next value may overtake who still reads the last one.
    std::vector<Exchange> exchange[2];
    std::vector<unsigned char> turn; // of each thread: the place it writes next
    Barrier all;
    Context scheduler;
    unsigned current = 0, next = 0, threads = 0, left = 0;
    bool reversed = false;
    void (*kernel)(void*) = nullptr;
    void* arguments = nullptr;
    char* done = nullptr; // what the launch waits for
    void drop() {
        for (auto& fiber : fibers) {
            if (fiber.stack) munmap(fiber.stack, STACK);
#ifdef __SANITIZE_THREAD__
            if (fiber.context.fiber) __tsan_destroy_fiber(fiber.context.fiber);
#endif
        }
        fibers.clear();
    }
    ~Block() { drop(); }
};

static thread_local uint3 thread_index, block_index;
static thread_local dim3 block_size, grid_size;
static thread_local Block* running_block; // constructed elsewhere: a check of that at each use takes time
UNSEEN inline Block& block() { return *running_block; }
UNSEEN inline Block& own_block() {
    static thread_local Block own;
    return own;
}

// Go on at another place, until somebody changes back.
UNSEEN inline void change(Context& from, Context& to) {
#ifdef __SANITIZE_THREAD__
    __tsan_switch_to_fiber(to.fiber, __tsan_switch_to_fiber_no_sync);
    swapcontext(&from.state, &to.state);
#else
    from.begun = true;
    if (_setjmp(from.here)) return;
    if (to.begun) _longjmp(to.here, 1);
    to.begun = true;
    setcontext(&to.state);
#endif
}

// What was done before a release comes before what is done after an acquire of the same place.
inline void release([[maybe_unused]] void* place) {
#ifdef __SANITIZE_THREAD__
    __tsan_release(place);
#endif
}
inline void acquire([[maybe_unused]] void* place) {
#ifdef __SANITIZE_THREAD__
    __tsan_acquire(place);
#endif
}

UNSEEN inline void leave(Barrier& barrier) {
    if (--barrier.alive && barrier.count == barrier.alive) { barrier.count = 0; barrier.generation++; }
}

UNSEEN inline Fiber& own() { return block().fibers[block().current]; }
UNSEEN inline unsigned running() { return own().thread; }

#ifdef __SANITIZE_THREAD__
constexpr bool ONE_EACH = true; // a CUDA thread a fiber, which have a history and a stack each
#else
constexpr bool ONE_EACH = false;
#endif

UNSEEN inline void fiber_main() {
    for (;;) {
        do {
            unsigned turn = block().next++;
            unsigned thread = block().reversed ? block().threads - 1 - turn : turn;
            Fiber& fiber = own();
            fiber.thread = thread;
            fiber.index = {thread % block_size.x, thread / block_size.x % block_size.y,
                thread / (block_size.x * block_size.y)};
            thread_index = fiber.index;
            block().kernel(block().arguments);
            release(block().done);
            leave(block().all);
            leave(block().warps[running() / 32]);
            block().left--;
        } while (!ONE_EACH && block().next < block().threads);
        Fiber& fiber = own();
        fiber.busy = false;
        change(fiber.context, block().scheduler);
    }
}

// Wait for the others. seen: what they did before is known after.
UNSEEN inline void arrive(Barrier& barrier, bool seen) {
    own().fenced = false; // what others did is not behind the fence
    own().counted = nullptr;
    char* place = &barrier.places[barrier.generation % 2]; // who overtakes does not touch the one that others leave
    if (seen) release(place);
    if (++barrier.count == barrier.alive) {
        barrier.count = 0;
        barrier.generation++;
    } else {
        Fiber& fiber = own();
        fiber.wait = &barrier;
        fiber.generation = barrier.generation;
        change(fiber.context, block().scheduler);
        thread_index = fiber.index;
    }
    if (seen) acquire(place);
}

UNSEEN inline void resume(Fiber& fiber) {
    fiber.wait = nullptr;
    fiber.busy = true;
    if (!fiber.stack) {
        fiber.stack = (char*)mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        getcontext(&fiber.context.state);
        fiber.context.state.uc_stack.ss_sp = fiber.stack;
        fiber.context.state.uc_stack.ss_size = STACK;
        fiber.context.state.uc_link = nullptr;
        makecontext(&fiber.context.state, fiber_main, 0);
#ifdef __SANITIZE_THREAD__
        fiber.context.fiber = __tsan_create_fiber(0);
#endif
    }
    change(block().scheduler, fiber.context);
}

UNSEEN inline void run_block() {
#ifdef __SANITIZE_THREAD__
    block().scheduler.fiber = __tsan_get_current_fiber();
#endif
    unsigned threads = block_size.x * block_size.y * block_size.z, warps = (threads + 31) / 32;
    if (block().fibers.size() < threads) {
        block().drop();
        block().fibers = std::vector<Fiber>(threads);
    }
    block().warps.assign(warps, Barrier{});
    for (auto& place : block().exchange) place.assign(warps * 32, Exchange{});
    block().turn.assign(warps * 32, 0);
    block().all = Barrier{};
    block().all.alive = block().threads = block().left = threads;
    block().next = 0;
    for (unsigned i = 0; i < warps; i++) block().warps[i].alive = std::min(32u, threads - 32 * i);
    for (block().current = 0; block().next < threads; block().current++) resume(block().fibers[block().current]);
    for (unsigned used = block().current; block().left;) {
        bool progress = false;
        for (block().current = 0; block().current < used; block().current++) {
            Fiber& fiber = block().fibers[block().current];
            if (fiber.busy && fiber.wait->generation != fiber.generation) { progress = true; resume(fiber); }
        }
        if (!progress) {
            fprintf(stderr, "cuda_cpu: divergent barrier in block (%u,%u,%u)\n", block_index.x, block_index.y, block_index.z);
            abort();
        }
    }
}

template <class... A, size_t... I> void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*(std::remove_reference_t<A>*)arguments[I]...);
}

// config: grid x, y, z, block x, y, z, dynamic shared memory (not offered).
template <class... A> void launch(void (*kernel)(A...), const unsigned* config, void** arguments) {
    using Kernel = void (*)(A...);
    struct Call { Kernel kernel; void** arguments; } what{kernel, arguments};
    const char* order = getenv("CUDA_CPU_ORDER");
    bool reversed = order && !strcmp(order, "reversed");
    long blocks = (long)config[0] * config[1] * config[2];
    static char done;
    auto run = [&](long b) {
        grid_size = {config[0], config[1], config[2]};
        block_size = {config[3], config[4], config[5]};
        block_index = {unsigned(b % config[0]), unsigned(b / config[0] % config[1]), unsigned(b / config[0] / config[1])};
        running_block = &own_block();
        block().reversed = reversed;
        block().kernel = [](void* p) { Call* c = (Call*)p; call(c->kernel, c->arguments, std::index_sequence_for<A...>{}); };
        block().arguments = &what;
        block().done = &done;
        run_block();
    };
    const char* first = getenv("CUDA_CPU_FIRST");
#pragma omp parallel for schedule(static) if (!first)
    for (long i = 0; i < blocks; i++) {
        long b = first ? (i + atol(first)) % blocks : i;
        if ((b % cuda_cpu_every == 0) == cuda_cpu_rest) continue;
#ifdef __SANITIZE_THREAD__
        std::thread(run, b).join();
#else
        run(b);
#endif
    }
    acquire(&done);
}

// buffer: the arguments laid out one after another, each aligned to its own size (CU_LAUNCH_PARAM_BUFFER_POINTER).
template <class... A> void launch_packed(void (*kernel)(A...), const unsigned* config, void** arguments, void* buffer) {
    void* pointers[sizeof...(A) + 1];
    if (!arguments) {
        char* base = (char*)buffer;
        size_t i = 0, offset = 0;
        ((offset = (offset + alignof(A) - 1) / alignof(A) * alignof(A), pointers[i++] = base + offset, offset += sizeof(A)), ...);
        arguments = pointers;
    }
    launch(kernel, config, arguments);
}

UNSEEN inline unsigned lane() { return running() & 31; }

// What the lanes of the warp show each other; it holds until the lane shows something twice more.
UNSEEN inline const Exchange* show(const Exchange& mine) {
    unsigned thread = running(), turn = block().turn[thread] ^= 1;
    block().exchange[turn][thread] = mine;
    arrive(block().warps[thread / 32], false); // a shuffle is no fence
    return block().exchange[turn].data() + thread / 32 * 32;
}

template <class T> UNSEEN T shuffle(T value, unsigned source) {
    static_assert(sizeof(T) <= sizeof(Exchange));
    Exchange mine{};
    memcpy(&mine, &value, sizeof value);
    memcpy(&value, &show(mine)[source], sizeof value);
    return value;
}

inline float from_half(uint16_t bits) {
    _Float16 half;
    memcpy(&half, &bits, 2);
    return (float)half;
}

// Numbers along the inner axis of a product: those of one word, two halves each, of four lanes.
typedef float Eight __attribute__((vector_size(32)));

UNSEEN inline Eight along(const Exchange* lanes, int word) {
    uint32_t words[4] = {lanes[0].words[word], lanes[1].words[word], lanes[2].words[word], lanes[3].words[word]};
#ifdef __F16C__
    __m128i halves;
    memcpy(&halves, words, sizeof halves);
    return _mm256_cvtph_ps(halves);
#else
    Eight found;
    for (int i = 0; i < 8; i++) found[i] = from_half(words[i / 2] >> i % 2 * 16 & 0xffff);
    return found;
#endif
}

} // namespace cpu

#define threadIdx cpu::thread_index
#define blockIdx cpu::block_index
#define blockDim cpu::block_size
#define gridDim cpu::grid_size
static inline void __syncthreads() { cpu::arrive(cpu::running_block->all, true); }
static inline void __syncwarp(unsigned = ~0u) { cpu::arrive(cpu::running_block->warps[cpu::running() / 32], true); }
template <class T> T __shfl_sync(unsigned, T value, int source) { return cpu::shuffle(value, source % 32); }
template <class T> T __shfl_xor_sync(unsigned, T value, int mask) { return cpu::shuffle(value, cpu::lane() ^ mask); }
template <class T> T __shfl_down_sync(unsigned, T value, int delta) {
    unsigned source = cpu::lane() + delta;
    return cpu::shuffle(value, source < 32 ? source : cpu::lane());
}
template <class T> T atomicAdd(T* p, T value) { return std::atomic_ref<T>(*p).fetch_add(value); }
// A fence and an atomicInc of one thread, as the PTX ISA orders them: a release or an acquire is both together.
UNSEEN static inline void __threadfence() {
    cpu::own().fenced = true;
    if (cpu::own().counted) cpu::acquire(cpu::own().counted);
#ifndef __SANITIZE_THREAD__
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}
UNSEEN static inline unsigned atomicInc(unsigned* p, unsigned most) {
    if (cpu::own().fenced) cpu::release(p);
    cpu::own().counted = p;
    std::atomic_ref<unsigned> count(*p);
    unsigned old = count.load(std::memory_order_relaxed);
    while (!count.compare_exchange_weak(old, old < most ? old + 1 : 0, std::memory_order_relaxed)) {}
    return old;
}
static inline float __int_as_float(int i) { float f; memcpy(&f, &i, 4); return f; }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline double __dmul_rn(double a, double b) { volatile double product = a * b; return product; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int i = 0; i < 32; i++) reversed |= (x >> i & 1u) << (31 - i);
    return reversed;
}
using std::max;
using std::min;

static inline uint16_t cpu_float_to_half(float x) {
    _Float16 half = (_Float16)x;
    uint16_t bits;
    memcpy(&bits, &half, 2);
    return bits;
}

// D += A B by mma.m16n8k16, for numbers in one or two parts, a [part][4], b [part][2]; fragments as in the PTX ISA. The
// product of the two low parts is left out.
template <int PARTS> UNSEEN void cpu_mma(float (&d)[4], const unsigned (&a)[4 * PARTS], const unsigned (&b)[2 * PARTS]) {
    unsigned lane = cpu::lane();
    cpu::Exchange shown = {};
    std::copy(a, a + 4 * PARTS, shown.words);
    std::copy(b, b + 2 * PARTS, shown.words + 8);
    const cpu::Exchange* warp = cpu::show(shown);
    // A[row][k] lies in lane (row % 8) * 4 + k % 8 / 2, register row / 8 + k / 8 * 2; B[k][column] in lane column * 4 +
    // k % 8 / 2, register k / 8.
    cpu::Eight left[2][PARTS][2], right[2][PARTS][2]; // row or column, part, half of the inner axis
    for (int i = 0; i < 2; i++)
        for (int part = 0; part < PARTS; part++)
            for (int half = 0; half < 2; half++) {
                left[i][part][half] = cpu::along(warp + lane / 4 * 4, part * 4 + i + half * 2);
                right[i][part][half] = cpu::along(warp + (lane % 4 * 2 + i) * 4, 8 + part * 2 + half);
            }
    for (int i = 0; i < 4; i++) { // row lane / 4 + (i / 2) * 8, column lane % 4 * 2 + i % 2
        cpu::Eight sum = {};
        for (int half = 0; half < 2; half++)
            for (int part = 0; part < PARTS; part++)
                for (int other = 0; other + part < PARTS; other++)
                    sum += left[i / 2][part][half] * right[i % 2][other][half];
        d[i] += ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
    }
}

#define CUDA_CPU_EXPORT(k) \
    extern "C" void k##__cpu(const unsigned* config, void** arguments) { cpu::launch(k, config, arguments); } \
    extern "C" void k##__cpu_packed(const unsigned* config, void** arguments, void* buffer) { \
        cpu::launch_packed(k, config, arguments, buffer); \
    }
