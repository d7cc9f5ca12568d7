"""Whole-sequence kernels: accelerations that tests hold equal to the plain code beside them. numba is imported here only."""
