"""One training step of the reference PNB-X network, against the same network written step by step with snnTorch.

The rival shares every weight and every pathway, and is what a snnTorch script looks like: a loop over time in which
each layer is called once a step, and rounds its weights then, ``snntorch.Leaky`` for both populations, batch norm of
each step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import snntorch
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pnbx_snn.networks.pnbx import PNBX
from studies.bench.timing import Row, interleave
from studies.measurements.reference import images

BATCH, STEPS = 128, 8


def reference(num_steps: int = STEPS, d_hidden: int = 2048, **options: Any) -> PNBX:
    """Return the reference network, calibrated on random images."""
    torch.manual_seed(0)
    model = PNBX(in_features=784, num_classes=10, num_steps=num_steps, d_hidden=d_hidden, **options)
    model.calibrate(images(256))
    return model


class StepByStep(nn.Module):
    """The same network as a loop over time."""

    def __init__(self, model: PNBX) -> None:
        super().__init__()
        self.model = model
        self.encoder_lif = snntorch.Leaky(beta=0.5, reset_mechanism="zero", reset_delay=False)
        self.lif = snntorch.Leaky(beta=0.5, reset_mechanism="zero", reset_delay=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of images ``[B, 784]``."""
        encoder, block = self.model.encoder, self.model.blocks[0]
        self.encoder_lif.threshold = block.glia.thresholds(encoder.threshold, "encoder")
        self.lif.threshold = block.glia.thresholds(block.membrane.threshold, "membrane")
        self.lif.beta = block.membrane.beta
        mem_encoder, mem = self.encoder_lif.init_leaky(), self.lif.init_leaky()
        states = dict.fromkeys(block.pathways)
        spikes: list[Tensor] = []
        z = torch.zeros(len(x), block.d_hidden)
        for _ in range(self.model.num_steps):
            current = (1 - encoder.beta) * encoder.norm(encoder.linear(x))
            e, mem_encoder = self.encoder_lif(current, mem_encoder)
            total = e
            for name, pathway in block.pathways.items():
                part, states[name] = pathway.step(e, states[name])
                total = total + part
            drive = block.membrane.drive(block.norm(total)) + block.membrane.messages(z)
            z, mem = self.lif(drive, mem)
            spikes.append(z)
        return self.model.readout(torch.stack(spikes).mean(0))


def trained(model: nn.Module, logits: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor) -> Callable[[], None]:
    """Return one step of training with AdamW: forward, backward, update."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)  # as pnbx_snn.training has it

    def run() -> None:
        optimizer.zero_grad()
        cross_entropy(logits(x), labels).backward()
        optimizer.step()

    return run


def rows(seconds: float, *, quick: bool) -> list[Row]:
    """Measure the step of the training table, with and without the memory whose state is the largest."""
    return [_row(seconds, quick=quick), _row(seconds, quick=quick, hippocampus="none")]


def _row(seconds: float, *, quick: bool, **options: Any) -> Row:
    batch, num_steps, size = (16, 4, 256) if quick else (BATCH, STEPS, 2048)
    x, labels = images(batch), torch.arange(batch) % 10
    ours, theirs = reference(num_steps, size, **options), StepByStep(reference(num_steps, size, **options))
    work = f"training step of PNB-X, H = {size}, B = {batch}, T = {num_steps}"
    work += ", without hippocampus" if options else ""
    row = Row("training", work, ("PNB-X",))
    cases = {
        "PNB-X": trained(ours, lambda x: ours.classify(x)[0], x, labels),
        "step by step with snnTorch's Leaky": trained(theirs.model, theirs, x, labels),
    }
    row.times = interleave(cases, seconds=seconds)
    theirs.model.load_state_dict(ours.state_dict())
    for model in (ours, theirs):
        model.eval()
    with torch.no_grad():
        error = float((ours.classify(x)[0] - theirs(x)).abs().max())
    row.checks.append(f"logits in evaluation mode, where batch norm takes no statistics, differ by at most {error:.1e}")
    return row
