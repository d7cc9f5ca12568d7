"""Steps of samples that the native executor runs in a second, against batch and threads."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from neuromorphic.compiler import compile_model
from neuromorphic.executors.native import NativeNetwork
from studies.bench.step import reference
from studies.bench.timing import interleave
from studies.measurements.reference import images, settled

BATCHES = (1, 8, 32, 128)
THREADS = (1, 2)
STEPS = 16


def measure(seconds: float, *, quick: bool) -> dict[str, Any]:
    """Run the reference PNB-X network on batches, all sizes in turns; the results are compared first."""
    d_hidden = 256 if quick else 2048
    model = settled(reference(8, d_hidden), images(8).expand(64, -1, -1))
    program = compile_model(model, num_steps=1000)
    inputs = program.prepare_inputs(images(STEPS * max(BATCHES)).unflatten(0, (STEPS, -1)).numpy())  # [T, B, N]
    given = {batch: np.ascontiguousarray(inputs[:, :batch]) for batch in BATCHES}
    kinds = [(batch, threads) for batch in BATCHES for threads in THREADS if threads <= batch]
    networks = {kind: NativeNetwork(program, batch=kind[0], threads=kind[1]) for kind in kinds}
    _compare(networks, given)
    cases = {str(kind): partial(networks[kind].run, given[kind[0]]) for kind in kinds}
    times = interleave(cases, seconds=seconds)
    return {
        "network": f"PNB-X, H = {d_hidden}, {STEPS} steps a call",
        "step_bytes": int(inputs[0, :1].nbytes),
        "rows": [
            {
                "batch": batch,
                "threads": threads,
                "steps_per_s": batch * STEPS / times[str((batch, threads))].median_s,
                "low": batch * STEPS / times[str((batch, threads))].high_s,
                "high": batch * STEPS / times[str((batch, threads))].low_s,
            }
            for batch, threads in kinds
        ],
    }


def _compare(networks: dict[tuple[int, int], NativeNetwork], given: dict[int, Any]) -> None:
    """Check that a sample gives the same logits in every batch and with every number of threads."""
    expected = None
    for (batch, _), network in networks.items():
        network.run(given[batch])
        logits = network.view(network.output).copy()
        expected = logits[0] if expected is None else expected
        if not np.array_equal(logits[0], expected):
            raise AssertionError(f"batch {batch}: the first sample's logits differ")
