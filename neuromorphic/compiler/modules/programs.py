"""snnTorch and Norse networks to programs: by way of a NIR graph, and then compared with what they are made from."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neuromorphic.compiler.modules.agreement import agreement
from neuromorphic.compiler.modules.graphs import ModuleGraph, as_evaluated, traced_graph
from neuromorphic.compiler.modules.neurons import SHIFTING
from neuromorphic.compiler.modules.shift_lif import compile_shifting
from neuromorphic.compiler.nir.graphs import compile_graph
from neuromorphic.compiler.nir.operations import Options
from neuromorphic.compiler.notes import Notes
from neuromorphic.compiler.weight_integers import EQUAL, FINE_BITS
from neuromorphic.errors import CompileError
from neuromorphic.program import Program
from neuromorphic.wording import counted

MAX_COUNT = 4095
"""Largest whole number that an input takes as it is unless its range is stated."""
FINE_COUNT = MAX_COUNT
"""Levels either side of an input whose scale nobody stated, where 127 agree too little."""


def compile_module(
    module: nn.Module,
    sample: Tensor,
    *,
    num_steps: int | None = None,
    dt: float | None = None,
    input_scale: float | None = None,
    input_range: tuple[int, int] | None = None,
    weight_bits: int | None = None,
) -> Program:
    """Compile a network by way of its NIR graph: :func:`graph_of`, then ``compile_nir``; then compare the two.

    A network of :class:`pnbx_snn.ShiftLIF` and linear layers of whole weights (:func:`pnbx_snn.integer_weights`)
    becomes ``Dense`` and ``ShiftLIF`` as it is: its spikes on the sample are equal, or it is refused.

    Parameters
    ----------
    module, sample, dt
        As for :func:`graph_of`. The program is compared with the network on the same sample: it should have the full
        length, and as many samples as should be counted.
    num_steps : int, optional
        Steps a sample runs; bounds are proven for this many. ``None``: those of the sample. No other number is allowed,
        unless a call is one step and the neurons' states last from call to call, hidden or returned.
    input_scale, input_range
        Of the input's integers, as for ``compile_nir``; ``None``: what a ``BitLinear`` with ``input_range="int8"`` was
        calibrated to, else what the sample holds: spikes, whole numbers as they are, or fractions, of which the largest
        is worth 127 units.
    weight_bits : {8, 15}, optional
        As for ``compile_nir``; ``None`` also takes 15 where 8 agree too little on the sample.

    Returns
    -------
    Program
        Bit for bit the same on every executor. ``metadata["agreement"]`` says how near it is to the network on the
        sample: ``steps``, ``samples``, ``spikes_equal`` (fraction of all neuron-steps), ``layers`` (the same of each),
        ``readouts`` (largest error of each sum or membrane, relative to its largest value) and, where the network ends
        in a sum, ``labels_equal``.

    Raises
    ------
    CompileError
        As :func:`graph_of`, and when integers cannot hold the graph, or ``num_steps`` is not the sample's.

    Warns
    -----
    CompileWarning
        When spikes of a layer or labels agree in less than 99 %, or a read-out is off by more than 5 %.
    """
    traced = traced_graph(module, sample, dt)
    shifting = any(isinstance(leaf.module, SHIFTING) for leaf in traced.leaves.values())
    graph = None if shifting else traced.build()
    steps = traced.timing.num_steps
    if num_steps is not None and num_steps != steps and not (steps == 1 and traced.goes_on()):
        raise CompileError(
            f"num_steps is {num_steps}, but the network runs {counted(steps, 'step')} on this "
            f"sample; leave num_steps out, or give a sample that runs {num_steps}"
        )
    num_steps = steps if num_steps is None else num_steps
    if graph is None:
        if input_scale is not None or weight_bits is not None:
            raise CompileError(
                "a network of ShiftLIF counts whole numbers of 8 bits: leave out input_scale, weight_bits"
            )
        return compile_shifting(module, sample, traced, num_steps, input_range)
    chosen = rounded = False
    if input_scale is None and "input_scale" in graph.metadata:
        input_scale = graph.metadata["input_scale"]
        input_range = input_range or (graph.metadata["input_low"], graph.metadata["input_high"])
    elif input_scale is None and input_range is None:
        input_scale, input_range, rounded = _input_units(sample)
        chosen = True
    options = Options(num_steps, None, input_scale, input_range, weight_bits, membranes=traced.membranes)
    program, notes, far = _measured(module, sample, traced, *compile_graph(graph, options))
    if far and (weight_bits is None or rounded):
        options = replace(options, weight_bits=weight_bits or FINE_BITS)
        if rounded and input_scale is not None:
            scale = input_scale * 127 / FINE_COUNT
            options = replace(options, input_scale=scale, input_range=(-FINE_COUNT, FINE_COUNT))
        finer, better, still_far = _measured(module, sample, traced, *compile_graph(graph, options))
        if (still_far, -_spikes_equal(finer)) < (far, -_spikes_equal(program)):
            program, notes = finer, better
            if weight_bits is None:
                notes.append("Weights have 15 bits: with 8 the program was too far from the network on the sample.")
    if chosen and (program.input.scale != 1.0 or (program.input.low, program.input.high) != (0, 1)):
        traced.notes.append(_input_sentence(sample, program))
    sentences = [*notes.issue(), *traced.notes.issue()]
    return replace(program, metadata={**program.metadata, "assumptions": sentences})


def _spikes_equal(program: Program) -> float:
    return float(program.metadata["agreement"]["spikes_equal"])


def _measured(
    module: nn.Module, sample: Tensor, traced: ModuleGraph, program: Program, notes: Notes
) -> tuple[Program, Notes, int]:
    """Return a program with its agreement, its notes with those on that, and how many warnings that adds."""
    before = len(notes.warnings)
    with as_evaluated(module):
        found = agreement(module, sample, program, traced, notes)
    return replace(program, metadata={**program.metadata, "agreement": found}), notes, len(notes.warnings) - before


def _input_units(sample: Tensor) -> tuple[float | None, tuple[int, int] | None, bool]:
    """Choose scale and range of an input that nobody stated, and say whether fractions are rounded by it."""
    sample = sample.detach().to(torch.float64)
    low, high = float(sample.min()), float(sample.max())
    if not math.isfinite(low) or not math.isfinite(high):
        raise CompileError("the sample holds NaN or infinity")
    whole = bool((sample == sample.round()).all())
    if not whole and (parts := _common_parts(sample)):  # such as gray values k / 255
        return max(-low, high) / parts, (-parts if low < 0 else 0, parts), False
    if not whole or max(-low, high) > MAX_COUNT:
        return max(-low, high) / 127.0, (-127, 127), True
    if low >= 0 and high <= 1:
        return None, None, False
    return None, (min(int(low), 0), max(int(high), 1)), False


def _common_parts(sample: Tensor) -> int:
    """Return how many equal parts of the largest value make all values multiples of a part; 0 where none do."""
    values = np.unique(np.abs(sample.numpy()))
    values = values[values > 0]
    if not 0 < len(values) <= MAX_COUNT:
        return 0
    few = values[:: max(1, len(values) // 32)]
    parts = np.arange(1, MAX_COUNT + 1)
    for count in parts[_are_whole(few / values[-1] * parts[:, None]).all(axis=1)]:
        if _are_whole(values / values[-1] * count).all():
            return int(count)
    return 0


def _are_whole(parts: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which numbers are whole, as nearly as float32 holds them, and not 0."""
    whole = np.rint(parts)
    return np.asarray((np.abs(parts - whole) <= EQUAL * whole) & (whole > 0))


def _input_sentence(sample: Tensor, program: Program) -> str:
    """Say which input was chosen for a sample whose scale and range nobody stated."""
    low, high, port = float(sample.min()), float(sample.max()), program.input
    if port.scale == 1.0:
        return f"The sample holds whole numbers in {low:.0f}..{high:.0f}: the input takes these as they are."
    return (
        f"The sample holds numbers in {low:.4g}..{high:.4g} and no input_scale was given: one input unit is "
        f"{port.scale:.6g}, so that the largest is {port.high}; what lies beyond is clipped."
    )
