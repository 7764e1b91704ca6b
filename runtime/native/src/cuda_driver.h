// The driver of NVIDIA GPUs, found when it is asked for: the library is linked against nothing of CUDA.
#pragma once

#include <cstddef>
#include <cstdint>

#include "spcnet.h"

namespace spc {

using Address = std::uint64_t; // on the device

// Functions of libcuda.so.1, and those of their constants that are used. All stand in CUDA's driver API reference.
#define DRIVER_FUNCTIONS(FUNCTION)                                                                                     \
    FUNCTION(cuInit, (unsigned))                                                                                       \
    FUNCTION(cuGetErrorString, (int, const char**))                                                                    \
    FUNCTION(cuDeviceGetCount, (int*))                                                                                 \
    FUNCTION(cuDeviceGet, (int*, int))                                                                                 \
    FUNCTION(cuDeviceGetName, (char*, int, int))                                                                       \
    FUNCTION(cuDeviceGetAttribute, (int*, int, int))                                                                   \
    FUNCTION(cuDevicePrimaryCtxRetain, (void**, int))                                                                  \
    FUNCTION(cuDevicePrimaryCtxRelease, (int))                                                                         \
    FUNCTION(cuCtxPushCurrent_v2, (void*))                                                                             \
    FUNCTION(cuCtxPopCurrent_v2, (void**))                                                                             \
    FUNCTION(cuModuleLoadData, (void**, const void*))                                                                  \
    FUNCTION(cuModuleUnload, (void*))                                                                                  \
    FUNCTION(cuModuleGetFunction, (void**, void*, const char*))                                                        \
    FUNCTION(cuMemAlloc_v2, (Address*, std::size_t))                                                                   \
    FUNCTION(cuMemFree_v2, (Address))                                                                                  \
    FUNCTION(cuMemHostAlloc, (void**, std::size_t, unsigned))                                                          \
    FUNCTION(cuMemFreeHost, (void*))                                                                                   \
    FUNCTION(cuMemHostGetDevicePointer_v2, (Address*, void*, unsigned))                                                \
    FUNCTION(cuMemcpyHtoDAsync_v2, (Address, const void*, std::size_t, void*))                                         \
    FUNCTION(cuMemcpyDtoHAsync_v2, (void*, Address, std::size_t, void*))                                               \
    FUNCTION(cuMemcpyDtoDAsync_v2, (Address, Address, std::size_t, void*))                                             \
    FUNCTION(cuPointerGetAttribute, (void*, int, Address))                                                             \
    FUNCTION(cuStreamCreate, (void**, unsigned))                                                                       \
    FUNCTION(cuStreamDestroy_v2, (void*))                                                                              \
    FUNCTION(cuStreamSynchronize, (void*))                                                                             \
    FUNCTION(cuStreamWaitEvent, (void*, void*, unsigned))                                                              \
    FUNCTION(cuEventCreate, (void**, unsigned))                                                                        \
    FUNCTION(cuEventRecord, (void*, void*))                                                                            \
    FUNCTION(cuEventDestroy_v2, (void*))                                                                               \
    FUNCTION(                                                                                                          \
        cuLaunchKernel,                                                                                                \
        (void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**))

// Those of graphs, which drivers before CUDA 11.4 lack in part.
#define GRAPH_FUNCTIONS(FUNCTION)                                                                                      \
    FUNCTION(cuStreamBeginCapture_v2, (void*, int))                                                                    \
    FUNCTION(cuStreamEndCapture, (void*, void**))                                                                      \
    FUNCTION(cuGraphInstantiateWithFlags, (void**, void*, unsigned long long))                                         \
    FUNCTION(cuGraphLaunch, (void*, void*))                                                                            \
    FUNCTION(cuGraphDestroy, (void*))                                                                                  \
    FUNCTION(cuGraphExecDestroy, (void*))

struct Driver {
    static constexpr int OUT_OF_MEMORY = 2; // CUDA_ERROR_OUT_OF_MEMORY
    static constexpr int NO_DEVICE = 100; // CUDA_ERROR_NO_DEVICE
    static constexpr int NO_BINARY = 209; // CUDA_ERROR_NO_BINARY_FOR_GPU
    static constexpr int UNSUPPORTED_PTX = 222; // CUDA_ERROR_UNSUPPORTED_PTX_VERSION
    static constexpr int NON_BLOCKING = 1; // CU_STREAM_NON_BLOCKING: no order with the default stream
    static constexpr int DISABLE_TIMING = 2; // CU_EVENT_DISABLE_TIMING
    static constexpr int THREAD_LOCAL = 1; // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads go on
    static constexpr int DEVICE_MAP = 2; // CU_MEMHOSTALLOC_DEVICEMAP
    static constexpr int CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76; // CU_DEVICE_ATTRIBUTE_COMPUTE_...
    static constexpr int CONTEXT = 1, DEVICE_ORDINAL = 9; // CU_POINTER_ATTRIBUTE_...

    // Throws Failure where there is no GPU or no driver, or one without these functions but for those of graphs.
    Driver();

    // Throws Failure unless status is 0. call names the function.
    void check(int status, const char* call) const;

#define FUNCTION(name, arguments) int (*name) arguments;
    DRIVER_FUNCTIONS(FUNCTION)
    GRAPH_FUNCTIONS(FUNCTION)
#undef FUNCTION
    bool graphs = true; // their functions are there
};

// Call a function of a driver; Failure where it refuses.
#define CALL(driver, name, ...) (driver).check((driver).name(__VA_ARGS__), #name)

} // namespace spc
