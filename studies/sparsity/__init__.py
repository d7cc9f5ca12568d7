"""Sparse networks: their accuracy, their files and the speed of the native executor against the share of zeros."""
