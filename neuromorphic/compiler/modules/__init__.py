"""Compile modules of snnTorch and Norse: trace, read, compile, compare."""
