"""What a Loihi 2 would make of a program: what it would do differently, and what it would cost. All of it *modelled*.

Nobody here has the chip. The rules are those that Lava declares and nengo-loihi's authors enforce; the sizes are what
Intel has published. Every assumption is in :data:`ASSUMPTIONS`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neuromorphic.bounds import prove
from neuromorphic.executors.lava.mapping import LIF_INPUT_SHIFT, MAX_DELAY, Layout, as_synapses
from neuromorphic.ops import LIF, Conv
from neuromorphic.ops.base import Synapses
from neuromorphic.program import Program
from neuromorphic.wording import counted

DENDRITE_MAX = (1 << 15) - 1
NEURONS_PER_CORE = 8192
SYNAPSE_BITS_PER_CORE = 128 * 1024 * 8
AXONS_PER_CORE = 4096
CORES_PER_CHIP = 128
DEFAULT_RATE = 0.188

ASSUMPTIONS = (
    "a chip has 128 neuro-cores, each with 192 KB and at most 8192 neurons (Intel, Loihi 2 technology brief, 2021)",
    "128 KB of a core hold synapses; the rest is for neurons and axons",
    "a synapse takes its weight's bits in a full matrix, or those and the index of its target where it is not zero; "
    "the smaller of the two is taken for each matrix",
    "the weights of a convolution are stored once, and a pool that sums is a convolution with weights of 1",
    "a core takes 4096 input axons, one for each neuron that feeds it (the figure of Loihi 1)",
    "neurons with an own process are counted like stock ones, as if their microcode were written",
    f"input channels fire at the rate of the first layer; without a measured rate, at {DEFAULT_RATE:.1%}",
)


@dataclass(frozen=True)
class Finding:
    """What a chip would do otherwise than the program, or could not do."""

    op: str
    problem: str


def check_loihi(program: Program) -> list[Finding]:
    """List what stands between a program and a Loihi 2: nothing if it stays within what a chip is known to enforce.

    The rules: a stock process for every operation (shared decay and threshold per population, threshold of 17 bits and
    bias of 13 bits with an exponent: :mod:`neuromorphic.executors.lava.mapping`); the sum of weights times spikes of a
    dendrite within 16 bits, which Lava's simulation does not enforce and a chip does; delays of 6 bits.

    References
    ----------
    Lava 0.10 ``lava/proc/lif/models.py`` (declared widths); nengo-loihi ``builder/discretize.py`` (enforced ones).

    Examples
    --------
    >>> from neuromorphic import Dense, Input
    >>> one = np.ones(2, dtype=np.int32)
    >>> fc = Dense("fc", "x", np.array([[1, 0], [0, -1]], dtype=np.int8))
    >>> lif = LIF("lif", ("fc",), decay=3686 * one, threshold=65 * one, bias=0 * one, shift=6)
    >>> check_loihi(Program((Input("x", 2), fc, lif), num_steps=5))
    [Finding(op='lif', problem='no stock process: threshold is not a multiple of 64')]
    """
    layout, dendrites = Layout(program), dendrite_peaks(program)
    found = []
    for op in program.ops:
        placement = layout.placements[op.name]
        if not placement.stock:
            found.append(Finding(op.name, f"no stock process: {placement.reason}"))
        elif dendrites.get(op.name, 0) > DENDRITE_MAX:
            reached = dendrites[op.name]
            found.append(Finding(op.name, f"its input can reach {reached}, a dendrite holds {DENDRITE_MAX}"))
    for synapse in layout.synapses():
        longest = 0 if isinstance(synapse.op, Conv) else MAX_DELAY
        if synapse.link.wait > longest:
            wait = synapse.link.wait
            found.append(
                Finding(synapse.op.name, f"must wait {counted(wait, 'step')}, such a synapse waits {longest} at most")
            )
    return found


@dataclass(frozen=True)
class LayerCost:
    """Modelled cost of a layer of neurons, a ``LIF``, and the synapses onto it.

    ``fan_in`` is the most synapses onto one neuron; ``axons`` are those into all its cores; what happens in a step is
    that of one sample, at the firing rates given.
    """

    name: str
    neurons: int
    fan_in: int
    axons: int
    synapse_bytes: int
    cores: int
    spikes_per_step: float
    synops_per_step: float


def estimate_loihi(program: Program, rates: dict[str, float] | None = None) -> list[LayerCost]:
    """Estimate what each ``LIF``, in program order, would take on a Loihi 2. *Modelled*, see :data:`ASSUMPTIONS`.

    Parameters
    ----------
    program : Program
        Any program; synapses between operations that are no neurons (the matrices of a pathway) count for the next
        layer they lead to.
    rates : dict of str to float, optional
        Measured firing rate by ``LIF``; missing ones are 18.8 %.

    Examples
    --------
    >>> from neuromorphic import Dense, Input
    >>> one = np.ones(2, dtype=np.int32)
    >>> fc = Dense("fc", "x", np.array([[1, 0, 1], [0, -1, 1]], dtype=np.int8))
    >>> lif = LIF("lif", ("fc",), decay=3686 * one, threshold=64 * one, bias=0 * one, shift=6)
    >>> (cost,) = estimate_loihi(Program((Input("x", 3), fc, lif), num_steps=5), {"lif": 0.5})
    >>> cost.cores, cost.fan_in, cost.synops_per_step
    (1, 2, 2.0)
    """
    rates, costs = rates or {}, []
    first = next((op.name for op in program.of_type(LIF)), "")
    for layer in program.of_type(LIF):
        bits = synops = 0.0
        fan_in = 0
        feeders: set[str] = set()
        for op in _synapses(program, layer):
            width = 2 if op.is_ternary else 8
            index = width + math.ceil(math.log2(max(op.weights.shape[0], 2)))
            bits += min(width * op.weights.size, index * int(np.count_nonzero(op.weights)))
            counts = op.fan_in()
            fan_in = max(fan_in, int(counts.max()))
            source = program[op.source]
            rate = rates.get(source.name if isinstance(source, LIF) else first, DEFAULT_RATE)
            # What is no spike (a graded value) is sent in every step.
            synops += (rate if source.kind == "events" else 1.0) * float(counts.sum())
            feeders.add(source.name)
        axons = sum(program[name].size for name in feeders)
        cores = max(
            math.ceil(layer.size / NEURONS_PER_CORE),
            math.ceil(bits / SYNAPSE_BITS_PER_CORE),
            math.ceil(axons / AXONS_PER_CORE),
            1,
        )
        spikes = rates.get(layer.name, DEFAULT_RATE) * layer.size
        costs.append(
            LayerCost(layer.name, layer.size, fan_in, axons * cores, math.ceil(bits / 8), cores, spikes, synops)
        )
    return costs


def _synapses(program: Program, layer: LIF) -> list[Synapses]:
    """Return all synapses between a layer and the neurons or inputs it hears."""
    found: set[str] = set()
    waiting = list(layer.sources)
    while waiting:
        op = program[waiting.pop()]
        if op.name not in found and op.kind != "events":
            found.add(op.name)
            waiting += op.sources
    return [synapses for op in program.ops if op.name in found and (synapses := as_synapses(op))]


def dendrite_peaks(program: Program) -> dict[str, int]:
    """Return the largest input of each ``LIF``, in the units in which a dendrite holds 32,767."""
    peaks = {bound.name: bound.peak for bound in prove(program)}
    return {
        op.name: int(np.left_shift(sum(peaks[s] for s in op.sources), max(0, op.shift - LIF_INPUT_SHIFT)))
        for op in program.of_type(LIF)
    }
