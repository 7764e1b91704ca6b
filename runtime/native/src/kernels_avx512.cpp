#if defined(__x86_64__)
#define SPCNET_KERNELS avx512
#include "kernels.inc"
#endif
