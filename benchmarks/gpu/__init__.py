"""Kernels and whole frames on an NVIDIA GPU."""
