// How a frame gets to the GPU: what of it is copied, and the record that says where it lies.
#include <algorithm>
#include <climits>
#include <cmath>
#include <cstring>

#include "cuda_tracker.h"

namespace spc {

namespace {

const std::size_t RECORD = 256; // bytes of a frame's record, before its pixels
const int MARGIN = 2; // pixels: a bilinear sample reads its neighbours, and rounding

// Where the channels of an spcnet_format lie, as device::Frame has them.
struct Channels {
    int pixel, blue, green, red;
    int u_plane, u, v_plane, v; // planes and bytes of the first chroma
    int step, rows; // 0: no chroma
};

const Channels CHANNELS[] = {
    {3, 0, 1, 2, 0, 0, 0, 0, 0, 0}, // BGR
    {3, 2, 1, 0, 0, 0, 0, 0, 0, 0}, // RGB
    {4, 0, 1, 2, 0, 0, 0, 0, 0, 0}, // BGRA
    {4, 2, 1, 0, 0, 0, 0, 0, 0, 0}, // RGBA
    {1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, // grey
    {1, 0, 0, 0, 1, 0, 1, 1, 2, 2}, // NV12
    {1, 0, 0, 0, 1, 0, 2, 0, 1, 2}, // I420
    {2, 0, 0, 0, 0, 1, 0, 3, 4, 1}, // YUYV
};

// The pixels from low to high and a margin, inside; even, for chroma of half the resolution.
void span(double low, double high, int length, int& first, int& end) {
    first = int(clamped(std::floor(low) - MARGIN, 0, length - 1)) / 2 * 2;
    end = std::min(int(std::max(std::min(std::ceil(high) + MARGIN, double(length)), double(first))) / 2 * 2 + 2, length);
}

} // namespace

// The part of a frame that the patches of these targets can reach, after an update if moves is true: as Reach of
// spcnet.runtime.cuda.region.
CudaTracker::Region CudaTracker::region(
    const Target* targets, std::size_t count, bool moves, const spcnet_frame& frame) const {
    int width = frame.width, height = frame.height;
    double half = moves ? plan_.reach[1] + config.box_gain * plan_.reach[2] : plan_.reach[0];
    Region region = {width, height, 0, 0};
    for (std::size_t i = 0; i < count; i++) {
        const Target& target = targets[i];
        const State& seen = target.seen;
        // A target that is missed once more is sought on a ring around where it was seen.
        double around = half + (moves && target.status != SPCNET_TRACKING ? config.recovery_radius : 0);
        Region one;
        span(
            std::min(target.search_x - half * seen.w, seen.cx - around * seen.w),
            std::max(target.search_x + half * seen.w, seen.cx + around * seen.w), width, one.left, one.right);
        span(
            std::min(target.search_y - half * seen.h, seen.cy - around * seen.h),
            std::max(target.search_y + half * seen.h, seen.cy + around * seen.h), height, one.top, one.bottom);
        region = {
            std::min(region.left, one.left), std::min(region.top, one.top), std::max(region.right, one.right),
            std::max(region.bottom, one.bottom)};
        double area = double(region.right - region.left) * (region.bottom - region.top);
        if (2 * area > double(width) * height) return {0, 0, width, height};
    }
    return region;
}

// Enqueue the copy of a region of a frame, and of its record; of a frame in device memory the record alone.
void CudaTracker::upload(const spcnet_frame& frame, const Region& region) {
    const Format& format = FORMATS[frame.format];
    const Channels& channels = CHANNELS[frame.format];
    bool on_device = frame.memory == SPCNET_DEVICE;
    std::size_t needed = RECORD;
    for (int plane = 0; plane < format.planes && !on_device; plane++)
        needed += std::size_t(format.row[plane]) * frame.width / 2 * frame.height / (plane ? format.even_height : 1);
    if (needed > staged_) {
        void* staging = allocate_host(needed);
        Address memory = 0;
        if (int status = driver_.cuMemAlloc_v2(&memory, needed)) {
            driver_.cuMemFreeHost(staging);
            driver_.check(status, "cuMemAlloc_v2");
        }
        forget_graphs(); // they contain the old address
        if (staging_) driver_.cuMemFreeHost(staging_);
        if (buffers_[plan_.frame]) driver_.cuMemFree_v2(buffers_[plan_.frame]);
        staging_ = static_cast<unsigned char*>(staging);
        buffers_[plan_.frame] = memory;
        staged_ = needed;
    }
    Address planes[3] = {};
    std::ptrdiff_t pitches[3] = {};
    std::size_t end = RECORD;
    for (int plane = 0; plane < format.planes; plane++) {
        if (on_device) {
            check_owner(frame, plane);
            planes[plane] = reinterpret_cast<std::uintptr_t>(frame.data[plane]);
            pitches[plane] = frame.stride[plane];
            continue;
        }
        int shared = plane ? format.even_height : 1, left = format.row[plane] * region.left / 2;
        int pitch = format.row[plane] * region.right / 2 - left, top = region.top / shared;
        planes[plane] = buffers_[plan_.frame] + end - std::size_t(top) * pitch - left;
        pitches[plane] = pitch;
        for (int row = top; row < region.bottom / shared; row++, end += pitch)
            std::memcpy(staging_ + end, frame.data[plane] + row * frame.stride[plane] + left, pitch);
    }
    Region held = on_device ? Region{0, 0, frame.width, frame.height} : region;
    Address u = 0, v = 0;
    if (channels.step) {
        u = planes[channels.u_plane] + channels.u;
        v = planes[channels.v_plane] + channels.v;
    }
    if (pitches[channels.u_plane] != pitches[channels.v_plane])
        throw Failure(
            SPCNET_BAD_ARGUMENT, "strides 1 and 2 of the I420 frame are %td and %td; in device memory give equal ones",
            pitches[1], pitches[2]);
    device::Frame record = {planes[0], u, v, frame.width, frame.height, int(pitches[0]),
                            int(pitches[channels.u_plane]), held.left, held.top, held.right, held.bottom,
                            channels.pixel, channels.blue, channels.green, channels.red, channels.step, channels.rows,
                            0};
    std::memcpy(staging_, &record, sizeof record);
    CALL(driver_, cuMemcpyHtoDAsync_v2, buffers_[plan_.frame], staging_, on_device ? sizeof record : end, stream_);
    if (on_device) {
        if (driver_.cuEventRecord(event_, foreign_))
            throw Failure(
                SPCNET_BAD_ARGUMENT,
                "the stream %p of spcnet_open_cuda cannot be waited for; give one of the primary context of %s", foreign_,
                name_.c_str());
        CALL(driver_, cuStreamWaitEvent, stream_, event_, 0);
    }
}

// Throws Failure where a plane is not in the memory of this GPU.
void CudaTracker::check_owner(const spcnet_frame& frame, int plane) const {
    int owner = -1;
    void* context = nullptr; // NULL: of every one
    Address address = reinterpret_cast<std::uintptr_t>(frame.data[plane]);
    int status = driver_.cuPointerGetAttribute(&owner, Driver::DEVICE_ORDINAL, address);
    driver_.cuPointerGetAttribute(&context, Driver::CONTEXT, address);
    if (status || owner != gpu_ || (context && context != context_))
        throw Failure(
            SPCNET_BAD_ARGUMENT,
            "plane %d of the frame, at %p, is not in the memory of the tracker's GPU, %s, and its primary context; copy "
            "it there",
            plane, static_cast<const void*>(frame.data[plane]), name_.c_str());
    if (frame.stride[plane] > INT_MAX)
        throw Failure(
            SPCNET_BAD_ARGUMENT, "stride %d of the frame is %td bytes; in device memory give at most %d", plane,
            frame.stride[plane], INT_MAX);
}

} // namespace spc
