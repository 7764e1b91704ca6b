#include "cuda_driver.h"

#include <dlfcn.h>

#include "failure.h"

namespace spc {

Driver::Driver() {
    // It stays loaded: other parts of the program may use it, and it does not like to be unloaded.
    void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        throw Failure(
            SPCNET_NO_GPU, "there is no driver for NVIDIA GPUs (%s); install it, or open the model by spcnet_open",
            dlerror());
#define FUNCTION(name, arguments)                                                                                      \
    name = reinterpret_cast<int(*) arguments>(dlsym(library, #name));                                                  \
    if (!name) throw Failure(SPCNET_NO_GPU, "the driver for NVIDIA GPUs has no %s; install CUDA 10.2 or later", #name);
    DRIVER_FUNCTIONS(FUNCTION)
#undef FUNCTION
#define FUNCTION(name, arguments)                                                                                      \
    name = reinterpret_cast<int(*) arguments>(dlsym(library, #name));                                                  \
    graphs = graphs && name;
    GRAPH_FUNCTIONS(FUNCTION)
#undef FUNCTION
    int status = cuInit(0);
    if (status == NO_DEVICE)
        throw Failure(SPCNET_NO_GPU, "the driver finds no NVIDIA GPU; look at nvidia-smi, or open the model by spcnet_open");
    check(status, "cuInit");
}

void Driver::check(int status, const char* call) const {
    if (!status) return;
    const char* text = nullptr;
    cuGetErrorString(status, &text);
    if (status == OUT_OF_MEMORY)
        throw Failure(
            SPCNET_NO_MEMORY, "the GPU has not enough memory (%s); track fewer targets, or close other programs", call);
    throw Failure(
        SPCNET_NO_GPU, "the GPU's driver refuses %s: %s (error %d); close the tracker and open it again", call,
        text ? text : "unknown", status);
}

} // namespace spc
