// The C interface: everything that comes from outside is checked here, and exceptions end here.
#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <system_error>

#include "constants.h"
#include "cpu_tracker.h"
#include "cuda_tracker.h"

#ifndef SPCNET_VERSION
#error "define SPCNET_VERSION as a string, such as 0.5.0"
#endif

using namespace spc;

// The name of the header's handle.
struct spcnet {
    explicit spcnet(std::unique_ptr<Tracker> tracker) : tracker(std::move(tracker)) {}

    std::unique_ptr<Tracker> tracker;
    std::vector<int> ids; // of the targets
    FrameSize frame = {}; // of all targets
    int next = 0; // id
    mutable char error[SPCNET_MESSAGE] = "";

    __attribute__((format(printf, 3, 4))) spcnet_code fail(spcnet_code code, const char* form, ...) const {
        std::va_list values;
        va_start(values, form);
        std::vsnprintf(error, sizeof error, form, values);
        va_end(values);
        return code;
    }
    int find(int id) const { // index, or -1
        auto found = std::find(ids.begin(), ids.end(), id);
        return found == ids.end() ? -1 : int(found - ids.begin());
    }
    spcnet_code missing(int id) const {
        return fail(SPCNET_NO_TARGET, "there is no target %d; give an id that spcnet_add has set", id);
    }

    // Call body, which may throw.
    template <class Body> spcnet_code guarded(const Body& body) const {
        try {
            body();
            return SPCNET_OK;
        } catch (const Failure& failure) {
            return fail(failure.code, "%s", failure.text);
        } catch (const std::bad_alloc&) {
            return fail(SPCNET_NO_MEMORY, "there is not enough memory; remove a target");
        }
    }
};

namespace {

const int MAX_THREADS = 64;
const std::size_t MAX_FILE = std::size_t(1) << 28; // bytes; no end is in sight of a device

const char MEMORY[] = "the model"; // in place of a path, where it is opened from memory

void tell(char* message, std::size_t size, const char* text) {
    if (message && size) std::snprintf(message, size, "%s", text);
}

// The bytes of a model file.
std::vector<char> read_file(const char* path) {
    if (!path) throw Failure(SPCNET_BAD_ARGUMENT, "path is NULL; give the path of a .spcnet file");
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) // a pipe may have no end, or no beginning
        throw Failure(SPCNET_BAD_FILE, "%s is no file; give the path of a .spcnet file", path);
    struct Closer {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };
    std::unique_ptr<std::FILE, Closer> file(std::fopen(path, "rb"));
    std::vector<char> data;
    char piece[16384];
    std::size_t read;
    while (file && data.size() <= MAX_FILE && (read = std::fread(piece, 1, sizeof piece, file.get())) != 0)
        data.insert(data.end(), piece, piece + read);
    if (!file || std::ferror(file.get()) || data.size() > MAX_FILE)
        throw Failure(
            SPCNET_BAD_FILE, "%s cannot be read, or has more than 256 MB; give a .spcnet file", path);
    return data;
}

// Open a model from a file, or with MEMORY for path from data, on the tracker that make returns; check comes first.
template <class Check, class Make>
spcnet_code open_tracker(
    const void* data, std::size_t bytes, const char* path, spcnet** tracker, char* message, std::size_t size,
    const Check& check, const Make& make) {
    if (message && size) *message = 0;
    if (!tracker) return tell(message, size, "tracker is NULL; give the address of a pointer"), SPCNET_BAD_ARGUMENT;
    *tracker = nullptr;
    try {
        check();
        std::vector<char> file;
        if (path == MEMORY && !data) throw Failure(SPCNET_BAD_ARGUMENT, "data is NULL; give the bytes of a .spcnet file");
        if (path != MEMORY) {
            file = read_file(path);
            data = file.data();
            bytes = file.size();
        }
        std::string why;
        Model model;
        if (!read_model(data, bytes, model, why))
            throw Failure(SPCNET_BAD_FILE, "%s %s", path, why.c_str());
        *tracker = new spcnet(make(model));
        return SPCNET_OK;
    } catch (const Failure& failure) {
        return tell(message, size, failure.text), failure.code;
    } catch (const std::bad_alloc&) {
        return tell(message, size, "there is not enough memory to open the model; free some"), SPCNET_NO_MEMORY;
    } catch (const std::system_error&) {
        return tell(message, size, "the system starts no more threads; ask for fewer"), SPCNET_NO_MEMORY;
    }
}

spcnet_code open_cpu(
    const void* data, std::size_t bytes, const char* path, int threads, const Kernels& kernels, spcnet** tracker,
    char* message, std::size_t size) {
    auto check = [&] {
        if (threads < 1 || threads > MAX_THREADS)
            throw Failure(SPCNET_BAD_ARGUMENT, "threads is %d; give a number from 1 to %d", threads, MAX_THREADS);
    };
    return open_tracker(data, bytes, path, tracker, message, size, check, [&](const Model& model) {
        return std::make_unique<CpuTracker>(model, threads, kernels);
    });
}

spcnet_code open_cuda(
    const void* data, std::size_t bytes, const char* path, int gpu, void* stream, spcnet** tracker, char* message,
    std::size_t size) {
    return open_tracker(data, bytes, path, tracker, message, size, [] {}, [&](const Model& model) {
        return std::make_unique<CudaTracker>(model, gpu, stream);
    });
}

// Check a frame; unless alone is true, also that it has the size of the targets' frames.
spcnet_code check(const spcnet* handle, const spcnet_frame* frame, bool alone) {
    char why[SPCNET_MESSAGE];
    if (!check_frame(frame, why)) return handle->fail(SPCNET_BAD_ARGUMENT, "%s", why);
    if (frame->memory == SPCNET_DEVICE && !handle->tracker->on_gpu)
        return handle->fail(
            SPCNET_BAD_ARGUMENT,
            "the frame is in device memory, but this tracker runs on the CPU; give host memory, or open the model by "
            "spcnet_open_cuda");
    if (!alone && (frame->width != handle->frame.width || frame->height != handle->frame.height))
        return handle->fail(
            SPCNET_BAD_ARGUMENT,
            "the frame is %d x %d px, the first one was %d x %d; give frames of one size, or start anew",
            frame->width, frame->height, handle->frame.width, handle->frame.height);
    return SPCNET_OK;
}

// Begin a target at an index of the list: a new one at its end, or in place of another.
spcnet_code begin(spcnet* handle, const spcnet_frame* frame, spcnet_box box, std::size_t index, int id) {
    auto& ids = handle->ids;
    bool alone = ids.size() == (index < ids.size() ? 1 : 0);
    if (spcnet_code code = check(handle, frame, alone)) return code;
    FrameSize size = {frame->width, frame->height};
    char why[SPCNET_MESSAGE];
    if (!check_box(box, size, why)) return handle->fail(SPCNET_BAD_ARGUMENT, "%s", why);
    spcnet_code code = handle->guarded([&] {
        ids.reserve(index + 1);
        handle->tracker->begin(*frame, from_box(box), index);
    });
    if (code) return code;
    if (index == ids.size()) ids.push_back(id);
    handle->frame = size;
    return SPCNET_OK;
}

spcnet_code search(
    spcnet* handle, const spcnet_frame* frame, bool learns, spcnet_result* results, int capacity, int* count) {
    if (!handle) return SPCNET_BAD_ARGUMENT;
    std::size_t needed = handle->ids.size();
    if (needed == 0) return handle->fail(SPCNET_NO_TARGET, "there is no target; call spcnet_add first");
    if (spcnet_code code = check(handle, frame, false)) return code;
    if (!results) return handle->fail(SPCNET_BAD_ARGUMENT, "results is NULL; give an array of %zu", needed);
    if (capacity < 0 || std::size_t(capacity) < needed)
        return handle->fail(
            SPCNET_BAD_ARGUMENT, "capacity is %d, but there are %zu targets; give results as many", capacity, needed);
    spcnet_code code = handle->guarded([&] { handle->tracker->search(*frame, learns, results); });
    if (code) return code;
    for (std::size_t i = 0; i < needed; i++) results[i].id = handle->ids[i];
    if (count) *count = int(needed);
    return SPCNET_OK;
}

// The response at a scale, or with -1 at the best one.
spcnet_code respond(
    const spcnet* tracker, int id, int scale, float* response, std::size_t capacity, int* side) {
    if (!side) return tracker->fail(SPCNET_BAD_ARGUMENT, "side is NULL; give the address of a number");
    int index = tracker->find(id);
    if (index < 0) return tracker->missing(id);
    if (!tracker->tracker->searched(index))
        return tracker->fail(SPCNET_NO_TARGET, "target %d was not searched yet; call spcnet_update first", id);
    int points = tracker->tracker->config.points();
    std::size_t count = std::size_t(points) * points;
    if (response && capacity < count)
        return tracker->fail(
            SPCNET_BAD_ARGUMENT, "capacity is %zu, but the response has %zu numbers; give space for those", capacity,
            count);
    if (response) {
        spcnet_code code = tracker->guarded([&] { tracker->tracker->response(index, scale, response); });
        if (code) return code;
        // The displacement 0 lies at the first point, wrapped: move it to the middle.
        for (int y = 0; y < points; y++)
            std::rotate(response + y * points, response + (y + 1) * points - points / 2, response + (y + 1) * points);
        std::rotate(response, response + count - points / 2 * points, response + count);
    }
    *side = points;
    return SPCNET_OK;
}

// What a saved target begins with; the numbers of the tracker follow, each a float.
struct Saved {
    double width, height; // of the frames
    device::Target record;
};

// Whether a record, of frames of that size, is one that a tracker can go on with.
bool sound(const device::Target& t, FrameSize frame) {
    auto within = [](double x, double low, double high) { return x >= low && x <= high; };
    auto whole = [&](double x) { return within(x, 0, 9007199254740992.0) && x == std::floor(x); };
    bool good = whole(t.age) && whole(t.misses) && within(t.rate, 0, 1) && within(t.share, 0, 1);
    for (double side : {t.w, t.h, t.first_w, t.first_h}) good = good && within(side, 1e-3, LONGEST_SIDE);
    for (double x : {t.cx, t.search_x}) good = good && within(x, 0, frame.width - 1);
    for (double y : {t.cy, t.search_y}) good = good && within(y, 0, frame.height - 1);
    for (double offset : {t.offset_x, t.offset_y, t.offset_w, t.offset_h}) good = good && within(offset, -10, 10);
    return good;
}

struct Parameter {
    const char* name;
    double low, high;
};

const Parameter PARAMETERS[] = {
    {"UNCERTAIN_SCORE", 0, 10},       {"LOST_SCORE", 0, 10},   {"RECOVERY_RADIUS", 0, 10},
    {"UPDATE_INTERVAL", 1, 1000000}, {"INTERP_FACTOR", 0, 1}, {"BOX_GAIN", 0, 1},
    {"SCALE_PENALTY", 0.1, 1},       {"FAST_INTERP_FACTOR", 0, 1}};

bool known(int parameter) {
    return unsigned(parameter) < sizeof PARAMETERS / sizeof *PARAMETERS;
}

} // namespace

int spcnet_abi(void) {
    return SPCNET_ABI;
}

const char* spcnet_version(void) {
    return SPCNET_VERSION;
}

const char* spcnet_instructions(void) {
    return choose_kernels()->name;
}

spcnet_code spcnet_open(const char* path, int threads, spcnet** tracker, char* message, std::size_t size) {
    return open_cpu(nullptr, 0, path, threads, *choose_kernels(), tracker, message, size);
}

spcnet_code spcnet_open_memory(
    const void* data, std::size_t bytes, int threads, spcnet** tracker, char* message, std::size_t size) {
    return open_cpu(data, bytes, MEMORY, threads, *choose_kernels(), tracker, message, size);
}

spcnet_code spcnet_open_cuda(
    const char* path, int gpu, void* stream, spcnet** tracker, char* message, std::size_t size) {
    return open_cuda(nullptr, 0, path, gpu, stream, tracker, message, size);
}

spcnet_code spcnet_open_cuda_memory(
    const void* data, std::size_t bytes, int gpu, void* stream, spcnet** tracker, char* message, std::size_t size) {
    return open_cuda(data, bytes, MEMORY, gpu, stream, tracker, message, size);
}

void spcnet_close(spcnet* tracker) {
    delete tracker;
}

const char* spcnet_last_error(const spcnet* tracker) {
    return tracker ? tracker->error : "";
}

spcnet_code spcnet_add(spcnet* tracker, const spcnet_frame* frame, spcnet_box box, int* id) {
    if (!tracker) return SPCNET_BAD_ARGUMENT;
    if (!id) return tracker->fail(SPCNET_BAD_ARGUMENT, "id is NULL; give the address of a number");
    if (tracker->next == std::numeric_limits<int>::max())
        return tracker->fail(SPCNET_NO_MEMORY, "all ids have been used; open the model again");
    spcnet_code code = begin(tracker, frame, box, tracker->ids.size(), tracker->next);
    if (code == SPCNET_OK) *id = tracker->next++;
    return code;
}

spcnet_code spcnet_reset(spcnet* tracker, int id, const spcnet_frame* frame, spcnet_box box) {
    if (!tracker) return SPCNET_BAD_ARGUMENT;
    int index = tracker->find(id);
    return index < 0 ? tracker->missing(id) : begin(tracker, frame, box, index, id);
}

spcnet_code spcnet_remove(spcnet* tracker, int id) {
    if (!tracker) return SPCNET_BAD_ARGUMENT;
    int index = tracker->find(id);
    if (index < 0) return tracker->missing(id);
    tracker->tracker->remove(index);
    tracker->ids.erase(tracker->ids.begin() + index);
    return SPCNET_OK;
}

int spcnet_count(const spcnet* tracker) {
    return tracker ? int(tracker->ids.size()) : 0;
}

spcnet_code spcnet_update(
    spcnet* tracker, const spcnet_frame* frame, spcnet_result* results, int capacity, int* count) {
    return search(tracker, frame, true, results, capacity, count);
}

spcnet_code spcnet_localize(
    spcnet* tracker, const spcnet_frame* frame, spcnet_result* results, int capacity, int* count) {
    return search(tracker, frame, false, results, capacity, count);
}

spcnet_code spcnet_learn(spcnet* tracker, const spcnet_frame* frame) {
    if (!tracker) return SPCNET_BAD_ARGUMENT;
    if (tracker->ids.empty())
        return tracker->fail(SPCNET_NO_TARGET, "there is no target; call spcnet_add first");
    if (spcnet_code code = check(tracker, frame, false)) return code;
    return tracker->guarded([&] { tracker->tracker->learn(*frame); });
}

spcnet_code spcnet_response(const spcnet* tracker, int id, float* response, std::size_t capacity, int* side) {
    return tracker ? respond(tracker, id, -1, response, capacity, side) : SPCNET_BAD_ARGUMENT;
}

spcnet_code spcnet_response_at(
    const spcnet* tracker, int id, int scale, float* response, std::size_t capacity, int* side) {
    if (!tracker) return SPCNET_BAD_ARGUMENT;
    int scales = tracker->tracker->config.scales;
    if (scale < 0 || scale >= scales)
        return tracker->fail(SPCNET_BAD_ARGUMENT, "scale is %d; give a number from 0 to %d", scale, scales - 1);
    return respond(tracker, id, scale, response, capacity, side);
}

spcnet_code spcnet_save(const spcnet* tracker, int id, void* data, std::size_t capacity, std::size_t* size) {
    if (!tracker) return SPCNET_BAD_ARGUMENT;
    if (!size) return tracker->fail(SPCNET_BAD_ARGUMENT, "size is NULL; give the address of a number");
    int index = tracker->find(id);
    if (index < 0) return tracker->missing(id);
    return tracker->guarded([&] {
        Saved saved = {double(tracker->frame.width), double(tracker->frame.height), {}};
        std::vector<float> numbers = tracker->tracker->save(index, saved.record);
        std::size_t needed = sizeof saved + numbers.size() * sizeof(float);
        if (data && capacity < needed)
            throw Failure(
                SPCNET_BAD_ARGUMENT, "capacity is %zu, but the target has %zu bytes; give space for those", capacity,
                needed);
        *size = needed;
        if (!data) return;
        std::memcpy(data, &saved, sizeof saved);
        std::memcpy(static_cast<char*>(data) + sizeof saved, numbers.data(), needed - sizeof saved);
    });
}

spcnet_code spcnet_restore(spcnet* tracker, const void* data, std::size_t size, int* id) {
    if (!tracker) return SPCNET_BAD_ARGUMENT;
    if (!id) return tracker->fail(SPCNET_BAD_ARGUMENT, "id is NULL; give the address of a number");
    if (!data) return tracker->fail(SPCNET_BAD_ARGUMENT, "data is NULL; give the bytes of spcnet_save");
    if (tracker->next == std::numeric_limits<int>::max())
        return tracker->fail(SPCNET_NO_MEMORY, "all ids have been used; open the model again");
    return tracker->guarded([&] {
        Saved saved;
        bool good = size >= sizeof saved && (size - sizeof saved) % sizeof(float) == 0;
        if (good) std::memcpy(&saved, data, sizeof saved);
        FrameSize frame = {};
        good = good && saved.width >= 1 && saved.width <= LONGEST_SIDE && saved.height >= 1 && saved.height <= LONGEST_SIDE;
        if (good) frame = {int(saved.width), int(saved.height)};
        std::vector<float> numbers(good ? (size - sizeof saved) / sizeof(float) : 0);
        if (good) std::memcpy(numbers.data(), static_cast<const char*>(data) + sizeof saved, size - sizeof saved);
        good = good && sound(saved.record, frame);
        for (float number : numbers) good = good && std::fabs(number) <= 1e30f;
        if (!good) throw Failure(SPCNET_BAD_ARGUMENT, "the data is damaged, or of no target; give the bytes of spcnet_save");
        if (!tracker->ids.empty() && (frame.width != tracker->frame.width || frame.height != tracker->frame.height))
            throw Failure(
                SPCNET_BAD_ARGUMENT, "the target was saved on frames of %d x %d px, the others are on %d x %d; remove them "
                "first", frame.width, frame.height, tracker->frame.width, tracker->frame.height);
        tracker->ids.reserve(tracker->ids.size() + 1);
        tracker->tracker->restore(saved.record, numbers);
        tracker->frame = frame;
        tracker->ids.push_back(tracker->next);
        *id = tracker->next++;
    });
}

spcnet_code spcnet_set_network(spcnet* tracker, spcnet_network network, void* user) {
    if (!tracker) return SPCNET_BAD_ARGUMENT;
    return tracker->guarded([&] { tracker->tracker->set_network(network, user); });
}

spcnet_code spcnet_get(const spcnet* tracker, int parameter, double* value) {
    if (!tracker) return SPCNET_BAD_ARGUMENT;
    if (!value) return tracker->fail(SPCNET_BAD_ARGUMENT, "value is NULL; give the address of a number");
    if (!known(parameter))
        return tracker->fail(SPCNET_BAD_ARGUMENT, "there is no parameter %d; give one of spcnet_parameter", parameter);
    const Config& config = tracker->tracker->config;
    const double values[] = {config.uncertain_score, config.lost_score, config.recovery_radius,
                             double(config.update_interval), config.interp_factor, config.box_gain,
                             config.scale_penalty, config.fast_interp_factor};
    *value = values[parameter];
    return SPCNET_OK;
}

spcnet_code spcnet_set(spcnet* tracker, int parameter, double value) {
    if (!tracker) return SPCNET_BAD_ARGUMENT;
    if (!known(parameter))
        return tracker->fail(SPCNET_BAD_ARGUMENT, "there is no parameter %d; give one of spcnet_parameter", parameter);
    Config& config = tracker->tracker->config;
    const Config before = config;
    const Parameter& range = PARAMETERS[parameter];
    if (!(value >= range.low && value <= range.high) ||
        (parameter == SPCNET_UPDATE_INTERVAL && value != std::floor(value)))
        return tracker->fail(
            SPCNET_BAD_ARGUMENT, "%s is %g; give a %snumber in [%g, %g]", range.name, value,
            parameter == SPCNET_UPDATE_INTERVAL ? "whole " : "", range.low, range.high);
    double lost = parameter == SPCNET_LOST_SCORE ? value : config.lost_score;
    double uncertain = parameter == SPCNET_UNCERTAIN_SCORE ? value : config.uncertain_score;
    if (lost > uncertain)
        return tracker->fail(
            SPCNET_BAD_ARGUMENT,
            "LOST_SCORE would be %g and UNCERTAIN_SCORE %g; the first must not be above the second",
            lost, uncertain);
    bool two = config.fast_interp_factor > 0;
    if (parameter == SPCNET_INTERP_FACTOR && two && value > config.fast_interp_factor)
        return tracker->fail(
            SPCNET_BAD_ARGUMENT, "INTERP_FACTOR is %g, above the second filter's rate; give at most %g", value,
            config.fast_interp_factor);
    if (parameter == SPCNET_FAST_INTERP_FACTOR && !two && value > 0)
        return tracker->fail(
            SPCNET_BAD_ARGUMENT, "FAST_INTERP_FACTOR is %g, but the model has no second filter; give 0", value);
    if (parameter == SPCNET_FAST_INTERP_FACTOR && two && !(value > 0 && value >= config.interp_factor))
        return tracker->fail(
            SPCNET_BAD_ARGUMENT, "FAST_INTERP_FACTOR is %g; give a number above 0 and at least INTERP_FACTOR, %g",
            value, config.interp_factor);
    if (parameter == SPCNET_BOX_GAIN && value > 0 && !tracker->tracker->has_head)
        return tracker->fail(SPCNET_BAD_ARGUMENT, "BOX_GAIN is %g, but the model has no box regression; give 0", value);
    switch (parameter) {
    case SPCNET_UNCERTAIN_SCORE: config.uncertain_score = value; break;
    case SPCNET_LOST_SCORE: config.lost_score = value; break;
    case SPCNET_RECOVERY_RADIUS: config.recovery_radius = value; break;
    case SPCNET_UPDATE_INTERVAL: config.update_interval = int(value); break;
    case SPCNET_INTERP_FACTOR: config.interp_factor = value; break;
    case SPCNET_BOX_GAIN: config.box_gain = value; break;
    case SPCNET_SCALE_PENALTY: config.scale_penalty = value; break;
    case SPCNET_FAST_INTERP_FACTOR: config.fast_interp_factor = value; break;
    }
    spcnet_code code = tracker->guarded([&] { tracker->tracker->configured(); });
    if (code) config = before;
    return code;
}

void spcnet_last_times(const spcnet* tracker, spcnet_times* times) {
    if (times) *times = tracker ? tracker->tracker->times : spcnet_times{};
}
