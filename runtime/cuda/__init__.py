"""The CUDA runtime: the whole frame on the device. Nothing here is imported unless it is asked for."""
