"""Populations of a NIR graph to operations."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neuromorphic.compiler.currents import Currents, Source, currents_of
from neuromorphic.compiler.draft import Draft, state_integers
from neuromorphic.compiler.folding import add_running_sum, event_source
from neuromorphic.compiler.nir.neurons import SPIKING, Population, population
from neuromorphic.compiler.nir.nodes import NEURONS, Node, max_window
from neuromorphic.compiler.nir.paths import Path
from neuromorphic.compiler.nir.signals import Signal, Signals
from neuromorphic.compiler.nir.wiring import Wiring
from neuromorphic.compiler.spiking import Integrator, spiking_population
from neuromorphic.compiler.weight_integers import FINE_BITS, Float64
from neuromorphic.errors import CompileError
from neuromorphic.integers.numbers import DECAY_ONE, STATE_MAX
from neuromorphic.ops import LI, Delay, Delays, MaxPool, Operation, SpikePool
from neuromorphic.ops.delay import MAX_DELAY
from neuromorphic.wording import counted

FINEST = 2.0**12
"""Units that the largest event has left where an integrator's current is made coarser, so that it does not saturate."""


@dataclass(frozen=True)
class Options:
    """What is asked of the compiler of a graph, as :func:`compile_nir` describes it."""

    num_steps: int
    dt: float | None = None
    input_scale: float | None = None
    input_range: tuple[int, int] | None = None
    weight_bits: int | None = None
    reset: str = "zero"
    membranes: Collection[str] = ()  # neurons whose units are stored although they spike


class Operations:
    """Adds the operations of a graph to a draft; ``units`` are the real values of one unit of those that are read."""

    def __init__(self, wiring: Wiring, draft: Draft, dt: float, options: Options) -> None:
        self.wiring, self.draft, self.dt, self.options = wiring, draft, dt, options
        self.signals = Signals(wiring)
        self.units: dict[str, Any] = {}
        self.row_units: dict[str, Float64] = {}  # of sources of sums: the real value of one of each unit, [N]
        self.late: dict[tuple[str, int], Source] = {}
        self.sources: dict[str, Source] = {}
        for node in wiring.populations():
            if node.kind in NEURONS:
                kind, size = "events" if node.kind in SPIKING else "values", math.prod(wiring.shapes[node.name])
                self.sources[node.name] = Source(node.name, size, kind, 1, 1.0)
                draft.declare_spikes(node.name, size)
        self.sources[draft.ops[0].name] = event_source(draft.ops[0])

    def delayed(self, node: Node, name: str, steps: int) -> Source:
        """Return a source, late by some steps."""
        if name not in self.sources:
            raise node.refuse(f"reads {name}, which closes a loop; only spikes of neurons can")
        source = self.sources[name]
        if steps == 0:
            return source
        if source.kind != "events":
            raise node.refuse(
                f"gets the values of {name} {counted(steps, 'step')} late, and only spikes can be delayed; end "
                f"{name} in a neuron "
                "that spikes, or leave out the delay or the loop"
            )
        if steps > MAX_DELAY:
            raise node.refuse(f"its delays from {name} add up to {steps} steps; at most {MAX_DELAY} compile")
        if (name, steps) not in self.late:
            late = Source(f"{name}_delay{steps}", source.size, "events", source.peak, source.unit)
            self.draft.add([Delay(late.name, name, source.size, steps)])
            self.late[name, steps] = late
        return self.late[name, steps]

    def currents(self, node: Node, name: str, signal: Signal, **options: Any) -> Currents:
        """Return the synapses of a population; of 15 bits, unless asked for 8, where the graph has a loop."""
        parts = [
            (self.delayed(node, source, path.steps), path.weights, path.layout)
            for source, path in (self._in_units(node, *term) for term in signal.terms)
        ]
        bits = self.options.weight_bits
        if bits is None and (self.wiring.late or any(path.steps > 0 for _, path in signal.terms)):
            bits = FINE_BITS
        return currents_of(name, parts, bits=bits, **options)

    def _in_units(self, node: Node, source: str, path: Path) -> tuple[str, Path]:
        """Return a path of a source of sums with their units in its weights."""
        if source not in self.row_units:
            return source, path
        in_units = path.times_source(self.row_units[source])
        if in_units is None:
            raise node.refuse(f"reads {source} in another shape than its image, which has a unit for each channel")
        return source, in_units

    def integrate(
        self, node: Node, name: str, signal: Signal, what: Integrator, *, own_units: bool = False
    ) -> tuple[Source, Float64]:
        """Add leaky integrators; return them as a source, with the largest unit, and the unit of each, ``[N]``.

        They have one unit for all, unless each is read by one neuron alone, as a synaptic current is.
        """
        peak = float(np.abs(what.gain).max())
        gains = what.gain / peak if peak > 0 else what.gain
        equal = own_units or np.allclose(gains, 1.0, rtol=0, atol=1e-9) or peak == 0
        currents = self.currents(node, name, signal, own_units=own_units, rows=None if equal else np.abs(gains))
        currents = currents.times(np.sign(gains).astype(np.int8))
        unit = currents.unit * (peak or 1.0)
        constant = what.offset + what.gain * signal.offset
        if own_units:
            unit = unit * np.where(gains == 0, 1.0, np.abs(gains))
            # A row whose bias would leave 24 bits is counted in coarser units.
            steady = np.abs(constant) / np.maximum(1.0 - what.beta, 1.0 / self.draft.num_steps)
            over = np.ceil(np.log2(np.maximum(steady / unit / (STATE_MAX / 4), 1.0)))
            if over.any():
                currents, unit = replace(currents, rows=2.0**-over), unit * 2.0**over
        offset = constant / unit
        decay = np.rint(what.beta * DECAY_ONE).astype(np.int32)

        def at_bits(bits: int) -> list[Operation] | None:
            bias = state_integers(offset * 2.0**bits)
            made, outputs, shift = currents.ops(bits)
            return None if bias is None else [*made, LI(name, outputs, decay, bias, shift)]

        event = max(float(s.source.peak) for s in currents.synapses) * float(currents.largest_weight().max())
        found = self.draft.finest(at_bits, least=-max(0, math.floor(math.log2(max(event, 1.0) / FINEST))))
        if found is None:
            worst = int(np.argmax(np.abs(offset)))
            raise node.refuse(
                f"neuron {worst} needs a bias of {offset[worst]:.3g} units, a state holds {STATE_MAX}; its weights are "
                "too small against its bias, or its sums too large for 32 bits"
            )
        ops, bits, saturates = found
        if saturates:
            self.wiring.notes.append(f"{name}: at its worst it meets the 24-bit limit, and stays there.")
        self.draft.add(ops)
        low, high = self.draft.ranges[name]
        units = unit / 2.0**bits
        self.units[name] = _one_or_each(units)
        return Source(name, len(decay), "values", max(-int(low.min()), int(high.max())), float(units.max())), units

    def spike(self, node: Node, signal: Signal, what: Population) -> None:
        """Add neurons that spike."""
        membrane, theta = what.membrane, what.theta
        assert theta is not None
        offset = membrane.offset + membrane.gain * signal.offset
        currents = self.currents(node, node.name, signal, own_units=True)
        if node.kind == "Threshold":  # without a memory, only the distance to the threshold counts
            low = np.where(theta > 0, 0.0, np.abs(membrane.gain) * currents.unit - theta)
            theta, offset = theta + low, offset + low
        ops, units = spiking_population(
            currents, replace(membrane, offset=offset), theta, what.reset, self.draft, what.adaptation
        )
        self.draft.add(ops)
        if what.reset == "none" or node.name in self.options.membranes:  # read by its membrane
            self.units[node.name] = _one_or_each(units)

    def sum_up(self, node: Node) -> None:
        """Add a running sum of what reaches an end of the graph."""
        signal = self.signals.reaching(node.name)
        currents = self.currents(node, node.name, signal)
        self.units[node.name] = add_running_sum(currents, signal.offset, self.draft)

    def neurons(self, node: Node) -> None:
        """Add one population, its synaptic currents first where it has some."""
        shape = self.wiring.shapes[node.name]
        what = population(node, shape, self.dt, self.wiring.notes, self.options.reset)
        signal = self.signals.reaching(node.name)
        if what.synaptic is not None:
            spikes = what.theta is not None
            source, units = self.integrate(node, f"{node.name}_syn", signal, what.synaptic, own_units=spikes)
            self.sources[source.name] = source
            signal = Signal([(source.name, Path(units / source.unit))], np.zeros(source.size))
        if what.theta is None:
            self.sources[node.name], _ = self.integrate(node, node.name, signal, what.membrane)
        else:
            self.spike(node, signal, what)

    def delays(self, node: Node) -> None:
        """Add delays of events, each unit's of its own length."""
        [(name, path)] = self.signals.reaching(node.name).terms
        source = self.delayed(node, name, path.steps)
        low, high = self.draft.event_range(source.name)
        self.draft.add([Delays(node.name, source.name, self.wiring.steps[node.name], low, high)])
        self.sources[node.name] = replace(source, name=node.name)

    def max_pool(self, node: Node) -> None:
        """Add a max pool: an OR of spikes, or the largest of integer sums, which have one unit in each channel.

        A positive factor and a bias of a channel go through it, and come into the neurons behind it.
        """
        name, window = node.name, max_window(node, self.wiring.shape_in(node.name))
        signal = self.signals.reaching(name)
        channels, size = window.channels, math.prod(self.wiring.shapes[name])
        where = (window.shape, window.kernel, window.stride, window.padding)
        parts = [(self.delayed(node, source, path.steps), path) for source, path in signal.terms]
        if not parts:
            raise node.refuse("nothing but a bias reaches it")
        source, path = parts[0]
        alone = len(parts) == 1 and path.is_identity and not signal.offset.any()
        if alone and source.kind == "events" and self.draft.event_range(source.name) == (0, 1):
            self.draft.add([SpikePool(name, source.name, *where)])
            self.sources[name] = Source(name, size, "events", source.peak, source.unit)
            return
        currents = self.currents(node, name, signal, own_units=True)
        by_channel = signal.offset.reshape(channels, -1)
        if (
            len(currents.synapses) == 1
            and currents.synapses[0].source.kind != "values"
            and np.ptp(by_channel, axis=1).max() == 0
        ):
            made, [output], _ = currents.ops(0)
            self.draft.add(made)
            units, offset = currents.unit, by_channel[:, 0]
        else:  # sums of several sources, or of 15 bits, are added up first
            zero = np.zeros(len(signal.offset))
            added, units = self.integrate(node, f"{name}_sum", signal, Integrator(zero, zero + 1, zero), own_units=True)
            output, offset = added.name, np.zeros(channels)
        units = units.reshape(channels, -1)
        if (units != units[:, :1]).any():
            raise node.refuse("the values of one channel have several units, among which none is the largest")
        self.draft.add([MaxPool(name, output, *where)])
        low, high = self.draft.ranges[name]
        self.sources[name] = Source(name, size, "sums", max(-int(low.min()), int(high.max()), 1), 1.0)
        self.row_units[name] = np.repeat(units[:, 0], size // channels)
        self.signals.constants[name] = np.repeat(offset, size // channels)

    def build(self) -> None:
        """Add every population and every end of the graph."""
        for node in self.wiring.populations():
            if node.kind == "MaxPool2d":
                self.max_pool(node)
            elif node.kind == "Delays":
                self.delays(node)
            else:
                self.neurons(node)
        for node in self.wiring.readouts():
            self.sum_up(node)
        if len(self.draft.ops) == 1:
            raise CompileError("the graph has neither neurons nor weights")


def _one_or_each(units: Float64) -> float | list[float]:
    """Return one number for units that are equal."""
    return float(units[0]) if (units == units[0]).all() else [float(unit) for unit in units]
