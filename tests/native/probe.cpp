// The stages of the C library one by one, for tests: arrays in the layouts of the Python reference.
#include "api.cpp"

#define PROBE extern "C" __attribute__((visibility("default")))

namespace {

struct Parts {
    Parts(const Model& model, const Kernels& kernels)
        : config(model.config), kernels(kernels), backbone(model.backbone, config.patch_size, 3, kernels),
          filter(config, backbone.depth(), kernels), colours(config, kernels), network(backbone.space()),
          space(filter.space_size()) {
        if (!model.head.empty()) head = std::make_unique<RegressionHead>(model, kernels);
    }

    Picture features(const float* given) const { // (C, M, M)
        Picture made(backbone.cells(), 0, backbone.depth());
        from_planes(given, config.channels, made);
        return made;
    }

    Config config;
    const Kernels& kernels;
    Network backbone;
    CorrelationFilter filter;
    ColourModel colours;
    Network::Space network;
    std::unique_ptr<RegressionHead> head;
    Array<float> space;
};

State as_state(const double* s) {
    return {s[0], s[1], s[2], s[3]};
}

} // namespace

// A tracker on the kernels of a name; NULL where this processor has not those instructions.
PROBE spcnet* probe_open(const void* data, std::size_t bytes, int threads, const char* instructions) {
    spcnet* tracker = nullptr;
    const Kernels* kernels = choose_kernels(instructions);
    if (kernels) open_cpu(data, bytes, MEMORY, threads, *kernels, &tracker, nullptr, 0);
    return tracker;
}

// Put a target where another tracker has it: seen (4), misses, the centre of the next search (2), and the share of its
// offset.
PROBE void probe_place(spcnet* handle, int id, const double* values) {
    Target& target = *static_cast<CpuTracker&>(*handle->tracker).targets[handle->find(id)];
    device::Target& record = target.record;
    record.cx = values[0], record.cy = values[1], record.w = values[2], record.h = values[3];
    record.misses = values[4], record.search_x = values[5], record.search_y = values[6], record.share = values[7];
}

PROBE Parts* probe_parts(const void* data, std::size_t bytes, const char* instructions) {
    const Kernels* kernels = choose_kernels(instructions);
    Model model;
    std::string why;
    return kernels && read_model(data, bytes, model, why) ? new Parts(model, *kernels) : nullptr;
}

PROBE void probe_free(Parts* parts) {
    delete parts;
}

// (3, N, N)
PROBE void probe_patch(
    Parts* parts, const spcnet_frame* frame, const double* state, double scale, double turn, float* out) {
    Patch patch(parts->config, 2);
    patch.cut(*frame, as_state(state), parts->config, scale, turn, parts->kernels);
    patch.to_planes(out);
}

// (3, N, N) to (C, M, M)
PROBE void probe_features(Parts* parts, const float* patch, float* out) {
    int n = parts->config.patch_size, m = parts->backbone.cells();
    Picture in(n, parts->backbone.border(), 3), result(m, 0, parts->backbone.depth());
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < n; y++)
            for (int x = 0; x < n; x++) in.inside()[y * in.row() + 3 * x + c] = patch[(c * n + y) * n + x];
    parts->backbone.run(in.numbers.data(), in.row(), parts->network, result);
    to_planes(result, parts->config.channels, out);
}

// (C, M, M) to (C, R, K) complex
PROBE void probe_spectrum(Parts* parts, const float* features, int learns, float* out) {
    const CorrelationFilter& filter = parts->filter;
    Array<float> spectrum(filter.spectrum_size());
    filter.transform(parts->features(features), learns, parts->space.data(), spectrum.data());
    int depth = parts->backbone.depth();
    for (int c = 0; c < parts->config.channels; c++)
        for (int i = 0; i < 2 * filter.points(); i++)
            out[c * 2 * filter.points() + i] = spectrum[std::size_t(i) * depth + c];
}

// Learn features (S, C, M, M) at a rate of 1 and the given rounds more at the model's, and respond to others
// (C, M, M): the response (P, P).
PROBE void probe_response(Parts* parts, const float* learnt, int rounds, const float* searched, float* out) {
    const CorrelationFilter& filter = parts->filter;
    const Config& config = parts->config;
    std::size_t size = filter.spectrum_size();
    Array<float> spectra(config.learn_scales * size), response(std::size_t(config.points()) * filter.stride());
    TargetFilter target = filter.target(config);
    int cells = config.channels * config.grid() * config.grid();
    for (int round = 0; round <= rounds; round++, learnt += config.learn_scales * cells) {
        for (int s = 0; s < config.learn_scales; s++)
            filter.transform(parts->features(learnt + s * cells), true, parts->space.data(), &spectra[s * size]);
        filter.learn(target, spectra.data(), round ? -1 : 1, config);
    }
    filter.transform(parts->features(searched), false, parts->space.data(), spectra.data());
    filter.respond(target, spectra.data(), parts->space.data(), response.data());
    for (int y = 0; y < config.points(); y++)
        for (int x = 0; x < config.points(); x++) out[y * config.points() + x] = response[y * filter.stride() + x];
}

// Learn the colours of the patch at one state, and of another at the model's rate: the histograms (2, COLOURS), and the
// response (P, P) to the patch at a third state.
PROBE void probe_colours(Parts* parts, const spcnet_frame* frame, const double* states, float* histograms, float* out) {
    const ColourModel& model = parts->colours;
    Patch patch(parts->config, 1);
    Array<float> space(model.space_size());
    Array<int> counts(2 * COLOURS);
    TargetColours target = model.target();
    for (int i = 0; i < 3; i++) {
        patch.cut(*frame, as_state(states + 4 * i), parts->config, 1, 0, parts->kernels);
        if (i < 2) model.learn(target, patch, i ? float(parts->config.colour_rate) : 1, counts.data());
    }
    std::copy(target.target.data(), target.target.data() + COLOURS, histograms);
    std::copy(target.surroundings.data(), target.surroundings.data() + COLOURS, histograms + COLOURS);
    int p = parts->config.points(), stride = padded(p);
    Array<float> response(std::size_t(p) * stride);
    model.respond(target, patch, space.data(), response.data());
    for (int y = 0; y < p; y++)
        for (int x = 0; x < p; x++) out[y * p + x] = response[y * stride + x];
}

// Responses and joint responses (S, P, P) to scale, row, column, score, psr.
PROBE void probe_peak(Parts* parts, const float* responses, const float* joint, double* out) {
    Peak peak = find_peak(responses, joint, parts->config.points(), search_record(parts->config, 0));
    const double values[] = {peak.shift.scale, peak.shift.row, peak.shift.column, peak.score, peak.psr};
    std::copy(values, values + 5, out);
}

// The head's answer (4) to the first features and searched ones (C, M, M) around whole cells.
PROBE void probe_box(Parts* parts, const float* first, const float* searched, int row, int column, float* out) {
    Array<float> cells(parts->head->template_size());
    RegressionHead::Space space = parts->head->space();
    parts->head->learn(parts->features(first), cells.data());
    parts->head->box(cells.data(), parts->features(searched), row, column, space, out);
}
