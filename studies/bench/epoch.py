"""Some batches of training as ``pnbx-snn train`` runs them, and the same network as a loop over time.

Ours is all that an epoch of ``mnist_rows`` does: samples drawn, distorted and read row by row, forward and backward in
the precision that the configuration chooses, checks, clipping, update, and the regulators. The rival learns the same
batches as they are: forward, loss, backward, update, in the faster of float32 and bfloat16 (autocast).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pnbx_snn.data.split import Split
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.training.config import load_config
from pnbx_snn.training.distributed import Workers
from pnbx_snn.training.run import initial_model
from pnbx_snn.training.trainer import Trainer
from studies.bench.step import LOOP, StepByStep, limit
from studies.bench.timing import Row, interleave

CONFIG = Path(__file__).resolve().parents[2] / "pnbx_snn/configs/mnist_rows.toml"
BATCHES, BATCH, AN_EPOCH = 4, 128, 468


def strokes(count: int) -> Tensor:
    """Return images of 28 rows with as much ink as digits have: a fifth."""
    generator = torch.Generator().manual_seed(0)
    inked = torch.rand(count, 28, 28, generator=generator) < 0.2
    return inked * torch.rand(count, 28, 28, generator=generator)


def rows(seconds: float, *, quick: bool) -> list[Row]:
    """Measure a few batches of training."""
    batches = 1 if quick else BATCHES
    config = load_config(CONFIG)
    data = Split(strokes(batches * BATCH), torch.arange(batches * BATCH) % 10)
    workers = Workers(config.train.mixed_precision)
    trainer = Trainer(initial_model(config), config, data, workers)
    model = trainer.model
    assert isinstance(model, PNBX)
    cases: dict[str, Callable[[], object]] = {"PNB-X": lambda: trainer.train_epoch(1)}
    for precision in ("float32", "bfloat16"):
        rival = initial_model(config)
        assert isinstance(rival, PNBX)
        rival.calibrate(data.images[:])
        cases[f"{LOOP}, {precision}"] = _loop(StepByStep(rival), data, precision)
    row = Row("training", f"{batches} batches of {BATCH} of an epoch of MNIST rows (28 x 28)", ("PNB-X",))
    row.times = interleave(cases, seconds=seconds)
    with torch.no_grad():
        activity = float(model.classify(data.images[:BATCH])[1][0].mean())
    half = workers.mixed_precision == "bf16"
    row.limit = limit(model, batches * BATCH, 28, activity, constant=False, half=half)
    row.facts = {"epoch_s": AN_EPOCH / batches * row.times["PNB-X"].median_s, "precision": workers.mixed_precision}
    return [row]


def _loop(rival: StepByStep, data: Split, precision: str) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(rival.model.parameters(), lr=1e-4, fused=True)

    def run() -> None:
        for images, labels in zip(data.images[:].split(BATCH), data.labels.split(BATCH), strict=True):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                logits = rival(images)
            cross_entropy(logits.float(), labels).backward()
            optimizer.step()

    return run
