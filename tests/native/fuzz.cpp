// Throw bytes at the library: as a model file, and as calls in any order with any frames, boxes and numbers. A target of
// libFuzzer (test_sanitizers.py); FUZZ_MODEL names a whole model file, and FUZZ_GPU puts the trackers on a GPU. Frames
// lie in memory of just their size, so that a sanitizer sees what is read beyond them.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>

#include "cuda_plan.h"
#include "failure.h"
#include "model.h"
#include "sha256.h"
#include "spcnet.h"

namespace {

std::string model_file; // a whole one

// Numbers drawn from the bytes given; 0 after their end.
struct Source {
    const std::uint8_t* at;
    std::size_t left;

    int byte() {
        if (!left) return 0;
        --left;
        return *at++;
    }
    int below(int limit) { return (byte() << 8 | byte()) % limit; }
    double number() {
        const double odd[] = {0.0, -1.0, 1.0, 1e300, -1e300, std::nan(""), std::numeric_limits<double>::infinity(), 1e-310};
        const int kind = byte();
        return kind < 32 ? odd[kind % 8] : below(kind < 200 ? 100 : 20000) - 20 + byte() / 256.0;
    }
};

void seal(std::string& data) {
    const std::size_t place = data.find("\"sha256\":\"");
    if (place == std::string::npos || place + 74 > data.size()) return;
    spc::Sha256 hash;
    std::memset(&data[place + 10], '0', 64);
    hash.add(data.data(), data.size());
    hash.finish(&data[place + 10]);
}

// A frame, often a good one, in memory of its own.
struct Picture {
    std::vector<std::vector<std::uint8_t>> planes;
    spcnet_frame frame{};

    Picture(Source& source, int width, int height) {
        frame.width = width, frame.height = height;
        frame.format = source.byte() % 8;
        const int rows[3] = {height, (height + 1) / 2, (height + 1) / 2};
        const int sizes[8] = {3, 3, 4, 4, 1, 1, 1, 2};
        const int count = frame.format == SPCNET_NV12 ? 2 : frame.format == SPCNET_I420 ? 3 : 1;
        for (int plane = 0; plane < count; ++plane) {
            int row = plane == 0 ? width * sizes[frame.format] : frame.format == SPCNET_NV12 ? (width + 1) / 2 * 2 : (width + 1) / 2;
            const int gap = source.byte() % 3 ? 0 : source.byte();
            planes.emplace_back(static_cast<std::size_t>((rows[plane] - 1) * (row + gap) + row));
            std::minstd_rand random(static_cast<unsigned>(source.byte() + 1));
            for (std::uint8_t& value : planes.back()) value = static_cast<std::uint8_t>(random() >> 8);
            frame.data[plane] = planes.back().data();
            frame.stride[plane] = row + gap;
        }
        switch (source.byte()) { // now and then one that can be told to be bad
        case 0: frame.data[source.byte() % count] = nullptr; break;
        case 1: frame.stride[source.byte() % count] -= 1 + source.byte(); break;
        case 2: frame.width = source.byte() % 2 ? -1 : std::numeric_limits<int>::max(); break;
        case 3: frame.height = 0; break;
        case 4: frame.format = source.byte() % 2 ? 8 + source.byte() : -1 - source.byte(); break;
        }
    }
};

void check(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "%s\n", what);
    std::abort();
}

void call(Source source) {
    char message[SPCNET_MESSAGE];
    spcnet* tracker = nullptr;
    const int threads = source.byte() % 8 ? 1 : 2;
    const bool on_gpu = std::getenv("FUZZ_GPU") != nullptr;
    const spcnet_code opened =
        on_gpu ? spcnet_open_cuda_memory(model_file.data(), model_file.size(), 0, nullptr, &tracker, message, sizeof message)
               : spcnet_open_memory(model_file.data(), model_file.size(), threads, &tracker, message, sizeof message);
    check(opened == SPCNET_OK, message);
    const int width = 2 + 2 * source.below(60), height = 2 + 2 * source.below(60);
    std::vector<spcnet_result> results(16);
    std::vector<float> response(512 * 512);
    for (int step = 0; step < 24 && source.left; ++step) {
        const bool other = source.byte() < 8;
        const Picture picture(source, other ? 1 + source.below(50) : width, other ? 1 + source.below(50) : height);
        const spcnet_frame* frame = source.byte() ? &picture.frame : nullptr;
        const spcnet_box box = {source.number(), source.number(), source.number(), source.number()};
        int id = source.byte() % 8 - 1, count = -1;
        double value = source.number();
        spcnet_code code = SPCNET_OK;
        switch (source.byte() % 15) {
        case 0:
        case 1: code = spcnet_count(tracker) < 8 ? spcnet_add(tracker, frame, box, source.byte() ? &id : nullptr) : SPCNET_OK; break;
        case 2: code = spcnet_reset(tracker, id, frame, box); break;
        case 3: code = spcnet_remove(tracker, id); break;
        case 4: code = spcnet_learn(tracker, frame); break;
        case 5: code = spcnet_localize(tracker, frame, results.data(), source.byte() % 17, &count); break;
        case 6: code = spcnet_response(tracker, id, source.byte() % 2 ? response.data() : nullptr, response.size(), &count); break;
        case 7: code = spcnet_set(tracker, source.byte() % 10 - 1, value); break;
        case 8: code = spcnet_get(tracker, source.byte() % 10 - 1, &value); break;
        case 9: code = spcnet_response_at(tracker, id, source.byte() % 6 - 1, response.data(), response.size(), &count); break;
        case 10:
        case 11: { // a target there and back, now and then with a damaged byte or cut off
            std::size_t size = 0;
            code = spcnet_save(tracker, id, nullptr, 0, &size);
            if (code) break;
            std::vector<char> saved(size);
            code = spcnet_save(tracker, id, saved.data(), size, &size);
            for (int damage = source.byte() % 3; damage; --damage)
                saved[static_cast<std::size_t>(source.byte() + 256 * source.byte()) % 200] = static_cast<char>(source.byte());
            if (code == SPCNET_OK && spcnet_count(tracker) < 8)
                code = spcnet_restore(tracker, saved.data(), size - (source.byte() ? 0 : source.byte()), &id);
            break;
        }
        default: code = spcnet_update(tracker, frame, source.byte() ? results.data() : nullptr, 16, &count);
        }
        check(code >= SPCNET_OK && code <= SPCNET_NETWORK_FAILED, "a code that the header does not have");
        check(code == SPCNET_OK || *spcnet_last_error(tracker), "an error without a sentence");
        for (int i = 0; code == SPCNET_OK && count > 0 && i < count && i < 8; ++i)
            check(count > 16 || std::isfinite(results[static_cast<std::size_t>(i)].box.x), "a box that is no number");
    }
    spcnet_close(tracker);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (model_file.empty()) {
        std::ifstream file(std::getenv("FUZZ_MODEL"), std::ios::binary);
        model_file.assign(std::istreambuf_iterator<char>(file), {});
    }
    if (!size) return 0;
    if (*data % 2) {
        call({data + 1, size - 1});
        return 0;
    }
    std::string file(reinterpret_cast<const char*>(data) + 1, size - 1), why;
    if (*data % 4) seal(file);
    spc::Model model;
    const bool good = spc::read_model(file.data(), file.size(), model, why);
    check(good == why.empty(), "a reason without a refusal");
    for (const spc::CudaPart& part : model.cuda) {
        try {
            spc::read_plan(part, model.config);
        } catch (const spc::Failure& failure) {
            check(failure.code == SPCNET_BAD_FILE, failure.text);
        }
    }
    return 0;
}
