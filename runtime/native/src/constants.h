// Written by tests/native_constants.py from the Python reference, where their reasons are.
#pragma once

namespace spc {

const double MIN_SIDE = 4.0;
const double MIN_FACTOR = 0.2;
const double MAX_FACTOR = 5.0;
const double OFFSET_FADE = 0.9;
const double LEAST_SHARE = 0.001;
const double MIN_TEXTURE = 1.5;
const double BAND_FLOOR = 1e-05;
const double FLAT = 1e-12;
const double PSR_REACH = 3.0;
const double BOX_LIMIT = 0.1;
const double BOX_SHIFT = 1.0;
const double COLOUR_INNER = 0.8;
const double COLOUR_OUTER = 1.5;
const double COLOUR_BOX = 0.7;
const double COLOUR_NEUTRAL = 0.001;
const int LONGEST_SIDE = 32766;
const int TEXTURE_CELLS = 16;
const int BINS = 16;
const int COLOURS = 4096;
const int MAX_SCALES = 33;
const int MAX_GRAPHS = 64;
const int BATCH = 32;
const int SEARCH_PLACES = 4;
const double SEARCH_OFFSETS[SEARCH_PLACES][2] = {
    {0.0, 0.0},
    {1.0, 0.0},
    {-0.5, 0.8660254037844386},
    {-0.5, -0.8660254037844386},
};

} // namespace spc

// The numbers of a config, whole and real ones, with the least and largest value.
#define CONFIG_FIELDS(WHOLE, REAL)                                                                                     \
    WHOLE(patch_size, 8, 512)                                                                                          \
    WHOLE(channels, 1, 512)                                                                                            \
    WHOLE(stride, 1, 16)                                                                                               \
    WHOLE(scales, 1, 33)                                                                                               \
    WHOLE(learn_scales, 1, 33)                                                                                         \
    WHOLE(response_upsampling, 1, 16)                                                                                  \
    REAL(scale_step, 1.0001, 2)                                                                                        \
    REAL(padding, 0.1, 10)                                                                                             \
    REAL(output_sigma_factor, 0.01, 1)                                                                                 \
    REAL(search_window, 0, 8)                                                                                          \
    REAL(learn_window, 0, 8)                                                                                           \
    REAL(scale_sigma, 0.01, INFINITY)                                                                                  \
    REAL(regularization, 0, 1000000000000)                                                                             \
    REAL(interp_factor, 0, 1)                                                                                          \
    REAL(fast_interp_factor, 0, 1)                                                                                     \
    REAL(first_turn, 0, 90)                                                                                            \
    REAL(scale_penalty, 0.1, 1)                                                                                        \
    WHOLE(update_interval, 1, 1000000)                                                                                 \
    REAL(uncertain_score, 0, 10)                                                                                       \
    REAL(lost_score, 0, 10)                                                                                            \
    REAL(recovery_radius, 0, 10)                                                                                       \
    REAL(colour_weight, 0, 1)                                                                                          \
    REAL(colour_rate, 0, 1)                                                                                            \
    REAL(box_gain, 0, 1)
