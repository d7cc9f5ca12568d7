"""Run a program in Intel Lava: a side process under a Python that has Lava."""
