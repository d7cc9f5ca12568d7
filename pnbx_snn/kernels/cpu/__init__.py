"""Kernels for the CPU, compiled with numba."""
