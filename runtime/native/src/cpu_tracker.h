// The tracker on the CPU: the walk from a frame to the boxes.
#pragma once

#include <memory>
#include <vector>

#include "colour.h"
#include "filter.h"
#include "patches.h"
#include "pool.h"
#include "regression.h"
#include "tracker.h"

namespace spc {

struct Target {
    device::Target record = {};
    TargetFilter filter;
    TargetColours colours;
    Array<float> cells; // template of the box regression
    Array<float> responses, colour; // (S, P, stride) of the filter and (P, stride) of the colours, in the latest search
    int best = 0; // scale
    bool finite = false; // the responses are
    bool searched = false;
};

class CpuTracker : public Tracker {
public:
    // Throws std::bad_alloc, std::system_error.
    CpuTracker(const Model& model, int threads, const Kernels& kernels);

    void begin(const spcnet_frame& frame, const State& state, std::size_t index) override;
    void remove(std::size_t index) override { targets.erase(targets.begin() + index); }
    void search(const spcnet_frame& frame, bool learns, spcnet_result* results) override;
    void learn(const spcnet_frame& frame) override;
    bool searched(std::size_t index) const override { return targets[index]->searched; }
    void response(std::size_t index, int scale, float* numbers) override;
    std::vector<float> save(std::size_t index, device::Target& record) override;
    void restore(const device::Target& record, const std::vector<float>& numbers) override;
    void set_network(spcnet_network network, void* user) override;

    std::vector<std::unique_ptr<Target>> targets;
    const Kernels& kernels;

private:
    // What a target needs while it is worked on, for each scale of its pyramid.
    struct Slot {
        std::vector<Patch> patches;
        std::vector<Picture> features;
        Array<float> spectra, joint;
        State place; // that is searched or learnt
        bool due;
    };
    // Work space of a thread.
    struct Lane {
        Network::Space network;
        Array<float> space, colour;
        Array<int> counts;
        RegressionHead::Space head;
        Array<float> patch, features; // for a network of the caller's, (3, N, N) and (C, M, M)
        int failed; // what it returned
        spcnet_times times;
    };

    std::unique_ptr<Target> target() const;
    template <class Visit> void visit(Target& target, const Visit& each) const;
    void observe(const spcnet_frame& frame, Slot& slot, Lane& lane, int scale, int scales, bool learns, double turn);
    void respond(Target& target, Slot& slot, Lane& lane, int scale);
    device::Measurement locate(
        const device::Frame& frame, const device::Search& search, Target& target, Slot& slot, Lane& lane);
    void learn_due(const spcnet_frame& frame, std::size_t first, int count);
    void check_network() const;
    void start_times();
    void sum_times();

    Pool pool_;
    Network backbone_;
    CorrelationFilter filter_;
    std::unique_ptr<ColourModel> colour_model_;
    std::unique_ptr<RegressionHead> head_;
    std::vector<Slot> slots_; // as many as threads
    std::vector<Lane> lanes_;
    double started_ = 0;
};

} // namespace spc
