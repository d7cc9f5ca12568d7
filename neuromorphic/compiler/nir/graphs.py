"""NIR graphs to programs: each population to synapses and neurons, every chain of linear nodes to one matrix.

NIR (the Neuromorphic Intermediate Representation) describes networks in continuous time. Which step is taken, and
whatever else a graph leaves open, is written into the program's metadata. Nodes and conventions are in ``docs/nir.md``.
"""

from __future__ import annotations

import math
import os
from typing import Any, Literal

import numpy as np

from neuromorphic.compiler.draft import Draft
from neuromorphic.compiler.nir.neurons import note_decays
from neuromorphic.compiler.nir.operations import Operations, Options
from neuromorphic.compiler.nir.time_step import step_of
from neuromorphic.compiler.nir.wiring import Wiring
from neuromorphic.compiler.notes import Notes
from neuromorphic.compiler.weight_integers import FINE_BITS, LARGEST, SMALLEST
from neuromorphic.errors import BoundError, CompileError, ProgramError
from neuromorphic.formats.nir import nir_package, read_nir
from neuromorphic.integers.numbers import INT32_MAX
from neuromorphic.ops import Input
from neuromorphic.ops.base import checked_integer
from neuromorphic.program import Program


def _input_units(graph: Any, scale: float | None, limits: tuple[int, int] | None) -> tuple[float, tuple[Any, Any]]:
    """Return the real value of an input unit and its range: as asked for, else as our own export wrote it."""
    metadata = getattr(graph, "metadata", None)
    written = metadata if isinstance(metadata, dict) and scale is None and limits is None else {}
    if "input_scale" in written:
        scale = written["input_scale"]
        if "input_low" in written and "input_high" in written:
            limits = (written["input_low"], written["input_high"])
    try:
        low, high = ((0, 1) if scale is None else (-128, 127)) if limits is None else limits
    except (TypeError, ValueError) as error:
        raise CompileError(f"input_range must be (lowest, highest), got {limits!r}") from error
    try:
        unit = 1.0 if scale is None else float(np.asarray(scale).reshape(()))
    except (TypeError, ValueError) as error:
        raise CompileError(f"input_scale must be a number, got {scale!r}") from error
    if not SMALLEST <= unit <= LARGEST:
        raise CompileError(f"input_scale must lie in {SMALLEST:g}..{LARGEST:g}, got {scale!r}")
    low, high = (end.item() if isinstance(end, np.generic) else end for end in (low, high))  # as a file holds integers
    return unit, (low, high)


def compile_nir(
    graph_or_path: Any,
    *,
    num_steps: int,
    dt: float | None = None,
    input_scale: float | None = None,
    input_range: tuple[int, int] | None = None,
    weight_bits: int | None = None,
    reset: Literal["zero", "subtract"] = "zero",
) -> Program:
    """Compile a NIR graph.

    Parameters
    ----------
    graph_or_path : nir.NIRGraph, str or Path
        A graph, or the ``.nir`` file of one; a file is checked before its arrays are read.
    num_steps : int
        Steps a sample runs; bounds are proven for this many.
    dt : float, optional
        Seconds of a step; ``None``: ``graph.metadata["dt"]``, else 1e-4, snnTorch's, unless the neurons fit another
        convention only (:mod:`neuromorphic.compiler.nir.time_step`).
    input_scale : float, optional
        Real value of one input unit; ``None``: the input is spikes, unless ``graph.metadata`` says ``input_scale``.
    input_range : tuple of int, optional
        Lowest and highest input; ``None``: 0..1 for spikes, -128..127 with an ``input_scale``, or the ``input_low`` and
        ``input_high`` of ``graph.metadata``.
    weight_bits : {8, 15}, optional
        Weights that 8 bits hold exactly, or ternary ones, take no more. Others are rounded to 8 bits, or to 15, which
        are two matrices and twice the synapses. ``None``: 15 in loops, and where 8 bits would lose 3 % of a neuron's
        weights; else 8.
    reset : {"zero", "subtract"}
        In the same step, of neurons whose metadata do not say.

    Returns
    -------
    Program
        An operation for each population, by its node's name, those of sub-graphs joined with ``_``; a ``Readout`` where
        the graph ends in weights. Its metadata hold ``dt``, ``assumptions`` (sentences) and ``units``: the real value
        of one unit of an ``LI`` or ``Readout``.

    Raises
    ------
    CompileError
        When the file is damaged, or a node or an edge cannot be compiled; the message names it, the reason and what
        can be.

    References
    ----------
    Pedersen et al. 2024, Neuromorphic intermediate representation, Nature Communications 15, 8122.

    Examples
    --------
    >>> import nir
    >>> one = np.ones(1)
    >>> lif = nir.LIF(tau=2e-4 * one, r=2 * one, v_leak=0 * one, v_threshold=one)
    >>> graph = nir.NIRGraph.from_list(nir.Linear(np.array([[0.75]])), lif)
    >>> program = compile_nir(graph, num_steps=4)
    >>> [type(op).__name__ for op in program.ops]
    ['Input', 'Dense', 'LIF']
    >>> from neuromorphic import run
    >>> run(program, np.ones((1, 1), dtype=np.int8)).variables["lif.spikes"][:, 0, 0].tolist()
    [0, 1, 0, 1]
    """
    nir_package()
    graph = read_nir(graph_or_path) if isinstance(graph_or_path, (str, os.PathLike)) else graph_or_path
    options = Options(num_steps, dt, input_scale, input_range, weight_bits, reset)
    program, notes = compile_graph(graph, options)
    notes.issue()
    return program


def compile_graph(graph: Any, options: Options) -> tuple[Program, Notes]:
    """Return the program of a graph, and the notes on it."""
    nir = nir_package()
    unit, (low, high) = _input_units(graph, options.input_scale, options.input_range)
    try:
        largest = unit * max(-float(low), float(high))
    except (TypeError, ValueError):  # a range that is none is refused below, by name
        largest = unit
    for name, allowed in (("weight_bits", (8, FINE_BITS, None)), ("reset", ("zero", "subtract"))):
        value = getattr(options, name)
        if value not in allowed:
            raise CompileError(f"{name} must be {' or '.join(map(repr, allowed))}, got {value!r}")
    try:
        checked_integer("program", "num_steps", options.num_steps, 1, INT32_MAX)
        with np.errstate(over="raise", divide="raise", invalid="raise", under="ignore"):
            step, sentence = step_of(graph, options.dt, largest)
            wiring = Wiring(graph, step)
            for node in wiring.nodes.values():
                note_decays(node, step, options.num_steps, wiring.notes)
            entry = Input(wiring.input, math.prod(wiring.shapes[wiring.input]), low, high, unit)
            draft = Draft(entry, options.num_steps, wiring.notes)
            operations = Operations(wiring, draft, step, options)
            operations.build()
        wiring.notes.insert(0, sentence)
        metadata = {
            "source": "nir",
            "versions": {"nir": str(nir.version), "numpy": np.__version__},
            "dt": step,
            "assumptions": list(wiring.notes),
            "units": operations.units,
        }
        return Program(tuple(draft.ops), num_steps=options.num_steps, metadata=metadata), wiring.notes
    except (ProgramError, BoundError) as error:
        raise CompileError(str(error)) from error
    except FloatingPointError as error:
        raise CompileError(f"the graph's numbers are too far apart for float64 ({error})") from error
