// Several trackers in several threads at once, each with threads of its own: for ThreadSanitizer. threads MODEL
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "spcnet.h"

namespace {

const int WIDTH = 160, HEIGHT = 120;

void track(const char* model, int seed) {
    std::vector<std::uint8_t> pixels(WIDTH * HEIGHT * 3);
    for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>((i * 7919 + i / 97 * 31) >> 3);
    char message[SPCNET_MESSAGE];
    spcnet* tracker;
    const spcnet_frame frame = {{pixels.data()}, {WIDTH * 3}, WIDTH, HEIGHT, SPCNET_BGR, SPCNET_HOST};
    if (spcnet_open(model, 1 + seed % 3, &tracker, message, sizeof message)) std::abort();
    int id;
    for (int target = 0; target < 3; ++target)
        if (spcnet_add(tracker, &frame, {20.0 + 20 * target, 30, 30, 24}, &id)) std::abort();
    spcnet_result results[3];
    for (int step = 0; step < 6; ++step)
        if (spcnet_update(tracker, &frame, results, 3, nullptr)) std::abort();
    spcnet_close(tracker);
}

} // namespace

int main(int, char** words) {
    std::vector<std::thread> threads;
    for (int seed = 0; seed < 4; ++seed) threads.emplace_back(track, words[1], seed);
    for (std::thread& thread : threads) thread.join();
    std::puts("done");
}
