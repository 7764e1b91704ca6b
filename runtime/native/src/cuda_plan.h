// What the kernels of a frame are launched with, as spcnet.export.launches has written it down.
#pragma once

#include <string>
#include <vector>

#include "model.h"

namespace spc {

// The launches that belong together. To add a target is BEGIN, a look at its first patch, then ADD; to update is UPDATE,
// then LEARN_DUE for those targets whose turn it is, in a list of their own.
enum Work { BEGIN, ADD, LOCALIZE, LEARN, UPDATE, LEARN_DUE, WORKS };

struct Plan {
    // Memory on the device. A batch of targets is worked on at once; the positions are those of the list of targets.
    struct Buffer {
        enum Kind { CONSTANT, SLOT, TARGET, POSITION } kind; // sized by nothing, or by what there is one entry of
        std::size_t bytes; // in all, or of an entry
    };
    struct Place {
        int buffer; // -1: NULL
        std::size_t offset;
    };
    struct Argument {
        // The last two: a float, the parameter's value.
        enum Kind { POINTER, INTEGER, FLOAT, DOUBLE, INTERP_FACTOR, FAST_INTERP_FACTOR } kind;
        Place place; // of a pointer
        double value;
    };
    struct Launch {
        int kernel;
        bool network; // it computes features
        unsigned grid[3], each[3]; // blocks, and how many more for each target
        unsigned block[3];
        std::vector<Argument> arguments;
    };

    // How far from a target its patches lie, in its sides: before an update, after it, and more for each BOX_GAIN.
    double reach[3];
    int batch; // targets at once
    int frame, targets, patches, features, list, due, results, responses, colour; // buffers; colour is -1 without a colour model
    Place search[2]; // device::Search of LOCALIZE and of UPDATE
    std::vector<Buffer> buffers;
    std::vector<Launch> works[WORKS];
    std::vector<std::string> kernels;
    std::string_view constants; // the contents of the constant buffers but the frame's, one after the other
};

// The plan of a part of a model. Throws Failure where it is damaged, or made for other structures than layout.h has.
Plan read_plan(const CudaPart& part, const Config& config);

} // namespace spc
