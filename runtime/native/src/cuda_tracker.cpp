#include "cuda_tracker.h"

#include <algorithm>
#include <cmath>
#include <exception>

#include "constants.h"
#include "locate.h"

namespace spc {

// Makes the context current in this thread for as long as it lives.
class CudaTracker::Current {
public:
    explicit Current(const CudaTracker& tracker) : tracker_(tracker) {
        CALL(tracker.driver_, cuCtxPushCurrent_v2, tracker.context_);
    }
    ~Current() {
        // A call that fails leaves nothing under way, so that its frame and our memory can be used again.
        if (std::uncaught_exceptions() > before_ && tracker_.stream_)
            tracker_.driver_.cuStreamSynchronize(tracker_.stream_);
        void* context;
        tracker_.driver_.cuCtxPopCurrent_v2(&context);
    }

private:
    const CudaTracker& tracker_;
    const int before_ = std::uncaught_exceptions();
};

CudaTracker::CudaTracker(const Model& model, int gpu, void* stream) : Tracker(model, true), foreign_(stream) {
    try {
        open(model, gpu);
    } catch (...) {
        close();
        throw;
    }
}

CudaTracker::~CudaTracker() {
    close();
}

void CudaTracker::open(const Model& model, int gpu) {
    int count = 0, major = 0, minor = 0;
    char name[256] = "";
    CALL(driver_, cuDeviceGetCount, &count);
    if (gpu < 0 || gpu >= count)
        throw Failure(
            count ? SPCNET_BAD_ARGUMENT : SPCNET_NO_GPU, "gpu is %d, but the driver knows %d; give a number below that",
            gpu, count);
    gpu_ = gpu;
    CALL(driver_, cuDeviceGet, &device_, gpu);
    CALL(driver_, cuDeviceGetName, name, int(sizeof name) - 1, device_);
    CALL(driver_, cuDeviceGetAttribute, &major, Driver::CAPABILITY_MAJOR, device_);
    CALL(driver_, cuDeviceGetAttribute, &minor, Driver::CAPABILITY_MINOR, device_);
    name_ = name;
    const CudaPart* part = nullptr;
    for (const CudaPart& each : model.cuda)
        if (each.capability <= 10 * major + minor) part = &each;
    if (!part)
        throw Failure(
            SPCNET_NO_GPU,
            "the model has no code for %s of compute capability %d.%d; export it by spcnet export --native --cuda "
            "--target %d%d",
            name, major, minor, major, minor);
    plan_ = read_plan(*part, config);

    CALL(driver_, cuDevicePrimaryCtxRetain, &context_, device_);
    Current current(*this);
    std::string code(model.code); // a driver reads PTX up to a zero byte
    int status = driver_.cuModuleLoadData(&module_, code.c_str());
    if (status == Driver::UNSUPPORTED_PTX)
        throw Failure(
            SPCNET_NO_GPU, "the model's code is of a later CUDA than the driver of %s; update the driver", name);
    if (status == Driver::NO_BINARY)
        throw Failure(
            SPCNET_NO_GPU,
            "the model's code does not run on %s of compute capability %d.%d; export it by spcnet export --native "
            "--cuda --target %d%d",
            name, major, minor, major, minor);
    driver_.check(status, "cuModuleLoadData");
    for (const std::string& kernel : plan_.kernels) {
        functions_.push_back(nullptr);
        CALL(driver_, cuModuleGetFunction, &functions_.back(), module_, kernel.c_str());
    }
    CALL(driver_, cuStreamCreate, &stream_, Driver::NON_BLOCKING);
    CALL(driver_, cuEventCreate, &event_, Driver::DISABLE_TIMING);
    buffers_.resize(plan_.buffers.size());
    std::size_t at = 0;
    for (std::size_t i = 0; i < buffers_.size(); i++) {
        const Plan::Buffer& buffer = plan_.buffers[i];
        if (buffer.kind != Plan::Buffer::CONSTANT || buffer.bytes == 0) continue;
        buffers_[i] = allocate(buffer.bytes);
        write(buffers_[i], plan_.constants.data() + at, buffer.bytes);
        at += buffer.bytes;
    }
    plan_.constants = {};
    configure();
    std::size_t points = std::size_t(config.points()) * config.points();
    responses_ = Array<float>(points * config.scales);
    if (plan_.colour >= 0) {
        colour_ = Array<float>(points);
        joint_ = Array<float>(points * config.scales);
    }
}

void CudaTracker::close() {
    if (!context_) return;
    if (driver_.cuCtxPushCurrent_v2(context_) == 0) {
        if (stream_) driver_.cuStreamSynchronize(stream_);
        forget_graphs();
        free(buffers_, results_);
        if (staging_) driver_.cuMemFreeHost(staging_);
        if (event_) driver_.cuEventDestroy_v2(event_);
        if (stream_) driver_.cuStreamDestroy_v2(stream_);
        if (module_) driver_.cuModuleUnload(module_);
        void* context;
        driver_.cuCtxPopCurrent_v2(&context);
    }
    driver_.cuDevicePrimaryCtxRelease(device_);
    context_ = nullptr;
}

Address CudaTracker::allocate(std::size_t bytes) {
    Address address = 0;
    if (bytes) CALL(driver_, cuMemAlloc_v2, &address, bytes);
    return address;
}

void* CudaTracker::allocate_host(std::size_t bytes) {
    void* memory = nullptr;
    CALL(driver_, cuMemHostAlloc, &memory, bytes, Driver::DEVICE_MAP);
    return memory;
}

void CudaTracker::free(const std::vector<Address>& buffers, void* results) {
    for (std::size_t i = 0; i < buffers.size(); i++)
        if (buffers[i] && int(i) != plan_.results) driver_.cuMemFree_v2(buffers[i]);
    if (results) driver_.cuMemFreeHost(results);
}

// Room for so many targets.
void CudaTracker::reserve(std::size_t count) {
    std::size_t slots = count > capacity_ ? std::max(count, 2 * capacity_) : capacity_;
    std::size_t batch = std::size_t(plan_.batch), work = std::min(count, batch);
    work = work > work_ ? std::min(std::max(work, 2 * work_), batch) : work_;
    if (slots == capacity_ && work == work_) return;
    std::vector<Address> fresh(buffers_.size());
    void* results = nullptr;
    try {
        for (std::size_t i = 0; i < fresh.size(); i++) {
            const Plan::Buffer& buffer = plan_.buffers[i];
            if (buffer.kind == Plan::Buffer::TARGET && work > work_)
                fresh[i] = allocate(buffer.bytes * work);
            else if (buffer.kind == Plan::Buffer::SLOT && slots > capacity_)
                fresh[i] = allocate(buffer.bytes * slots);
            else if (buffer.kind == Plan::Buffer::POSITION && slots > capacity_) { // the last is for the first frame
                std::size_t bytes = buffer.bytes * (slots + 1);
                if (int(i) == plan_.results) {
                    results = allocate_host(bytes);
                    CALL(driver_, cuMemHostGetDevicePointer_v2, &fresh[i], results, 0);
                } else
                    fresh[i] = allocate(bytes);
            }
        }
        for (std::size_t i = 0; i < fresh.size(); i++)
            if (fresh[i] && plan_.buffers[i].kind != Plan::Buffer::TARGET && int(i) != plan_.results && capacity_)
                CALL(
                    driver_, cuMemcpyDtoDAsync_v2, fresh[i], buffers_[i], plan_.buffers[i].bytes * capacity_, stream_);
        synchronize();
    } catch (...) {
        free(fresh, results);
        throw;
    }
    forget_graphs(); // they contain the old addresses
    for (std::size_t i = 0; i < fresh.size(); i++)
        if (fresh[i]) std::swap(fresh[i], buffers_[i]);
    if (slots > capacity_) {
        std::swap(results, results_);
        listed_.clear();
        due_listed_.clear();
    }
    free(fresh, results);
    capacity_ = slots;
    work_ = work;
}

void CudaTracker::write(Address address, const void* data, std::size_t bytes) {
    CALL(driver_, cuMemcpyHtoDAsync_v2, address, data, bytes, stream_);
    synchronize();
}

void CudaTracker::read(void* data, Address address, std::size_t bytes) {
    CALL(driver_, cuMemcpyDtoHAsync_v2, data, address, bytes, stream_);
    synchronize();
}

void CudaTracker::synchronize() {
    CALL(driver_, cuStreamSynchronize, stream_);
}

void CudaTracker::begin(const spcnet_frame& frame, const State& state, std::size_t index) {
    double start = now();
    Current current(*this);
    targets_.reserve(index + 1);
    reserve(targets_.size() + 1);
    Target target = {0, state, state.cx, state.cy, SPCNET_TRACKING, 0, -1};
    auto taken = [&](const Target& other) { return other.slot == target.slot; };
    while (std::any_of(targets_.begin(), targets_.end(), taken)) target.slot++;

    std::size_t position = capacity_; // behind those of the others, whose responses stay
    Address record = buffers_[plan_.targets] + target.slot * sizeof(device::Target);
    device::Target first = begun(state, {0, 0, 0, 0});
    Region all = {0, 0, frame.width, frame.height};
    upload(frame, config.first_turn > 0 ? all : region(&target, 1, false, frame));
    write(record, &first, sizeof first);
    write(buffers_[plan_.list] + position * sizeof(int), &target.slot, sizeof target.slot);
    run(BEGIN, position, 1);
    std::size_t n = std::size_t(config.patch_size), patch = 3 * n * n;
    Array<float> pixels(patch);
    read(pixels.data(), buffers_[plan_.patches] + config.learn_scales / 2 * patch * sizeof(float), patch * sizeof(float));
    check_texture(pixels.data(), 1, n, n * n, config);
    run(ADD, position, 1);
    run(LOCALIZE, position, 1);
    synchronize();
    device::Measurement found = result(position);
    if (found.status == SPCNET_TRACKING)
        first = begun(state, offset_between(state, {found.cx, found.cy, found.w, found.h}));
    write(record, &first, sizeof first);
    if (index < targets_.size())
        targets_[index] = target;
    else
        targets_.push_back(target);
    times = {};
    times.total = now() - start;
}

void CudaTracker::search(const spcnet_frame& frame, bool learns, spcnet_result* results) {
    double start = now();
    Current current(*this);
    due_.clear();
    for (const Target& target : targets_)
        if (learns && (target.age + 1) % config.update_interval == 0) due_.push_back(target.slot);
    upload(frame, region(targets_.data(), targets_.size(), !due_.empty(), frame));
    run_all(learns ? UPDATE : LOCALIZE);
    for (std::size_t i = 0; i < targets_.size(); i++) result(i); // before anything is changed
    for (std::size_t i = 0; i < targets_.size(); i++) {
        const device::Measurement& found = result(i);
        Target& target = targets_[i];
        target.seen = {found.seen_x, found.seen_y, found.seen_w, found.seen_h};
        target.search_x = found.search_x;
        target.search_y = found.search_y;
        target.status = spcnet_status(int(found.status));
        target.position = int(i);
        target.age += learns;
        results[i] = result_of(found);
    }
    times = {};
    times.total = now() - start;
}

void CudaTracker::learn(const spcnet_frame& frame) {
    double start = now();
    times = {};
    if (config.interp_factor > 0) {
        Current current(*this);
        due_.clear();
        upload(frame, region(targets_.data(), targets_.size(), false, frame));
        run_all(LEARN);
    }
    times.total = now() - start;
}

void CudaTracker::response(std::size_t index, int scale, float* numbers) {
    Current current(*this);
    std::size_t points = std::size_t(config.points()) * config.points(), count = points * config.scales;
    std::size_t position = targets_[index].position, first = position / plan_.batch * plan_.batch;
    Address responses = buffers_[plan_.responses] + first * plan_.buffers[plan_.responses].bytes;
    read(responses_.data(), responses + (position - first) * count * sizeof(float), count * sizeof(float));
    const float* joint = responses_.data();
    if (plan_.colour >= 0) {
        read(colour_.data(), buffers_[plan_.colour] + position * points * sizeof(float), points * sizeof(float));
        join(responses_.data(), colour_.data(), config.points(), config, joint_.data());
        joint = joint_.data();
    }
    Peak peak = find_peak(responses_.data(), joint, config.points(), search_record(config, 0));
    if (scale < 0) scale = peak.scale;
    for (std::size_t i = 0; i < points; i++) numbers[i] = std::isfinite(peak.score) ? joint[scale * points + i] : 0;
}

void CudaTracker::set_network(spcnet_network network, void* user) {
    Tracker::set_network(network, user);
    Current current(*this);
    forget_graphs(); // they contain the model's own
}

void CudaTracker::configured() {
    Current current(*this);
    configure();
}

// Write what may be changed to the constants of the kernels.
void CudaTracker::configure() {
    for (int work = 0; work < 2; work++) {
        device::Search search = search_record(config, work ? config.update_interval : 0);
        write(buffers_[plan_.search[work].buffer] + plan_.search[work].offset, &search, sizeof search);
    }
    forget_graphs(); // LEARN has the rate among its arguments
}

// Enqueue the launches of a work for count targets of the list, from first on: no more than a batch.
void CudaTracker::run(Work work, std::size_t first, std::size_t count) {
    bool called = false; // the caller's network, for the launches that it replaces
    for (const Plan::Launch& launch : plan_.works[work]) {
        unsigned grid[3];
        for (int i = 0; i < 3; i++) grid[i] = launch.grid[i] + launch.each[i] * unsigned(count);
        if (network_ && launch.network) {
            if (!called) call_network(int(grid[2])); // every convolution has a layer of blocks for each image
            called = true;
            continue;
        }
        called = false;
        alignas(8) unsigned char packed[64 * 8];
        std::size_t size = 0;
        auto put = [&](auto value) {
            size = (size + sizeof value - 1) / sizeof value * sizeof value;
            std::memcpy(packed + size, &value, sizeof value);
            size += sizeof value;
        };
        for (const Plan::Argument& argument : launch.arguments) {
            switch (argument.kind) {
            case Plan::Argument::POINTER: {
                const Plan::Place& place = argument.place;
                Address address = 0;
                if (place.buffer >= 0) {
                    const Plan::Buffer& buffer = plan_.buffers[place.buffer];
                    address = buffers_[place.buffer] + place.offset;
                    if (buffer.kind == Plan::Buffer::POSITION) address += first * buffer.bytes;
                }
                put(address);
                break;
            }
            case Plan::Argument::INTEGER: put(int(argument.value)); break;
            case Plan::Argument::FLOAT: put(float(argument.value)); break;
            case Plan::Argument::DOUBLE: put(argument.value); break;
            case Plan::Argument::INTERP_FACTOR: put(float(config.interp_factor)); break;
            case Plan::Argument::FAST_INTERP_FACTOR: put(float(config.fast_interp_factor)); break;
            }
        }
        // CU_LAUNCH_PARAM_BUFFER_POINTER, _SIZE, _END
        void* extra[] = {reinterpret_cast<void*>(1), packed, reinterpret_cast<void*>(2), &size, nullptr};
        CALL(
            driver_, cuLaunchKernel, functions_[launch.kernel], grid[0], grid[1], grid[2], launch.block[0],
            launch.block[1], launch.block[2], 0, stream_, nullptr, extra);
    }
}

void CudaTracker::call_network(int images) {
    auto at = [this](int buffer) { return reinterpret_cast<float*>(std::uintptr_t(buffers_[buffer])); };
    int status = network_(user_, at(plan_.patches), at(plan_.features), images, stream_);
    if (status) network_failed(status);
}

// Write slots to a list on the device, unless they stand there.
void CudaTracker::list(int buffer, const std::vector<int>& slots, std::vector<int>& listed) {
    if (slots == listed) return;
    write(buffers_[buffer], slots.data(), slots.size() * sizeof(int));
    listed = slots;
}

// Enqueue a work for the first count targets of its list.
void CudaTracker::run_batches(Work work, std::size_t count) {
    std::size_t batch = std::size_t(plan_.batch);
    for (std::size_t first = 0; first < count; first += batch) run(work, first, std::min(count - first, batch));
}

// Run a work for all targets, and LEARN_DUE for the slots in due_, and wait for them: launch by launch the first time,
// then as a graph.
void CudaTracker::run_all(Work work) {
    slots_.clear();
    for (const Target& target : targets_) slots_.push_back(target.slot);
    list(plan_.list, slots_, listed_);
    if (!due_.empty()) list(plan_.due, due_, due_listed_);
    auto enqueue = [&] {
        run_batches(work, slots_.size());
        run_batches(LEARN_DUE, due_.size());
    };
    auto same = [&](const Graph& graph) {
        return graph.work == work && graph.targets == slots_.size() && graph.due == due_.size();
    };
    auto found = std::find_if(graphs_.begin(), graphs_.end(), same);
    bool warm = found != graphs_.end();
    if (warm && !found->executable && capturable_ && !network_) {
        bool good = driver_.cuStreamBeginCapture_v2(stream_, Driver::THREAD_LOCAL) == 0;
        if (good) {
            void* graph = nullptr;
            try {
                enqueue();
            } catch (const Failure&) {
                good = false;
            }
            good = driver_.cuStreamEndCapture(stream_, &graph) == 0 && good;
            good = good && driver_.cuGraphInstantiateWithFlags(&found->executable, graph, 0) == 0;
            if (graph) driver_.cuGraphDestroy(graph);
        }
        capturable_ = good; // else launches one by one, until something changes
    }
    if (warm && found->executable)
        CALL(driver_, cuGraphLaunch, found->executable, stream_);
    else
        enqueue();
    synchronize();
    if (warm) return;
    if (int(graphs_.size()) == MAX_GRAPHS) forget_graphs();
    graphs_.push_back({work, slots_.size(), due_.size(), nullptr});
}

void CudaTracker::forget_graphs() {
    for (const Graph& graph : graphs_)
        if (graph.executable) driver_.cuGraphExecDestroy(graph.executable);
    graphs_.clear();
    capturable_ = driver_.graphs;
}

// What was found for a position of the list, once the GPU is done. Throws Failure where it cannot be.
const device::Measurement& CudaTracker::result(std::size_t position) const {
    const auto& found = static_cast<const device::Measurement*>(results_)[position];
    bool finite = true;
    for (double number : {found.cx, found.cy, found.w, found.h, found.score, found.psr, found.seen_x, found.seen_y,
                          found.seen_w, found.seen_h, found.search_x, found.search_y})
        finite = finite && std::isfinite(number);
    if (!finite || !(found.status >= SPCNET_TRACKING && found.status <= SPCNET_LOST))
        throw Failure(
            SPCNET_NO_GPU, "%s gave a result that is no box; close the tracker, and export the model again",
            name_.c_str());
    return found;
}

} // namespace spc
