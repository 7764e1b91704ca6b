// Written by tests/native_constants.py from spcnet.runtime.cuda.layout, where the meanings are.
#pragma once

#include <cstdint>

namespace spc::device {

const int TRACKING = 0;
const int UNCERTAIN = 1;
const int LOST = 2;

struct Frame { std::uint64_t data; std::uint64_t u; std::uint64_t v; int width; int height; int pitch;
    int chroma_pitch; int left; int top; int right; int bottom; int pixel; int blue; int green; int red;
    int chroma_step; int chroma_rows; int result; };
struct Target { double cx; double cy; double w; double h; double first_w; double first_h; double age; double rate;
    double misses; double search_x; double search_y; double offset_x; double offset_y; double offset_w;
    double offset_h; double share; };
struct Measurement { double cx; double cy; double w; double h; double score; double psr; double status; double seen_x;
    double seen_y; double seen_w; double seen_h; double search_x; double search_y; };
struct Tile { float best; int index; float sum; float square; };
struct Search { double point; double scale_step; double log_step; double scale_penalty; double min_side;
    double min_factor; double max_factor; double rate; double uncertain_score; double lost_score;
    double recovery_radius; double colour_weight; double box_gain; int scales; int size; int upsampling; int reach;
    int interval; };
struct CellWindow { double cx; double cy; double w; double h; double share; int patch; int row; int column; };

} // namespace spc::device
