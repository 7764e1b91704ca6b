#include "cuda_plan.h"

#include <algorithm>
#include <cmath>

#include "constants.h"
#include "failure.h"
#include "layout.h"

namespace spc {

namespace {

const double MOST = 1 << 30; // bytes of a buffer, and more than any other number

// The numbers of a plan from the first on.
class Reader {
public:
    explicit Reader(const std::vector<double>& numbers) : numbers_(numbers) {}

    [[noreturn]] void refuse() const {
        throw Failure(SPCNET_BAD_FILE, "the model's plan for GPUs is damaged at number %zu; export it again", next_);
    }
    double any() {
        if (next_ == numbers_.size() || !std::isfinite(numbers_[next_])) refuse();
        return numbers_[next_++];
    }
    int whole(double low, double high) {
        double number = any();
        if (!(number >= low && number <= high && number == std::floor(number))) refuse();
        return int(number);
    }
    bool ended() const { return next_ == numbers_.size(); }

private:
    const std::vector<double>& numbers_;
    std::size_t next_ = 0;
};

Plan::Place read_place(Reader& reader, double least) {
    int buffer = reader.whole(least, 1000);
    return {buffer, std::size_t(reader.whole(0, MOST))};
}

Plan::Argument read_argument(Reader& reader) {
    Plan::Argument argument = {};
    argument.kind = Plan::Argument::Kind(reader.whole(Plan::Argument::POINTER, Plan::Argument::FAST_INTERP_FACTOR));
    if (argument.kind == Plan::Argument::POINTER) {
        argument.place = read_place(reader, -1);
        return argument;
    }
    argument.value = argument.kind == Plan::Argument::INTEGER ? reader.whole(-MOST, MOST) : reader.any();
    reader.any();
    return argument;
}

Plan::Launch read_launch(Reader& reader, std::size_t kernels) {
    Plan::Launch launch = {};
    launch.kernel = reader.whole(0, double(kernels) - 1);
    launch.network = reader.whole(0, 1);
    for (unsigned& size : launch.grid) size = unsigned(reader.whole(0, 65535));
    for (unsigned& size : launch.each) size = unsigned(reader.whole(0, 65535));
    for (unsigned& size : launch.block) size = unsigned(reader.whole(1, 1024));
    int count = reader.whole(0, 64);
    for (int i = 0; i < count; i++) launch.arguments.push_back(read_argument(reader));
    return launch;
}

} // namespace

Plan read_plan(const CudaPart& part, const Config& config) {
    Plan plan = {};
    plan.constants = part.constants;
    for (std::size_t begin = 0, end; begin < part.kernels.size(); begin = end + 1) {
        end = part.kernels.find('\0', begin);
        if (end == std::string_view::npos) end = part.kernels.size();
        plan.kernels.emplace_back(part.kernels.substr(begin, end - begin));
    }
    Reader reader(part.plan);
    for (double& reach : plan.reach) reach = reader.any();
    plan.batch = reader.whole(1, BATCH); // the kernels count no more
    int* roles[] = {&plan.frame, &plan.targets, &plan.patches, &plan.features,
                    &plan.list,  &plan.due,     &plan.results, &plan.responses};
    for (int* role : roles) *role = reader.whole(0, 1000);
    plan.colour = reader.whole(-1, 1000);
    for (Plan::Place& place : plan.search) place = read_place(reader, 0);
    int count = reader.whole(1, 1000);
    std::size_t constants = 0;
    for (int i = 0; i < count; i++) {
        auto kind = Plan::Buffer::Kind(reader.whole(Plan::Buffer::CONSTANT, Plan::Buffer::POSITION));
        plan.buffers.push_back({kind, std::size_t(reader.whole(0, MOST))});
        if (kind == Plan::Buffer::CONSTANT) constants += plan.buffers.back().bytes;
    }
    for (std::vector<Plan::Launch>& work : plan.works) {
        int launches = reader.whole(1, 1000);
        for (int i = 0; i < launches; i++) work.push_back(read_launch(reader, plan.kernels.size()));
    }
    // Every place must be in a buffer, and what the host reads and writes have its size.
    auto fits = [&](int buffer, std::size_t end) { return buffer < count && end <= plan.buffers[buffer].bytes; };
    auto is = [&](int buffer, Plan::Buffer::Kind kind, std::size_t least) {
        return fits(buffer, least) && plan.buffers[buffer].kind == kind;
    };
    std::size_t features = 4 * std::size_t(config.channels) * config.grid() * config.grid();
    std::size_t patch = 12 * std::size_t(config.patch_size) * config.patch_size;
    std::size_t response = 4 * std::size_t(config.points()) * config.points();
    bool good = reader.ended() && constants == part.constants.size() && is(plan.frame, Plan::Buffer::CONSTANT, 0) &&
                is(plan.targets, Plan::Buffer::SLOT, sizeof(device::Target)) &&
                plan.buffers[plan.targets].bytes == sizeof(device::Target) &&
                is(plan.patches, Plan::Buffer::TARGET, patch * (config.learn_scales / 2 + 1)) &&
                is(plan.features, Plan::Buffer::TARGET, features * std::max(config.scales, config.learn_scales)) &&
                is(plan.list, Plan::Buffer::POSITION, sizeof(int)) && plan.buffers[plan.list].bytes == sizeof(int) &&
                is(plan.due, Plan::Buffer::POSITION, sizeof(int)) && plan.buffers[plan.due].bytes == sizeof(int) &&
                is(plan.results, Plan::Buffer::POSITION, sizeof(device::Measurement)) &&
                plan.buffers[plan.results].bytes == sizeof(device::Measurement) &&
                is(plan.responses, Plan::Buffer::POSITION, response * config.scales) &&
                (plan.colour >= 0) == (config.colour_weight > 0) &&
                (plan.colour < 0 || is(plan.colour, Plan::Buffer::POSITION, response));
    for (const Plan::Place& place : plan.search)
        good = good && is(place.buffer, Plan::Buffer::CONSTANT, place.offset + sizeof(device::Search));
    for (const std::vector<Plan::Launch>& work : plan.works)
        for (const Plan::Launch& launch : work)
            for (const Plan::Argument& argument : launch.arguments)
                good = good && (argument.kind != Plan::Argument::POINTER || argument.place.buffer < 0 ||
                                fits(argument.place.buffer, argument.place.offset));
    if (!good) reader.refuse();
    return plan;
}

} // namespace spc
