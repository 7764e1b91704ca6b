#include "cpu_tracker.h"

#include <algorithm>
#include <cmath>

#include "constants.h"

namespace spc {

namespace {

// Adds the seconds of its life to a stage.
class Stage {
public:
    explicit Stage(double& seconds) : seconds_(seconds), start_(now()) {}
    ~Stage() { seconds_ += now() - start_; }

private:
    double& seconds_;
    double start_;
};

device::Frame size_of(const spcnet_frame& frame) {
    device::Frame size = {};
    size.width = frame.width;
    size.height = frame.height;
    return size;
}

} // namespace

CpuTracker::CpuTracker(const Model& model, int threads, const Kernels& kernels)
    : Tracker(model, false), kernels(kernels), pool_(threads),
      backbone_(model.backbone, config.patch_size, 3, kernels), filter_(config, backbone_.depth(), kernels),
      slots_(threads), lanes_(threads) {
    if (config.colour_weight > 0) colour_model_ = std::make_unique<ColourModel>(config, kernels);
    if (has_head) head_ = std::make_unique<RegressionHead>(model, kernels);
    int scales = std::max(config.scales, config.learn_scales), points = config.points();
    std::size_t response = std::size_t(points) * filter_.stride();
    for (Slot& slot : slots_) {
        for (int s = 0; s < scales; s++) {
            slot.patches.emplace_back(config, backbone_.border());
            slot.features.emplace_back(backbone_.cells(), 0, backbone_.depth());
        }
        slot.spectra = Array<float>(scales * filter_.spectrum_size());
        if (colour_model_) slot.joint = Array<float>(config.scales * response);
    }
    for (Lane& lane : lanes_) {
        lane.network = backbone_.space();
        lane.space = Array<float>(filter_.space_size());
        if (colour_model_) {
            lane.colour = Array<float>(colour_model_->space_size());
            lane.counts = Array<int>(2 * COLOURS);
        }
        if (head_) lane.head = head_->space();
    }
}

// Memory for a target.
std::unique_ptr<Target> CpuTracker::target() const {
    auto made = std::make_unique<Target>();
    std::size_t response = std::size_t(config.points()) * filter_.stride();
    made->filter = filter_.target(config);
    made->responses = Array<float>(config.scales * response);
    if (colour_model_) {
        made->colour = Array<float>(response);
        made->colours = colour_model_->target();
    }
    if (head_) made->cells = Array<float>(head_->template_size());
    return made;
}

// Call each for every number of a target, in the order of the arrays of spcnet.runtime.saved.
template <class Visit> void CpuTracker::visit(Target& target, const Visit& each) const {
    std::size_t depth = backbone_.depth(), filters = target.filter.mean.size() ? 2 : 1;
    for (std::size_t f = 0; f < filters; f++)
        for (int c = 0; c < config.channels; c++)
            for (int i = 0; i < 2 * filter_.points(); i++) each(target.filter.num[f][i * depth + c]);
    for (std::size_t f = 0; f < filters; f++)
        for (int i = 0; i < filter_.points(); i++) each(target.filter.den[f][i]);
    if (colour_model_)
        for (Array<float>* histogram : {&target.colours.target, &target.colours.surroundings})
            for (int i = 0; i < COLOURS; i++) each((*histogram)[i]);
    bool corrects = head_ && config.box_gain > 0;
    for (int c = 0; corrects && c < config.channels; c++) // (W, W, C) to (C, W, W)
        for (std::size_t i = c; i < target.cells.size(); i += config.channels) each(target.cells[i]);
}

std::vector<float> CpuTracker::save(std::size_t index, device::Target& record) {
    std::vector<float> numbers;
    visit(*targets[index], [&](float& number) { numbers.push_back(number); });
    record = targets[index]->record;
    return numbers;
}

void CpuTracker::restore(const device::Target& record, const std::vector<float>& numbers) {
    std::unique_ptr<Target> made = target();
    std::size_t needed = 0, next = 0;
    visit(*made, [&](float&) { needed++; });
    if (numbers.size() != needed)
        throw Failure(
            SPCNET_BAD_ARGUMENT, "the data has %zu numbers of a target, but this model needs %zu; restore it where it was saved",
            numbers.size(), needed);
    visit(*made, [&](float& number) { number = numbers[next++]; });
    made->record = record;
    // At a rate of 0 nothing is learnt, and what follows from the others is computed.
    Array<float> nothing(config.learn_scales * filter_.spectrum_size());
    filter_.learn(made->filter, nothing.data(), 0, config);
    if (colour_model_) colour_model_->weigh(made->colours);
    targets.push_back(std::move(made));
}

void CpuTracker::begin(const spcnet_frame& frame, const State& state, std::size_t index) {
    targets.reserve(index + 1);
    start_times();
    Slot& slot = slots_[0];
    Lane& lane = lanes_[0];
    int scales = config.learn_scales, middle = scales / 2;
    std::unique_ptr<Target> target = this->target();
    target->record = begun(state, {0, 0, 0, 0});

    slot.place = state;
    double turns[] = {0, config.first_turn, -config.first_turn}, rates[] = {1, 1.0 / 3, 1.0 / 4};
    for (int i = 0; i < (config.first_turn > 0 ? 3 : 1); i++) { // together the turned weigh as much as the upright
        for (int s = 0; s < scales; s++) observe(frame, slot, lane, s, scales, true, turns[i]);
        check_network();
        if (i == 0) {
            const Patch& patch = slot.patches[middle];
            check_texture(patch.line(0), 3, patch.row(), 1, config);
            if (head_) {
                Stage stage(lane.times.regress);
                head_->learn(slot.features[middle], target->cells.data());
            }
            if (colour_model_) {
                Stage stage(lane.times.colour);
                colour_model_->learn(target->colours, slot.patches[middle], 1, lane.counts.data());
            }
        }
        Stage stage(lane.times.learn);
        filter_.learn(target->filter, slot.spectra.data(), rates[i], config);
    }
    for (int s = 0; s < config.scales; s++) {
        observe(frame, slot, lane, s, config.scales, false, 0);
        respond(*target, slot, lane, s);
    }
    check_network();
    device::Measurement found = locate(size_of(frame), search_record(config, 0), *target, slot, lane);
    bool tracking = found.status == device::TRACKING;
    target->record = begun(
        state, tracking ? offset_between(state, {found.cx, found.cy, found.w, found.h}) : Offset{0, 0, 0, 0});
    target->searched = false; // by the caller
    if (index < targets.size())
        targets[index] = std::move(target);
    else
        targets.push_back(std::move(target));
    sum_times();
}

void CpuTracker::search(const spcnet_frame& frame, bool learns, spcnet_result* results) {
    start_times();
    device::Frame size = size_of(frame);
    device::Search search = search_record(config, learns ? config.update_interval : 0);
    int threads = pool_.threads(), scales = config.scales;
    for (std::size_t first = 0; first < targets.size(); first += threads) {
        int count = int(std::min(targets.size() - first, std::size_t(threads)));
        for (int i = 0; i < count; i++) {
            const device::Target& record = targets[first + i]->record;
            slots_[i].place = {record.search_x, record.search_y, record.w, record.h};
        }
        pool_.run([&](int thread) {
            for (int i = thread; i < count * scales; i += threads) {
                Slot& slot = slots_[i / scales];
                Lane& lane = lanes_[thread];
                int s = i % scales;
                observe(frame, slot, lane, s, scales, false, 0);
                respond(*targets[first + i / scales], slot, lane, s);
            }
        });
        check_network();
        pool_.run([&](int thread) {
            for (int i = thread; i < count; i += threads) {
                Target& target = *targets[first + i];
                device::Measurement found = locate(size, search, target, slots_[i], lanes_[thread]);
                results[first + i] = result_of(found);
                slots_[i].due = learns && target.record.rate > 0;
            }
        });
        if (learns) learn_due(frame, first, count);
    }
    sum_times();
}

void CpuTracker::learn(const spcnet_frame& frame) {
    start_times();
    for (std::size_t first = 0; first < targets.size(); first += slots_.size()) {
        int count = int(std::min(targets.size() - first, slots_.size()));
        for (int i = 0; i < count; i++) slots_[i].due = config.interp_factor > 0;
        learn_due(frame, first, count);
    }
    sum_times();
}

// Learn the targets from first on whose slots are due, at their states.
void CpuTracker::learn_due(const spcnet_frame& frame, std::size_t first, int count) {
    int threads = pool_.threads(), scales = config.learn_scales;
    bool any = false;
    for (int i = 0; i < count; i++) {
        const device::Target& record = targets[first + i]->record;
        slots_[i].place = {record.cx, record.cy, record.w, record.h};
        any = any || slots_[i].due;
    }
    if (!any) return;
    pool_.run([&](int thread) {
        for (int i = thread; i < count * scales; i += threads)
            if (slots_[i / scales].due)
                observe(frame, slots_[i / scales], lanes_[thread], i % scales, scales, true, 0);
    });
    check_network();
    pool_.run([&](int thread) {
        Lane& lane = lanes_[thread];
        for (int i = thread; i < count; i += threads) {
            if (!slots_[i].due) continue;
            Target& target = *targets[first + i];
            {
                Stage stage(lane.times.learn);
                filter_.learn(target.filter, slots_[i].spectra.data(), -1, config);
            }
            if (colour_model_) {
                Stage stage(lane.times.colour);
                colour_model_->learn(
                    target.colours, slots_[i].patches[scales / 2], float(config.colour_rate), lane.counts.data());
            }
        }
    });
}

// Patch, features and spectrum of one scale of a pyramid.
void CpuTracker::observe(
    const spcnet_frame& frame, Slot& slot, Lane& lane, int scale, int scales, bool learns, double turn) {
    {
        Stage stage(lane.times.crop);
        double factor = std::pow(config.scale_step, scale - scales / 2);
        slot.patches[scale].cut(frame, slot.place, config, factor, turn, kernels);
    }
    {
        Stage stage(lane.times.features);
        const Patch& patch = slot.patches[scale];
        if (network_) {
            patch.to_planes(lane.patch.data());
            int status = network_(user_, lane.patch.data(), lane.features.data(), 1, nullptr);
            if (status) lane.failed = status;
            from_planes(lane.features.data(), config.channels, slot.features[scale]);
        } else
            backbone_.run(patch.with_border(), patch.row(), lane.network, slot.features[scale]);
    }
    Stage stage(lane.times.dft);
    filter_.transform(
        slot.features[scale], learns, lane.space.data(), &slot.spectra[scale * filter_.spectrum_size()]);
}

// The response of a target to the spectrum of one scale.
void CpuTracker::respond(Target& target, Slot& slot, Lane& lane, int scale) {
    Stage stage(lane.times.respond);
    filter_.respond(
        target.filter, &slot.spectra[scale * filter_.spectrum_size()], lane.space.data(),
        &target.responses[scale * std::size_t(config.points()) * filter_.stride()]);
}

// Peak, state and status of a target, of the responses in its slot.
device::Measurement CpuTracker::locate(
    const device::Frame& frame, const device::Search& search, Target& target, Slot& slot, Lane& lane) {
    int stride = filter_.stride();
    const float* joint = target.responses.data();
    if (colour_model_) {
        Stage stage(lane.times.colour);
        colour_model_->respond(
            target.colours, slot.patches[config.scales / 2], lane.colour.data(), target.colour.data());
        join(target.responses.data(), target.colour.data(), stride, config, slot.joint.data());
        joint = slot.joint.data();
    }
    Peak peak;
    {
        Stage stage(lane.times.locate);
        peak = find_peak(target.responses.data(), joint, stride, search);
        target.best = peak.scale;
        target.finite = std::isfinite(peak.score);
        target.searched = true;
    }
    bool sure = peak.score >= search.uncertain_score;
    State found = moved(peak.shift, target.record, frame, search);
    if (head_ && search.box_gain > 0 && sure) {
        Stage stage(lane.times.regress);
        device::CellWindow window = cell_window(peak.shift, sure, target.record, search);
        float box[4];
        head_->box(
            target.cells.data(), slot.features[window.patch], window.row, window.column, lane.head, box);
        found = corrected(found, window, box, target.record, frame, search);
    }
    if (sure) found = without_offset(found, target.record.share, target.record, frame, search);
    return settle(target.record, found, peak.score, peak.psr, frame, search);
}

void CpuTracker::response(std::size_t index, int scale, float* numbers) {
    const Target& target = *targets[index];
    const float* joint = target.responses.data();
    int points = config.points(), stride = filter_.stride();
    if (colour_model_) {
        join(target.responses.data(), target.colour.data(), stride, config, slots_[0].joint.data());
        joint = slots_[0].joint.data();
    }
    joint += (scale < 0 ? target.best : scale) * std::size_t(points) * stride;
    for (int y = 0; y < points; y++)
        for (int x = 0; x < points; x++) numbers[y * points + x] = target.finite ? joint[y * stride + x] : 0;
}

void CpuTracker::set_network(spcnet_network network, void* user) {
    std::size_t patch = 3 * std::size_t(config.patch_size) * config.patch_size;
    std::size_t features = std::size_t(config.channels) * config.grid() * config.grid();
    for (Lane& lane : lanes_) {
        lane.patch = Array<float>(network ? patch : 0);
        lane.features = Array<float>(network ? features : 0);
    }
    Tracker::set_network(network, user);
}

// Throws Failure where the caller's network has failed in any thread.
void CpuTracker::check_network() const {
    for (const Lane& lane : lanes_)
        if (lane.failed) network_failed(lane.failed);
}

void CpuTracker::start_times() {
    started_ = now();
    for (Lane& lane : lanes_) {
        lane.times = {};
        lane.failed = 0;
    }
}

void CpuTracker::sum_times() {
    times = {};
    for (const Lane& lane : lanes_) {
        times.crop += lane.times.crop;
        times.features += lane.times.features;
        times.dft += lane.times.dft;
        times.respond += lane.times.respond;
        times.locate += lane.times.locate;
        times.learn += lane.times.learn;
        times.colour += lane.times.colour;
        times.regress += lane.times.regress;
    }
    times.total = now() - started_;
}

} // namespace spc
