"""Populations of a NIR graph to operations, with the range of each as it is made."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuromorphic.bounds import Interval, bound_op
from neuromorphic.compiler.currents import Currents, Float64, Source, currents_of
from neuromorphic.compiler.folding import check_thresholds, finest, lif_of, neuron_units, sum_error, too_fine_error
from neuromorphic.compiler.nir_neurons import SPIKING, Integrator, Population, population
from neuromorphic.compiler.nir_nodes import NEURONS, Node
from neuromorphic.compiler.nir_signals import Signal, Signals
from neuromorphic.compiler.nir_wiring import Wiring
from neuromorphic.errors import CompileError
from neuromorphic.fixed_point import DECAY_ONE, STATE_MAX
from neuromorphic.ops import Input, Op, Readout
from neuromorphic.pathway_ops import LI, MAX_DELAY, Delay


class Operations:
    """The operations of one graph as they are made, and the range of each."""

    def __init__(
        self, wiring: Wiring, entry: Input, num_steps: int, dt: float, *, weight_bits: int, reset: str
    ) -> None:
        self.wiring, self.num_steps, self.dt = wiring, num_steps, dt
        self.weight_bits, self.reset = weight_bits, reset
        self.signals = Signals(wiring)
        self.ops: list[Op] = [entry]
        self.units: dict[str, float] = {}
        self.intervals: dict[str, Interval] = {}
        self.late: dict[tuple[str, int], Source] = {}
        sources = [wiring.nodes[wiring.input], *wiring.populations()]
        self.sources = {
            node.name: Source(node.name, math.prod(wiring.shapes[node.name]), _gives(node), 1, 1.0) for node in sources
        }
        self.sources[entry.name] = Source(entry.name, entry.size, "events", max(-entry.low, entry.high), entry.scale)
        for name, source in self.sources.items():
            low, high = (entry.low, entry.high) if name == entry.name else (0, 1)
            self.intervals[name] = (np.full(source.size, low, np.int64), np.full(source.size, high, np.int64))

    def add(self, ops: Sequence[Op]) -> None:
        """Add operations whose range is proven."""
        for op in ops:
            if not isinstance(op, Delay) and op.kind != "events":
                self.intervals[op.name], _ = bound_op(op, [self.intervals[s] for s in op.sources], self.num_steps)
            self.ops.append(op)

    def saturates(self, ops: Sequence[Op]) -> bool:
        """Say whether the state of the last of some new operations can meet its limit."""
        intervals, saturates = dict(self.intervals), False
        for op in ops:
            intervals[op.name], saturates = bound_op(op, [intervals[s] for s in op.sources], self.num_steps)
        return saturates

    def delayed(self, node: Node, name: str, steps: int) -> Source:
        """Return a source, late by some steps."""
        source = self.sources[name]
        if steps == 0:
            return source
        if source.kind == "values":
            raise node.refuse(
                f"gets the values of {name} {steps} steps late, and only spikes can be delayed; end {name} in a neuron "
                "that spikes, or leave out the delay or the loop"
            )
        if steps > MAX_DELAY:
            raise node.refuse(f"its delays from {name} add up to {steps} steps; at most {MAX_DELAY} compile")
        if (name, steps) not in self.late:
            late = Source(f"{name}_delay{steps}", source.size, "events", source.peak, source.unit)
            self.add([Delay(late.name, name, source.size, steps)])
            self.intervals[late.name] = self.intervals[name]
            self.late[name, steps] = late
        return self.late[name, steps]

    def currents(self, node: Node, name: str, signal: Signal, rows: Float64 | None = None) -> Currents:
        """Return the synapses of a population."""
        parts = [(self.delayed(node, source, steps), matrix) for (source, steps), matrix in signal.terms.items()]
        return currents_of(name, parts, rows=rows, bits=self.weight_bits)

    def integrate(self, node: Node, name: str, signal: Signal, what: Integrator) -> Source:
        """Add leaky integrators, all of them in one unit, and return what they give."""
        peak = float(np.abs(what.gain).max())
        gains = what.gain / peak if peak > 0 else what.gain
        rows = None if np.allclose(gains, 1.0, rtol=0, atol=1e-9) or peak == 0 else np.abs(gains)
        currents = self.currents(node, name, signal, rows).times(np.sign(gains).astype(np.int8))
        unit = currents.unit * (peak or 1.0)
        offset = (what.offset + what.gain * signal.offset) / unit
        decay = np.rint(what.beta * DECAY_ONE).astype(np.int32)

        def at_shift(bits: int) -> list[Op] | None:
            bias = _bias(offset, bits)
            made, outputs, shift = currents.ops(bits)
            return None if bias is None else [*made, LI(name, tuple(outputs), decay, bias, shift)]

        found = finest(at_shift, self.saturates)
        if found is None:
            worst = int(np.argmax(np.abs(offset)))
            raise node.refuse(
                f"neuron {worst} needs a bias of {offset[worst]:.3g} units, a state holds {STATE_MAX}; its weights are "
                "too small against its bias, or its sums too large for 32 bits"
            )
        ops, bits, saturates = found
        if saturates:
            self.wiring.notes.append(f"{name}: at its worst it meets the 24-bit limit, and stays there.")
        self.add(ops)
        low, high = self.intervals[name]
        self.units[name] = unit / 2.0**bits
        peak = max(-int(low.min()), int(high.max()))
        return Source(name, len(decay), "values", peak, self.units[name])

    def spike(self, node: Node, signal: Signal, what: Population) -> None:
        """Add neurons that spike."""
        membrane, theta = what.membrane, what.theta
        assert theta is not None
        offset = membrane.offset + membrane.gain * signal.offset
        currents = self.currents(node, node.name, signal)
        gain = np.abs(membrane.gain) * currents.unit
        if node.kind == "Threshold":  # without a memory, only the distance to the threshold counts
            low = np.where(theta > 0, 0.0, gain - theta)
            theta, offset = theta + low, offset + low
        check_thresholds(node.name, theta)
        dead, units = neuron_units(gain, offset, currents.peak(), membrane.beta, theta, self.num_steps)
        currents = currents.times(np.where(dead, 0, np.sign(membrane.gain)).astype(np.int8))

        def at_shift(bits: int) -> list[Op] | None:
            made, outputs, shift = currents.ops(bits)
            lif = lif_of(
                node.name,
                outputs,
                beta=membrane.beta,
                theta=theta,
                offset=offset,
                units=units,
                bits=bits,
                shift=shift,
                reset=what.reset,
            )
            return None if lif is None else [*made, lif]

        found = finest(at_shift, self.saturates)
        if found is None:
            raise too_fine_error(node.name, theta, offset, units)
        self.add(found[0])

    def sum_up(self, node: Node) -> None:
        """Add a running sum of what reaches an end of the graph."""
        signal = self.signals.reaching(node.name)
        currents = self.currents(node, node.name, signal)
        offset = signal.offset / currents.unit

        def at_shift(bits: int) -> list[Op] | None:
            bias = _bias(offset, bits)
            made, outputs, shift = currents.ops(bits)
            return None if bias is None else [*made, Readout(node.name, tuple(outputs), bias, shift)]

        found = finest(at_shift, self.saturates)
        if found is None or found[2]:
            raise sum_error(node.name, self.num_steps)
        self.add(found[0])
        self.units[node.name] = currents.unit / 2.0 ** found[1]

    def neurons(self, node: Node) -> None:
        """Add one population, its synaptic currents first where it has some."""
        shape = self.wiring.shapes[node.name]
        what = population(node, shape, self.dt, self.wiring.notes, self.reset)
        signal = self.signals.reaching(node.name)
        if what.synaptic is not None:
            source = self.integrate(node, f"{node.name}_syn", signal, what.synaptic)
            self.sources[source.name] = source
            signal = Signal({(source.name, 0): np.ones(source.size)}, np.zeros(source.size))
        if what.theta is None:
            self.sources[node.name] = self.integrate(node, node.name, signal, what.membrane)
        else:
            self.spike(node, signal, what)

    def build(self) -> Operations:
        """Add every population and every end of the graph."""
        for node in self.wiring.populations():
            self.neurons(node)
        for node in self.wiring.readouts():
            self.sum_up(node)
        if len(self.ops) == 1:
            raise CompileError("the graph has neither neurons nor weights")
        return self


def _gives(node: Node) -> str:
    return "values" if node.kind in NEURONS and node.kind not in SPIKING else "events"


def _bias(units: Float64, bits: int) -> NDArray[np.int32] | None:
    scaled = np.rint(units * 2.0**bits)
    return scaled.astype(np.int32) if np.abs(scaled).max() <= STATE_MAX else None
