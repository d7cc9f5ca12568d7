"""Samples that a training learns from in a second, against processes and threads: `pnbx-snn train` as it stands."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pnbx_snn.training.checkpoint import load_run
from pnbx_snn.training.run_files import METRICS_NAME
from pnbx_snn.training.run_log import read_metrics

KINDS = ((1, 1), (1, 2), (2, 1), (2, 2))
"""Processes, and threads of each."""
BATCH = 256
SAMPLES = 1437  # of the digits to train on


def command(processes: int, threads: int, folder: Path, d_hidden: int, epochs: int) -> list[str]:
    """Return the command line of a training."""
    start = ["-m", "pnbx_snn.cli"]
    if processes > 1:
        start = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), *start]
    config = folder.with_suffix(".toml")
    config.write_text(
        f"[data]\nname = 'digits'\n[pnbx]\nd_hidden = {d_hidden}\nnum_steps = 8\n"
        f"[train]\nepochs = {epochs}\nbatch_size = {BATCH}\nthreads = {threads}\n"
    )
    return [sys.executable, *start, "train", str(config), "--out", str(folder), "--quiet"]


def measure(rounds: int, *, quick: bool) -> dict[str, Any]:
    """Train with every number of processes and threads, in turns; the first epoch of each is not counted."""
    d_hidden, epochs = (64, 2) if quick else (512, 4)
    seconds: dict[tuple[int, int], list[float]] = {kind: [] for kind in KINDS}
    loss: dict[tuple[int, int], float] = {}
    order, rng = list(KINDS), random.Random(0)
    with tempfile.TemporaryDirectory() as held:
        for number in range(rounds):
            rng.shuffle(order)
            for kind in order:
                folder = Path(held) / f"{number}_{kind[0]}_{kind[1]}"
                environment = {**os.environ, "OMP_NUM_THREADS": str(kind[1])}
                subprocess.run(command(*kind, folder, d_hidden, epochs), check=True, env=environment)
                metrics = read_metrics(folder / METRICS_NAME)
                seconds[kind] += [epoch["seconds"] for epoch in metrics[1:]]
                loss[kind] = metrics[-1]["loss"]
        model, _ = load_run(folder)
    return {
        "network": f"PNB-X, H = {d_hidden}, 8 steps, digits, batches of {BATCH}",
        "batch": BATCH,
        "gradient_bytes": 4 * sum(p.numel() for p in model.parameters() if p.requires_grad),
        "rows": [
            {
                "processes": processes,
                "threads": threads,
                "samples_per_s": SAMPLES / statistics.median(seconds[processes, threads]),
                "low": SAMPLES / max(seconds[processes, threads]),
                "high": SAMPLES / min(seconds[processes, threads]),
                "epochs": len(seconds[processes, threads]),
                "loss": loss[processes, threads],
            }
            for processes, threads in KINDS
        ],
    }
