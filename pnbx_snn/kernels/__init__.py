"""Whole-sequence kernels: accelerations that tests hold equal to the plain code. Only here is numba imported."""
