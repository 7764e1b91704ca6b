#include "kernels.h"

#include <cstring>

#define SPCNET_KERNELS baseline
#include "kernels.inc"

namespace spc {

namespace avx2 {
extern const Kernels KERNELS;
}
namespace avx512 {
extern const Kernels KERNELS;
}

const Kernels* choose_kernels(const char* name) {
    const Kernels* known[3] = {&baseline::KERNELS};
    int count = 1;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) known[count++] = &avx2::KERNELS;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        known[count++] = &avx512::KERNELS;
#endif
    if (!name) return known[count - 1];
    while (count--)
        if (!std::strcmp(known[count]->name, name)) return known[count];
    return nullptr;
}

} // namespace spc
