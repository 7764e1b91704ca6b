// Count and refuse allocations: ./allocations MODEL THREADS prints the number of allocations in 20 updates, and ends
// with 1 at the first surprise. Every allocation of spcnet_open and of spcnet_add is refused once.
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "spcnet.h"

static std::atomic<long> allocations{0}, left{-1}; // left: before one is refused

static bool refused() {
    allocations++;
    return left >= 0 && left-- == 0;
}

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void* malloc(std::size_t size) {
    return refused() ? nullptr : __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
    return refused() ? nullptr : __libc_calloc(count, size);
}
void* realloc(void* p, std::size_t size) {
    return refused() ? nullptr : __libc_realloc(p, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
    return refused() ? nullptr : __libc_memalign(alignment, size);
}
int posix_memalign(void** p, std::size_t alignment, std::size_t size) {
    *p = refused() ? nullptr : __libc_memalign(alignment, size);
    return *p ? 0 : ENOMEM;
}
}

static void expect(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "not so: %s\n", what);
    std::exit(1);
}

const int WIDTH = 160, HEIGHT = 120, FRAMES = 20;

static spcnet_frame picture(std::vector<unsigned char>& pixels, int time) {
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            for (int c = 0; c < 3; c++)
                pixels[(y * WIDTH + x) * 3 + c] = (unsigned char)((x - time) * (y + 5 * c) * 7 + (x - time) / 9 * 31);
    return {{pixels.data()}, {3 * WIDTH}, WIDTH, HEIGHT, SPCNET_BGR, SPCNET_HOST};
}

int main(int, char** arguments) {
    int threads = std::atoi(arguments[2]), id, count;
    char why[SPCNET_MESSAGE];
    std::vector<unsigned char> pixels(3 * WIDTH * HEIGHT);
    spcnet_frame frame = picture(pixels, 0);
    spcnet_box box = {60, 40, 30, 24};
    spcnet *tracker = nullptr, *undisturbed;

    long refusals = 0;
    for (long first = 0;; first++, refusals++) {
        left = first;
        spcnet_code code = spcnet_open(arguments[1], threads, &tracker, why, sizeof why);
        bool whole = left >= 0;
        left = -1;
        if (code == SPCNET_OK && whole) break;
        if (code == SPCNET_OK) { // such as without the buffer of a file
            spcnet_close(tracker);
            tracker = nullptr;
            continue;
        }
        expect(!tracker && *why, "a failed open leaves NULL and a reason");
        expect(code == SPCNET_NO_MEMORY || code == SPCNET_BAD_FILE, "it says why"); // fopen allocates, too
    }
    expect(spcnet_open(arguments[1], threads, &undisturbed, why, sizeof why) == SPCNET_OK, "open");
    expect(spcnet_add(undisturbed, &frame, box, &id) == SPCNET_OK, "add");
    for (int targets = 0; targets < 2; targets++)
        for (long first = 0;; first++, refusals++) {
            left = first;
            spcnet_code code = spcnet_add(tracker, &frame, box, &id);
            left = -1;
            if (code == SPCNET_OK) break;
            expect(code == SPCNET_NO_MEMORY && *spcnet_last_error(tracker), "a failed add says NO_MEMORY");
            expect(spcnet_count(tracker) == targets, "a failed add changes nothing");
        }
    expect(spcnet_remove(tracker, id) == SPCNET_OK, "remove");

    spcnet_result found, expected;
    std::memset(&found, 0, sizeof found);
    std::memset(&expected, 0, sizeof expected);
    long counted = 0;
    for (int time = 1; time <= FRAMES; time++) {
        frame = picture(pixels, time);
        long before = allocations;
        expect(spcnet_update(tracker, &frame, &found, 1, &count) == SPCNET_OK, "update");
        counted += allocations - before;
        expect(spcnet_update(undisturbed, &frame, &expected, 1, NULL) == SPCNET_OK, "update");
        expect(count == 1 && !std::memcmp(&found.box, &expected.box, sizeof found.box), "the same boxes");
        expect(found.score == expected.score && found.psr == expected.psr, "the same scores");
    }
    std::printf("%ld allocations, %ld refusals\n", counted, refusals);
    spcnet_close(tracker);
    spcnet_close(undisturbed);
    return 0;
}
