// Why a call failed.
#pragma once

#include <cstdarg>
#include <cstdio>

#include "spcnet.h"

namespace spc {

// Thrown inside the library: the code, and the sentence for the caller.
struct Failure {
    __attribute__((format(printf, 3, 4))) Failure(spcnet_code code, const char* form, ...) : code(code) {
        std::va_list values;
        va_start(values, form);
        std::vsnprintf(text, sizeof text, form, values);
        va_end(values);
    }

    spcnet_code code;
    char text[SPCNET_MESSAGE];
};

} // namespace spc
