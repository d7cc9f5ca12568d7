"""The reference PNB-X network with random weights, and its program and inputs for measurements.

python -m studies.measurements.reference FOLDER [H]     makes program.npz, inputs.npy, small.npz

The running sums of its logits are proven to fit 24 bits for 4,000 steps (2,048 neurons that all fire). A longer stream
takes the same time and memory a step; who reads its logits resets the network now and then.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pnbx_snn.networks.pnbx import PNBX


def images(number: int) -> Tensor:
    """Return ``[n, 784]``, as sparse as MNIST: 19 % of the values are not 0."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(number, 784, generator=generator) * (torch.rand(number, 784, generator=generator) < 0.19)


@torch.no_grad()
def settled(model: PNBX, inputs: Tensor) -> PNBX:
    """Let glia bring the firing rates to 18.8 % on ``[T, B, N]``, as in a trained network, for evaluation."""
    model.eval()
    for block in model.blocks:
        block.glia.train()  # type: ignore[union-attr]
    for _ in range(40):
        model.adapt(model(inputs, keep_state=False).spikes)
    return model.eval()


def settled_reference(d_hidden: int = 2048) -> PNBX:
    """Return the reference network with random weights, its firing rates settled on a stream.

    Slow states fill for a thousand steps, and the rates with them: settled on 32 steps, the block fires at 26.6 % in a
    stream of 2,048, settled on 1,024 at 19.1 %.
    """
    torch.manual_seed(0)
    model = PNBX(in_features=784, num_classes=10, num_steps=8, d_hidden=d_hidden)
    shown = images(128)
    model.calibrate(shown)
    return settled(model, shown.repeat(8, 1).unsqueeze(1))


def main(folder: str, d_hidden: str = "2048") -> None:
    """Make the network, let glia bring it to its firing rate, compile it."""
    from neuromorphic.compiler.runs import compile_model

    program = compile_model(settled_reference(int(d_hidden)), num_steps=4_000)
    program.save(Path(folder) / "program.npz")
    compile_model(settled_reference(32), num_steps=4_000).save(Path(folder) / "small.npz")  # the same operations
    inputs = program.prepare_inputs(images(128).unsqueeze(1).numpy())  # [T, 1, 784]
    np.save(Path(folder) / "inputs.npy", np.ascontiguousarray(inputs, dtype=np.int32))


if __name__ == "__main__":
    main(*sys.argv[1:])
