"""Training steps of networks of equal size, in turns in one process."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pnbx_snn.analysis.measure_models import images
from pnbx_snn.baselines import GRU, SEQUENCE_MODELS, DiagonalStateSpaces, Transformer
from pnbx_snn.network import PNBX

Step = Callable[[], None]


def measure(*, quick: bool) -> Iterator[tuple[str, list[float], int]]:
    """Yield name, seconds of each training step, tokens of a step: AdamW, fp32, sequences of 64 steps, 8 at a time."""
    steps, batch = (16, 2) if quick else (64, 8)
    torch.set_num_threads(1)
    cases = {name: _case(model, steps, batch) for name, model in _models(quick=quick).items()}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    order, rng = list(cases), random.Random(0)
    for case in cases.values():
        case()
    for _ in range(2 if quick else 6):
        rng.shuffle(order)
        for name in order:
            started = time.process_time()
            cases[name]()
            seconds[name].append(time.process_time() - started)
    yield from ((name, values, steps * batch) for name, values in seconds.items())


def _models(*, quick: bool) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    options: dict[str, Any] = {"in_features": 784, "num_classes": 10, "num_steps": 8, "readout": "step"}
    if quick:
        small: dict[str, Any] = {"num_tokens": 256, "num_classes": 10, "d_model": 32}
        found: dict[str, nn.Module] = {"PNB-X": PNBX(**options, d_hidden=128)}
        found["Transformer, equal"] = Transformer(**small, num_heads=2, num_layers=1, d_ff=64, num_positions=64)
        return {
            **found,
            "GRU": GRU(**small, d_hidden=32),
            "SSM": DiagonalStateSpaces(**small, d_state=8, num_layers=1, d_ff=32),
        }
    found = {"PNB-X": PNBX(**options, d_hidden=2048)}
    found["PNB-X, no hippocampus"] = PNBX(**options, d_hidden=2048, hippocampus="none")
    return {**found, **{name: SEQUENCE_MODELS[name]() for name in ("Transformer, equal", "GRU", "SSM")}}


def _case(model: nn.Module, steps: int, batch: int) -> Step:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    labels = torch.randint(10, (steps * batch,), generator=torch.Generator().manual_seed(0))
    if isinstance(model, PNBX):
        inputs = images(steps * batch).reshape(steps, batch, 784)
        model.calibrate(inputs.transpose(0, 1))
        model.train()
    else:
        inputs = torch.randint(256, (steps, batch), generator=torch.Generator().manual_seed(0))

    def run() -> None:
        out = model(inputs, keep_state=False).logits if isinstance(model, PNBX) else model(inputs)[0]
        loss = cross_entropy(out.flatten(0, 1), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return run
