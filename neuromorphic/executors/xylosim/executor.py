"""The executor: one sample after the other through SynSense's simulator, and what it recorded."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import ExecutorError
from neuromorphic.executors.xylosim.network import XyloNetwork, is_output, xylo_network
from neuromorphic.ops import XyloLIF
from neuromorphic.program import Program
from neuromorphic.recording import Recording


def execute(
    program: Program, inputs: NDArray[np.int32], *, progress: Callable[[int, int], None] | None = None
) -> Recording:
    """Run a program on ``xylosim.v2``, the simulator of Xylo's second SNN core (XyloAudio 2).

    Parameters
    ----------
    program : Program
        Made of ``XyloLIF``, ``Input`` and ``Delay``, wired as on the chip.
    inputs : NDArray[np.int32]
        ``[T, B, N]``, as :meth:`Program.prepare_inputs` returns them.
    progress : callable, optional
        Called with (samples done, samples in all).

    Returns
    -------
    Recording
        Spikes, current and membrane of every neuron, hidden and output.

    Raises
    ------
    CompileError
        When the program is wired in a way that Xylo is not.
    ExecutorError
        When the simulator is not installed.
    """
    started = time.perf_counter()
    network = xylo_network(program)
    layer, _synapses = simulator(network)  # the simulator holds addresses of its synapses, and does not own them
    num_steps, batch = inputs.shape[:2]
    variables: dict[str, NDArray[Any]] = {
        f"{op.name}.{v.name}": np.zeros((num_steps, batch, v.size), dtype=v.dtype)
        for op in program.ops
        for v in op.variables
    }
    for b in range(batch):
        layer.reset_all()
        layer.evolve(inputs[:, b].tolist())
        found = {
            False: (layer.rec_recurrent_spikes, np.transpose(layer.rec_i_syn), np.transpose(layer.rec_v_mem)),
            True: (layer.rec_out_spikes, np.transpose(layer.rec_i_syn_out), np.transpose(layer.rec_v_mem_out)),
        }
        for op in program.of_type(XyloLIF):
            for variable, values in zip(op.variables, found[is_output(op)], strict=True):
                variables[f"{op.name}.{variable.name}"][:, b] = np.asarray(values)[:, network.places[op.name]]
        if progress is not None:
            progress(b + 1, batch)
    facts = {"seconds": time.perf_counter() - started, "xylosim": version("xylosim")}
    return Recording(variables, "xylosim", facts)


def simulator(network: XyloNetwork) -> tuple[Any, Any]:
    """Return the simulator of a network, and the synapses to which it holds addresses: these must live as long."""
    try:
        vendor = import_module("xylosim.v2")
    except ModuleNotFoundError as error:
        raise ExecutorError(f"executor 'xylosim' needs {error.name}: pip install {error.name}") from error

    def of(weights: NDArray[np.int8]) -> list[list[Any]]:  # for every source; weights of 0 are no synapses
        return [[vendor.XyloSynapse(int(j), 0, int(row[j])) for j in np.flatnonzero(row)] for row in weights]

    synapses = [of(weights) for weights in (network.inputs, network.recurrent, network.outputs)]
    hidden, out = ({name: values.tolist() for name, values in part.items()} for part in (network.hidden, network.out))
    layer = vendor.XyloLayer(
        synapses_in=synapses[0],
        synapses_rec=synapses[1],
        synapses_out=synapses[2],
        aliases=[[] for _ in hidden["threshold"]],
        threshold=hidden["threshold"],
        threshold_out=out["threshold"],
        has_bias=any(hidden["bias"] + out["bias"]),
        bias=hidden["bias"],
        bias_out=out["bias"],
        weight_shift_inp=0,
        weight_shift_rec=0,
        weight_shift_out=0,
        dash_mem=hidden["membrane_shift"],
        dash_mem_out=out["membrane_shift"],
        dash_syns=[[shift] for shift in hidden["synapse_shift"]],
        dash_syns_out=[[shift] for shift in out["synapse_shift"]],
        name="program",
    )
    return layer, synapses
