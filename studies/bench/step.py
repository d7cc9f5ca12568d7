"""One training step of the reference PNB-X network, against the same network written step by step with snnTorch.

The rival shares every weight and every pathway, and is what a snnTorch script looks like: a loop over time in which
each layer is called once a step, and rounds its weights then, ``snntorch.Leaky`` for both populations, batch norm of
each step. Its products are torch's, as in a script that rounds the weights of ``torch.nn.functional.linear``; with the
products of :mod:`pnbx_snn.kernels.ternary` in the same loop, it is measured as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import snntorch
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pnbx_snn.kernels.cpu.memory import keep_freed_memory
from pnbx_snn.layers import bitlinear, hippocampus
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.networks.pnbx import PNBX
from studies.bench.limits import least, vector_bits
from studies.bench.timing import Limit, Row, interleave
from studies.measurements.reference import images

BATCH, STEPS = 128, 8
LOOP = "step by step with snnTorch's Leaky"


def reference(num_steps: int = STEPS, d_hidden: int = 2048, **options: Any) -> PNBX:
    """Return the reference network, calibrated on random images."""
    torch.manual_seed(0)
    model = PNBX(in_features=784, num_classes=10, num_steps=num_steps, d_hidden=d_hidden, **options)
    model.calibrate(images(256))
    return model


@contextmanager
def products_of_torch() -> Iterator[None]:
    """Let ternary layers multiply as their equation is written."""
    with ExitStack() as stack:
        for module in (bitlinear, hippocampus):
            stack.enter_context(patch.object(module, "faster_than_torch", lambda *_, **__: False))
        yield


class StepByStep(nn.Module):
    """The same network as a loop over time, with products of torch or, if ``counts``, those of this project."""

    def __init__(self, model: PNBX, *, counts: bool = False) -> None:
        super().__init__()
        self.model, self.counts = model, counts
        self.encoder_lif = snntorch.Leaky(beta=0.5, reset_mechanism="zero", reset_delay=False)
        self.lif = snntorch.Leaky(beta=0.5, reset_mechanism="zero", reset_delay=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of images ``[B, N]``, shown in every step, or of sequences ``[B, T, N]``."""
        if self.counts:
            return self._logits(x)
        with products_of_torch():
            return self._logits(x)

    def _logits(self, x: Tensor) -> Tensor:
        encoder, block = self.model.encoder, self.model.blocks[0]
        self.encoder_lif.threshold = block.glia.thresholds(encoder.threshold, "encoder")
        self.lif.threshold = block.glia.thresholds(block.membrane.threshold, "membrane")
        self.lif.beta = block.membrane.beta
        mem_encoder, mem = self.encoder_lif.init_leaky(), self.lif.init_leaky()
        states = dict.fromkeys(block.pathways)
        spikes: list[Tensor] = []
        z = torch.zeros(len(x), block.d_hidden)
        for x_t in [x] * self.model.num_steps if x.ndim == 2 else x.unbind(1):
            current = (1 - encoder.beta) * encoder.norm(encoder.linear(x_t))
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


def limit(
    model: PNBX, batch: int, num_steps: int, activity: float, *, constant: bool, half: bool = False
) -> Limit | None:
    """Return the least time of the products of a step, those of events exact; all else is far less.

    Forward, events are counted: four instructions for each active input and register of outputs (see
    :mod:`studies.bench.neurons`), real inputs multiplied. Backward, the gradient of the weights adds a number for each
    active input or is multiplied, and that of the input adds one for three ternary weights. ``half``: real inputs are
    multiplied in bfloat16, two pairs of numbers at once.
    """
    multiply = "vdpbf16ps" if half else "vfmadd231ps"
    issued = dict.fromkeys(("vpternlogq", "vaddps", multiply), 0.0)
    lanes = vector_bits() / 32
    block = model.blocks[0]
    for name, layer in model.named_modules():
        if not isinstance(layer, BitLinear):
            continue
        shown = 1 if name == "readout" or (name == "encoder.linear" and constant) else num_steps
        products = float(batch * shown * layer.in_features * layer.out_features)
        if name.startswith("blocks") and layer.in_features == block.d_hidden:
            issued["vpternlogq"] += 4 * activity * products / vector_bits()
            issued["vaddps"] += (activity + 1 / 3) * products / lanes
        else:
            issued[multiply] += 2 * products / lanes / (2 if half else 1)
            issued["vaddps"] += (name != "encoder.linear") * products / 3 / lanes
    return least(torch.get_num_threads(), issued=issued)


def rows(seconds: float, *, quick: bool) -> list[Row]:
    """Measure the step of the training table, with and without the memory whose state is the largest."""
    return [_row(seconds, quick=quick), _row(seconds, quick=quick, hippocampus="none")]


def _row(seconds: float, *, quick: bool, **options: Any) -> Row:
    batch, num_steps, size = (16, 4, 256) if quick else (BATCH, STEPS, 2048)
    keep_freed_memory()  # as a training does, for all of them
    x, labels = images(batch), torch.arange(batch) % 10
    ours, theirs = reference(num_steps, size, **options), StepByStep(reference(num_steps, size, **options))
    work = f"training step of PNB-X, H = {size}, B = {batch}, T = {num_steps}"
    work += ", without hippocampus" if options else ""
    counting = StepByStep(reference(num_steps, size, **options), counts=True)
    row = Row("training", work, ("PNB-X", f"{LOOP}, our products"))
    cases = {
        "PNB-X": trained(ours, lambda x: ours.classify(x)[0], x, labels),
        f"{LOOP}, our products": trained(counting.model, counting, x, labels),
        LOOP: trained(theirs.model, theirs, x, labels),
    }
    row.times = interleave(cases, seconds=seconds)
    with torch.no_grad():
        activity = float(ours.classify(x)[1][0].mean())
    row.limit = limit(ours, batch, num_steps, activity, constant=True)
    theirs.model.load_state_dict(ours.state_dict())
    for model in (ours, theirs):
        model.eval()
    with torch.no_grad():
        error = float((ours.classify(x)[0] - theirs(x)).abs().max())
    row.checks.append(f"logits in evaluation mode, where batch norm takes no statistics, differ by at most {error:.1e}")
    return row
