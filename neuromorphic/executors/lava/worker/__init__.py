"""A program as a network of Lava processes. Valid on Python 3.10; runs only in the Lava side process.

Nothing imports this package: :mod:`neuromorphic.executors.lava.executor` starts ``worker.py`` as a file, under a Python
that has lava-nc. Nothing else may lie in this folder: Lava's compiler executes every module beside a custom Process.
"""
