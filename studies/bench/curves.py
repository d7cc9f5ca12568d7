"""Cost against length, width and batch: linear where it must be, flat where it must be."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import torch

from neuromorphic.compiler import compile_model
from neuromorphic.executors.native import NativeNetwork
from pnbx_snn.kernels.scan import diagonal_scan
from studies.bench.lif_rivals import pnbx_lif
from studies.bench.neurons import currents, trained
from studies.bench.step import reference
from studies.bench.timing import interleave
from studies.measurements.reference import images, settled

LENGTHS = (256, 1024, 4096, 16_384, 100_000)
WIDTHS = (64, 256, 1024, 4096)
BATCHES = (1, 4, 16, 64)
BLOCK = 256


def _neuron_seconds(T: int, B: int, N: int, seconds: float) -> float:
    x = currents(T, B, N).requires_grad_()
    case = trained(pnbx_lif("cpu"), x, torch.ones_like(x))
    return interleave({"": case}, seconds=seconds)[""].median_s


def _scan_seconds(T: int, seconds: float) -> float:
    inputs = torch.randn(T, 1, 64).requires_grad_()
    decay, zeros = torch.full((64,), 0.9, requires_grad=True), torch.zeros(1, 64)
    case = trained(lambda x: diagonal_scan(decay, x, zeros), inputs, torch.ones_like(inputs))
    return interleave({"": case}, seconds=seconds)[""].median_s


def _native_seconds(lengths: tuple[int, ...], size: int) -> dict[str, Any]:
    """Return seconds per step of one stream, as medians of what lies between one length and the next."""
    program = compile_model(settled(reference(8, size), images(8).expand(64, -1, -1)), num_steps=1000)
    network = NativeNetwork(program)
    x = np.repeat(program.prepare_inputs(images(1).numpy())[:1], BLOCK, axis=0)
    network.run(x)
    network.reset()
    state, times = network.state_bytes, []
    for length in lengths:
        blocks = []
        while network.time < length:
            started = time.perf_counter()
            network.run(x)
            blocks.append((time.perf_counter() - started) / BLOCK)
        times.append(statistics.median(blocks))
    return {
        "lengths": list(lengths),
        "seconds_per_step": times,
        "state_growth_bytes": float(network.state_bytes - state),
    }


def measure(seconds: float, *, quick: bool) -> dict[str, Any]:
    """Return seconds per neuron and step (forward and backward), and of the native executor per step."""
    lengths = LENGTHS[:2] if quick else LENGTHS
    widths, batches = (WIDTHS[:2], BATCHES[:2]) if quick else (WIDTHS, BATCHES)
    each = seconds / 10
    return {
        "LIF against T (B, N = 1, 64)": [[T, _neuron_seconds(T, 1, 64, each) / (T * 64)] for T in lengths],
        "scan against T (B, S = 1, 64)": [[T, _scan_seconds(T, each) / (T * 64)] for T in lengths],
        "LIF against N (T, B = 100, 8)": [[N, _neuron_seconds(100, 8, N, each) / (800 * N)] for N in widths],
        "LIF against B (T, N = 100, 512)": [[B, _neuron_seconds(100, B, 512, each) / (51_200 * B)] for B in batches],
        "native": _native_seconds(lengths, 256 if quick else 2048),
    }
