// The rules of a target's state, which the kernels share.
#pragma once

#include <cmath>
#include <cstdlib>

#include "constants.h"
#include "layout.h"

namespace spc::device {

#define RULE inline
#include "../../cuda/kernels/rules.cuh"
#undef RULE

} // namespace spc::device
