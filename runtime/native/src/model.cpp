// The reader of model files: safetensors as spcnet.runtime.native.modelfile writes it, and nothing else.
//
// The hash covers every byte, so the header is read in the one form that is written: no blanks, no escapes, the
// tensors in the order of their data, and every byte of data in one tensor.
#include "model.h"

#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string_view>

#include "constants.h"
#include "sha256.h"

namespace spc {
namespace {

constexpr char FORMAT[] = "spcnet-native-1";
constexpr std::size_t LONGEST_HEADER = 1 << 20, MOST_TENSORS = 1024;
constexpr int MOST_LAYERS = 64;
constexpr int LARGEST_SIDE = 1024; // channels; cells along an axis
constexpr int LARGEST_ATTRIBUTE = 64; // kernel, stride, padding
constexpr float LARGEST_WEIGHT = 1e6f; // the features of larger ones overflow
constexpr std::uint64_t LARGEST_OUTPUT = std::uint64_t{1} << 27; // numbers that a layer writes

// A number of the config, and its range.
struct Field {
    const char* name;
    int Config::*whole;
    double Config::*real;
    double low, high;
};

#define WHOLE(name, low, high) {#name, &Config::name, nullptr, low, high},
#define REAL(name, low, high) {#name, nullptr, &Config::name, low, high},
constexpr Field FIELDS[] = {CONFIG_FIELDS(WHOLE, REAL)};

struct Tensor {
    std::string_view name;
    std::size_t size; // bytes of a number: 1, 4 or 8
    std::vector<int> shape;
    std::size_t count; // numbers
    const unsigned char* data;
    bool used;
};

// What is left of a header.
struct Text {
    std::string_view left;

    bool take(std::string_view expected) {
        if (left.substr(0, expected.size()) != expected) return false;
        left.remove_prefix(expected.size());
        return true;
    }

    bool string(std::string_view& value) {
        if (!take("\"")) return false;
        const std::size_t size = left.find_first_not_of(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._-+:/");
        value = left.substr(0, size);
        left.remove_prefix(value.size());
        return take("\"");
    }

    bool number(std::size_t most, std::size_t& value) {
        std::size_t digits = 0;
        value = 0;
        while (digits < left.size() && left[digits] >= '0' && left[digits] <= '9' && digits < 12)
            value = 10 * value + static_cast<std::size_t>(left[digits++] - '0');
        if (digits == 0 || (digits > 1 && left[0] == '0') || value > most) return false;
        left.remove_prefix(digits);
        return true;
    }
};

// A file on its way to a model. Its functions return false, with the reason in why, at what cannot be used.
struct File {
    std::string& why;
    std::vector<Tensor> tensors{};
    std::string_view format{}, sha256{};

    __attribute__((format(printf, 2, 3))) bool refuse(const char* text, ...) {
        char line[400];
        va_list values;
        va_start(values, text);
        std::vsnprintf(line, sizeof line, text, values);
        va_end(values);
        why = line;
        return false;
    }

    bool read_header(std::string_view header, const unsigned char* data, std::size_t bytes);
    bool check_hash(const unsigned char* file, std::size_t bytes);
    bool has(const std::string& name) const;
    const Tensor* find(const std::string& name); // and take it
    bool read_numbers(const std::string& name, std::size_t count, double* numbers);
    bool read_config(Config& config);
    bool read_layers(const char* network, std::vector<Layer>& layers);
    bool read_weights(const std::string& name, Layer& layer);
    bool read_cuda(Model& model);
    bool check_layers(const char* network, std::vector<Layer>& layers, int& channels, int& cells);
    bool check_model(Model& model);
};

bool read_tensor(Text& text, Tensor& tensor, std::size_t& begin, std::size_t& end, std::size_t bytes) {
    if (!text.string(tensor.name) || !text.take(":{\"dtype\":\"")) return false;
    tensor.size = text.take("F64") ? 8 : text.take("F32") ? 4 : text.take("U8") ? 1 : 0;
    if (!tensor.size || !text.take("\",\"shape\":[")) return false;
    tensor.count = 1;
    if (!text.take("]")) {
        do {
            std::size_t side;
            if (tensor.shape.size() == 4 || !text.number(bytes / tensor.count, side) || !side) return false;
            if (side > static_cast<std::size_t>(std::numeric_limits<int>::max())) return false;
            tensor.shape.push_back(static_cast<int>(side));
            tensor.count *= side;
        } while (text.take(","));
        if (!text.take("]")) return false;
    }
    return text.take(",\"data_offsets\":[") && text.number(bytes, begin) && text.take(",")
        && text.number(bytes, end) && text.take("]}");
}

bool File::read_header(std::string_view header, const unsigned char* data, std::size_t bytes) {
    Text text{header};
    std::string_view key, value;
    const char* foreign = "is no model of spcnet export --native; export one";
    if (!text.take("{\"__metadata__\":{")) return refuse("%s", foreign);
    do {
        if (!text.string(key) || !text.take(":") || !text.string(value)) return refuse("%s", foreign);
        if (key == "format") format = value;
        if (key == "sha256") sha256 = value;
    } while (text.take(","));
    if (!text.take("}")) return refuse("%s", foreign);
    if (format != FORMAT) {
        return refuse("has the format \"%.*s\", needed is \"%s\"; export it again, or update the library",
            static_cast<int>(format.size() < 40 ? format.size() : 40), format.data(), FORMAT);
    }
    std::size_t begin, end, expected = 0;
    while (text.take(",")) {
        Tensor tensor{};
        if (tensors.size() == MOST_TENSORS || !read_tensor(text, tensor, begin, end, bytes) || begin != expected
            || end < begin || end - begin != tensor.count * tensor.size) {
            return refuse("is damaged: tensor %zu of its header cannot be read; copy or export it again",
                tensors.size() + 1);
        }
        tensor.data = data + begin;
        expected = end;
        tensors.push_back(tensor);
    }
    if (!text.take("}") || text.left.find_first_not_of(' ') != std::string_view::npos)
        return refuse("is damaged: its header does not end after %zu tensors; copy or export it again", tensors.size());
    if (expected != bytes)
        return refuse("is cut off: it has %zu bytes of numbers, its header names %zu; copy or export it again",
            bytes, expected);
    return true;
}

bool File::check_hash(const unsigned char* file, std::size_t bytes) {
    if (sha256.size() != 64) return refuse("has no hash; export it again");
    const auto* place = reinterpret_cast<const unsigned char*>(sha256.data());
    const std::string blank(64, '0');
    char found[64];
    Sha256 hash;
    hash.add(file, static_cast<std::size_t>(place - file));
    hash.add(blank.data(), 64);
    hash.add(place + 64, static_cast<std::size_t>(file + bytes - (place + 64)));
    hash.finish(found);
    if (sha256 == std::string_view(found, 64)) return true;
    return refuse("was altered after its export: its SHA-256 is %.16s..., recorded is %.16s...; export it again",
        found, sha256.data());
}

bool File::has(const std::string& name) const {
    for (const Tensor& tensor : tensors) {
        if (tensor.name == name) return true;
    }
    return false;
}

const Tensor* File::find(const std::string& name) {
    for (Tensor& tensor : tensors) {
        if (tensor.name == name && !tensor.used) {
            tensor.used = true;
            return &tensor;
        }
    }
    return nullptr;
}

bool File::read_numbers(const std::string& name, std::size_t count, double* numbers) {
    const Tensor* tensor = find(name);
    if (!tensor || tensor->size != 8 || tensor->count != count)
        return refuse("lacks %s; export it again", name.c_str());
    std::memcpy(numbers, tensor->data, 8 * count);
    return true;
}

bool File::read_config(Config& config) {
    double number;
    for (const Field& field : FIELDS) {
        if (!read_numbers(std::string("config.") + field.name, 1, &number)) return false;
        if (!(number >= field.low && number <= field.high) || (field.whole && number != std::floor(number)))
            return refuse("says %s %g, which must be a%s number in [%g, %g]; export it again", field.name, number,
                field.whole ? " whole" : "", field.low, field.high);
        if (field.whole)
            config.*field.whole = static_cast<int>(number);
        else
            config.*field.real = number;
    }
    if (!read_numbers("config.pixel_mean", 3, config.pixel_mean)) return false;
    for (double level : config.pixel_mean) {
        if (!(level >= 0 && level <= 255))
            return refuse("says pixel_mean %g, which must be in [0, 255]; export it again", level);
    }
    if (config.patch_size % config.stride)
        return refuse("says patch_size %d and stride %d, which must divide it; export it again", config.patch_size,
            config.stride);
    if (config.scales % 2 == 0 || config.learn_scales % 2 == 0)
        return refuse("says scales %d and learn_scales %d, which must be odd; export it again", config.scales,
            config.learn_scales);
    if (config.fast_interp_factor > 0
        && !(config.interp_factor > 0 && config.interp_factor <= config.fast_interp_factor))
        return refuse("says interp_factor %g, which must be above 0 and not above fast_interp_factor, %g; "
                      "export it again",
            config.interp_factor, config.fast_interp_factor);
    if (config.lost_score > config.uncertain_score)
        return refuse("says lost_score %g, which must not be above uncertain_score, %g; export it again",
            config.lost_score, config.uncertain_score);
    return true;
}

bool File::read_weights(const std::string& name, Layer& layer) {
    const Tensor *weight = find(name + ".weight"), *bias = find(name + ".bias");
    const std::size_t sides = layer.kind == Layer::LINEAR ? 2 : 4;
    if (!weight || !bias || weight->size != 4 || bias->size != 4 || weight->shape.size() != sides
        || bias->shape.size() != 1 || bias->shape[0] != weight->shape[0]
        || (sides == 4 && weight->shape[2] != weight->shape[3]))
        return refuse("lacks the weights of %s; export it again", name.c_str());
    layer.outputs = weight->shape[0];
    layer.inputs = weight->shape[1];
    layer.kernel = sides == 4 ? weight->shape[2] : 1;
    float largest = 0;
    for (const Tensor* tensor : {bias, weight}) {
        std::vector<float>& values = tensor == bias ? layer.bias : layer.weight;
        values.resize(tensor->count);
        std::memcpy(values.data(), tensor->data, 4 * tensor->count);
        largest = 0;
        for (float value : values) {
            if (!(std::fabs(value) <= LARGEST_WEIGHT))
                return refuse("has a weight of %g in %s, at most %g is taken; train it again",
                    static_cast<double>(value), name.c_str(), static_cast<double>(LARGEST_WEIGHT));
            largest = std::fmax(largest, std::fabs(value));
        }
    }
    if (sides == 4 && !(largest > 0)) return refuse("has weights of %s that are all 0; train it again", name.c_str());
    return true;
}

// The layers NETWORK.0, NETWORK.1, ..., each known by the tensor that describes it; a linear one has weights alone.
bool File::read_layers(const char* network, std::vector<Layer>& layers) {
    for (int index = 0; index <= MOST_LAYERS; ++index) {
        const std::string name = std::string(network) + "." + std::to_string(index);
        Layer layer{};
        double numbers[4];
        if (const Tensor* tensor = find(name + ".convolution")) {
            if (tensor->size != 8 || tensor->count != 2) return refuse("lacks %s; export it again", name.c_str());
            std::memcpy(numbers, tensor->data, 16);
            layer.kind = Layer::CONVOLUTION;
            layer.relu = true;
            if (!(numbers[0] >= 1 && numbers[0] <= LARGEST_ATTRIBUTE && numbers[0] == std::floor(numbers[0])
                    && numbers[1] >= 0 && numbers[1] <= LARGEST_ATTRIBUTE && numbers[1] == std::floor(numbers[1])))
                return refuse("has %s of stride %g and padding %g, which must be whole and at most %d; "
                              "export it again",
                    name.c_str(), numbers[0], numbers[1], LARGEST_ATTRIBUTE);
            layer.stride = static_cast<int>(numbers[0]);
            layer.padding = static_cast<int>(numbers[1]);
            if (!read_weights(name, layer)) return false;
        } else if (const Tensor* norm = find(name + ".local_response_norm")) {
            if (norm->size != 8 || norm->count != 4) return refuse("lacks %s; export it again", name.c_str());
            std::memcpy(numbers, norm->data, 32);
            layer.kind = Layer::NORMALISATION;
            for (double number : numbers) {
                if (!(number > 0 && number <= LARGEST_SIDE))
                    return refuse("has %s with %g, which must be above 0 and at most %d; export it again",
                        name.c_str(), number, LARGEST_SIDE);
            }
            layer.size = static_cast<int>(numbers[0]);
            layer.alpha = static_cast<float>(numbers[1]);
            layer.beta = static_cast<float>(numbers[2]);
            layer.k = static_cast<float>(numbers[3]);
            if (layer.size != numbers[0] || layer.size % 2 == 0)
                return refuse("has %s over %g channels, which must be odd; export it again", name.c_str(),
                    numbers[0]);
        } else if (has(name + ".weight")) {
            layer.kind = Layer::LINEAR;
            if (!read_weights(name, layer)) return false;
        } else {
            return true;
        }
        layers.push_back(std::move(layer));
    }
    return refuse("has more than %d layers in its %s; make it smaller", MOST_LAYERS, network);
}

// cuda.code, and cuda.CC.plan, .kernels and .constants for each compute capability CC.
bool File::read_cuda(Model& model) {
    const Tensor* code = find("cuda.code");
    if (!code) return true;
    const auto bytes = [](const Tensor* tensor) {
        return std::string_view(reinterpret_cast<const char*>(tensor->data), tensor->count);
    };
    for (int capability = 0; capability < 1000; ++capability) {
        const std::string name = "cuda." + std::to_string(capability);
        const Tensor* plan = find(name + ".plan");
        if (!plan) continue;
        const Tensor *kernels = find(name + ".kernels"), *constants = find(name + ".constants");
        if (!kernels || !constants || plan->size != 8 || kernels->size != 1 || constants->size != 1)
            return refuse("lacks %s; export it again", name.c_str());
        CudaPart part;
        part.capability = capability;
        part.plan.resize(plan->count);
        std::memcpy(part.plan.data(), plan->data, 8 * plan->count);
        part.kernels = bytes(kernels);
        part.constants = bytes(constants);
        model.cuda.push_back(std::move(part));
    }
    if (code->size != 1 || model.cuda.empty()) return refuse("has code for GPUs without a plan; export it again");
    model.code = bytes(code);
    return true;
}

std::uint64_t numbers(int channels, int cells) {
    return static_cast<std::uint64_t>(channels) * static_cast<std::uint64_t>(cells) * static_cast<std::uint64_t>(cells);
}

// Whether layers fit (channels, cells, cells), which become those of the last one's output.
bool File::check_layers(const char* network, std::vector<Layer>& layers, int& channels, int& cells) {
    int index = 0;
    for (Layer& layer : layers) {
        const int reach = cells + 2 * layer.padding - layer.kernel;
        bool fits = true;
        switch (layer.kind) {
        case Layer::CONVOLUTION:
            fits = layer.inputs == channels && layer.outputs <= LARGEST_SIDE && layer.kernel % 2 == 1
                && layer.kernel <= LARGEST_ATTRIBUTE && reach >= 0;
            channels = layer.outputs;
            cells = fits ? reach / layer.stride + 1 : 0;
            break;
        case Layer::LINEAR:
            fits = layer.outputs <= LARGEST_SIDE
                && static_cast<std::uint64_t>(layer.inputs) == numbers(channels, cells);
            channels = layer.outputs;
            cells = 1;
            break;
        case Layer::NORMALISATION:
            fits = index > 0 && channels <= 512; // its squares are kept on the stack
            layer.inputs = layer.outputs = channels;
        }
        fits = fits && cells <= LARGEST_SIDE && numbers(channels, cells) <= LARGEST_OUTPUT;
        if (!fits)
            return refuse("has a layer %s.%d that does not fit what is before it; export it again", network, index);
        ++index;
    }
    return true;
}

bool File::check_model(Model& model) {
    const Config& config = model.config;
    int channels = 3, cells = config.patch_size;
    for (const Tensor& tensor : tensors) {
        if (!tensor.used)
            return refuse("has a tensor \"%.*s\" that this library does not know; update the library",
                static_cast<int>(tensor.name.size() < 60 ? tensor.name.size() : 60), tensor.name.data());
    }
    for (const Layer& layer : model.backbone) {
        if (layer.kind == Layer::LINEAR) return refuse("has a linear layer in its backbone; export it again");
    }
    if (!check_layers("backbone", model.backbone, channels, cells)) return false;
    if (model.backbone.empty() || channels != config.channels || cells != config.grid())
        return refuse("has layers that give %d channels of %d x %d cells, needed are %d of %d x %d; export it again",
            channels, cells, cells, config.channels, config.grid(), config.grid());
    if (model.head.empty()) {
        if (config.box_gain > 0)
            return refuse("says box_gain %g, but has no regression head; export it again", config.box_gain);
        return true;
    }
    channels = 3 * config.channels;
    cells = config.window();
    for (const Layer& layer : model.head) {
        if (model.head.size() < 2 || layer.kind == Layer::NORMALISATION
            || (layer.kind == Layer::LINEAR) != (&layer == &model.head.back()))
            return refuse("has a regression head that is not convolutions and one linear layer; export it again");
    }
    if (cells < 1 || !check_layers("head", model.head, channels, cells)) {
        return why.empty() ? refuse("has a regression head, but a grid too small for it; export it again") : false;
    }
    if (channels != 4) return refuse("has a regression head of %d numbers, needed are 4; export it again", channels);
    return true;
}

} // namespace

int Config::grid() const { return patch_size / stride; }

int Config::points() const { return grid() * response_upsampling; }

int Config::window() const {
    const int eighths = 3 * grid();
    return 2 * (eighths / 8 + (eighths % 8 > 4 || (eighths % 8 == 4 && eighths / 8 % 2))); // half to even
}

double Config::sigma() const { return output_sigma_factor * grid() / (1.0 + padding); }

bool read_model(const void* data, std::size_t bytes, Model& model, std::string& why) {
    const auto* file = static_cast<const unsigned char*>(data);
    File reader{why};
    std::uint64_t size = 0;
    why.clear();
    model = Model{};
    if (bytes < 8) return reader.refuse("has %zu bytes, which is no model; copy or export it again", bytes);
    for (int i = 7; i >= 0; --i) size = size << 8 | file[i];
    if (size > LONGEST_HEADER) return reader.refuse("is no model of spcnet export --native; export one");
    if (size > bytes - 8)
        return reader.refuse("is cut off: it has %zu bytes, its header alone needs %zu; copy or export it again",
            bytes, static_cast<std::size_t>(size) + 8);
    const std::size_t length = static_cast<std::size_t>(size);
    const std::string_view header(reinterpret_cast<const char*>(file) + 8, length);
    return reader.read_header(header, file + 8 + length, bytes - 8 - length) && reader.check_hash(file, bytes)
        && reader.read_config(model.config) && reader.read_layers("backbone", model.backbone)
        && reader.read_layers("head", model.head) && reader.read_cuda(model)
        && reader.check_model(model);
}

} // namespace spc
