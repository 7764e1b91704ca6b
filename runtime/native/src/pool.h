// A few threads that do one piece of work together.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace spc {

class Pool {
public:
    // threads, the caller's included. Throws std::system_error, std::bad_alloc.
    explicit Pool(int threads);
    ~Pool() { stop(); }

    int threads() const { return int(workers_.size()) + 1; }

    // Call work(thread) on each thread, and return when all have returned.
    template <class Work> void run(const Work& work) {
        run([](const void* context, int thread) { (*static_cast<const Work*>(context))(thread); }, &work);
    }

private:
    typedef void (*Call)(const void* context, int thread);

    void run(Call call, const void* context);
    void serve(int thread);
    void stop();

    std::mutex mutex_;
    std::condition_variable begin_, end_;
    std::vector<std::thread> workers_;
    Call call_ = nullptr;
    const void* context_ = nullptr;
    unsigned round_ = 0;
    int busy_ = 0;
    bool stopped_ = false;
};

} // namespace spc
