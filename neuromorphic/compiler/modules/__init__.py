"""snnTorch and Norse networks: run once and traced, written as a NIR graph, compiled, and compared with the program.

``sources`` and ``tensors`` follow tensors, ``trace`` modules, ``timing`` steps, ``outputs`` what is returned.
``layers`` and ``neurons`` write one module as NIR nodes, ``graphs`` the network. ``programs`` compiles it, and
``agreement`` compares.
"""
