#include "pool.h"

namespace spc {

Pool::Pool(int threads) {
    try {
        workers_.reserve(threads - 1);
        for (int i = 1; i < threads; i++) workers_.emplace_back(&Pool::serve, this, i);
    } catch (...) {
        stop(); // a running thread must not be destroyed
        throw;
    }
}

void Pool::run(Call call, const void* context) {
    if (!workers_.empty()) {
        std::lock_guard<std::mutex> lock(mutex_);
        call_ = call;
        context_ = context;
        busy_ = int(workers_.size());
        round_++;
        begin_.notify_all();
    }
    call(context, 0);
    if (!workers_.empty()) {
        std::unique_lock<std::mutex> lock(mutex_);
        end_.wait(lock, [this] { return busy_ == 0; });
    }
}

void Pool::serve(int thread) {
    std::unique_lock<std::mutex> lock(mutex_);
    for (unsigned seen = 0;;) {
        begin_.wait(lock, [&] { return stopped_ || round_ != seen; });
        if (stopped_) return;
        seen = round_;
        lock.unlock();
        call_(context_, thread);
        lock.lock();
        if (--busy_ == 0) end_.notify_one();
    }
}

void Pool::stop() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        stopped_ = true;
        begin_.notify_all();
    }
    for (std::thread& worker : workers_) worker.join();
}

} // namespace spc
