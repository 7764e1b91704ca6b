// A tracker: one model and its targets.
#pragma once

#include <chrono>

#include "failure.h"
#include "geometry.h"
#include "model.h"

namespace spc {

inline double now() { // seconds
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The targets are numbered in the order in which they were added. What a frame or a box must be has been checked,
// but for where it lies. Calls throw Failure and std::bad_alloc; the targets are then as before.
class Tracker {
public:
    Tracker(const Model& model, bool on_gpu) : config(model.config), has_head(!model.head.empty()), on_gpu(on_gpu) {}
    virtual ~Tracker() = default;

    // Begin a target: a new one where index is their number, or in place of another.
    virtual void begin(const spcnet_frame& frame, const State& state, std::size_t index) = 0;
    virtual void remove(std::size_t index) = 0;

    // Find all targets, and if learns is true learn those that are due and sure. results get all but the id.
    virtual void search(const spcnet_frame& frame, bool learns, spcnet_result* results) = 0;
    virtual void learn(const spcnet_frame& frame) = 0;

    // The response (P, P) of the latest search at a scale, from 0, or at the best one, -1: of filter and colour together,
    // the displacement 0 at the first point.
    virtual bool searched(std::size_t index) const = 0;
    virtual void response(std::size_t index, int scale, float* numbers) = 0;

    // A target as its record and numbers, and back as a new one. Throws where it is not possible.
    virtual std::vector<float> save(std::size_t, device::Target&) { throw unsaved(); }
    virtual void restore(const device::Target&, const std::vector<float>&) { throw unsaved(); }

    // Take the features from a network of the caller's; NULL: from the model's own.
    virtual void set_network(spcnet_network network, void* user) {
        network_ = network;
        user_ = user;
    }

    // The thresholds, rates or interval of config have been changed.
    virtual void configured() {}

    Config config;
    const bool has_head, on_gpu;
    spcnet_times times = {}; // of the latest call

protected:
    static Failure unsaved() {
        return Failure(
            SPCNET_BAD_ARGUMENT, "targets on a GPU are neither saved nor restored; open the model by spcnet_open");
    }

    spcnet_network network_ = nullptr;
    void* user_ = nullptr;
};

// What the caller is told; the id is added later.
inline spcnet_result result_of(const device::Measurement& found) {
    return {0, spcnet_status(int(found.status)), to_box({found.cx, found.cy, found.w, found.h}), found.score, found.psr};
}

[[noreturn]] inline void network_failed(int status) {
    throw Failure(
        SPCNET_NETWORK_FAILED, "the network of spcnet_set_network returned %d; mend it, then reset the targets", status);
}

} // namespace spc
