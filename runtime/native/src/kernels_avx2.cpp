#if defined(__x86_64__)
#define SPCNET_KERNELS avx2
#include "kernels.inc"
#endif
