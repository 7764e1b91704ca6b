// Print as JSON what the library reads of each model file that is named: its contents, or why it is refused.
#include <cstdio>
#include <fstream>
#include <iterator>

#include "model.h"
#include "sha256.h"

namespace {

std::string hash(const std::vector<float>& values) {
    char digest[64];
    spc::Sha256 sha256;
    sha256.add(values.data(), values.size() * sizeof(float));
    sha256.finish(digest);
    return std::string(digest, 64);
}

void print(const char* name, const std::vector<spc::Layer>& layers) {
    std::printf(", \"%s\": [", name);
    const char* separator = "";
    for (const spc::Layer& l : layers) {
        std::printf("%s[%d, %d, %d, %d, %d, %d, %d, %d, %.9g, %.9g, %.9g, \"%s\", \"%s\"]", separator, l.kind, l.inputs,
            l.outputs, l.kernel, l.stride, l.padding, l.relu, l.size, static_cast<double>(l.alpha),
            static_cast<double>(l.beta), static_cast<double>(l.k), hash(l.weight).c_str(), hash(l.bias).c_str());
        separator = ", ";
    }
    std::printf("]");
}

} // namespace

int main(int count, char** files) {
    for (int i = 1; i < count; ++i) {
        std::ifstream file(files[i], std::ios::binary);
        const std::string data((std::istreambuf_iterator<char>(file)), {});
        spc::Model model;
        std::string why;
        if (!spc::read_model(data.data(), data.size(), model, why)) {
            std::string quoted;
            for (char c : why) quoted += c == '"' ? '\'' : c;
            std::printf("{\"why\": \"%s\"}\n", quoted.c_str());
            continue;
        }
        const spc::Config& c = model.config;
        std::printf("{\"grid\": %d, \"points\": %d, \"window\": %d, \"sigma\": %.17g", c.grid(), c.points(), c.window(),
            c.sigma());
        std::printf(", \"whole\": [%d, %d, %d, %d, %d, %d, %d]", c.patch_size, c.channels, c.stride, c.scales,
            c.learn_scales, c.response_upsampling, c.update_interval);
        print("backbone", model.backbone);
        print("head", model.head);
        std::printf("}\n");
    }
}
