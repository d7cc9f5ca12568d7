"""Write the reference PNB-X network with random weights as a program, and inputs for it, for measurements.

python -m neuromorphic.compiler.reference FOLDER [H]     makes program.npz, inputs.npy, small.npz

The running sums of its logits are proven to fit 24 bits for 4,000 steps (2,048 neurons that all fire). A longer stream
takes the same time and memory a step; who reads its logits resets the network now and then.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from neuromorphic.compiler.runs import compile_model
from studies.measurements.models import images, settled_reference


def main(folder: str, d_hidden: str = "2048") -> None:
    """Make the network, let glia bring it to its firing rate, compile it."""
    program = compile_model(settled_reference(int(d_hidden)), num_steps=4_000)
    program.save(Path(folder) / "program.npz")
    compile_model(settled_reference(32), num_steps=4_000).save(Path(folder) / "small.npz")  # the same operations
    inputs = program.prepare_inputs(images(128).unsqueeze(1).numpy())  # [T, 1, 784]
    np.save(Path(folder) / "inputs.npy", np.ascontiguousarray(inputs, dtype=np.int32))


if __name__ == "__main__":
    main(*sys.argv[1:])
