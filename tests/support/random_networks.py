"""Random programs of every operation, small ones, with sizes that fit no register: see :mod:`random_programs`."""

from __future__ import annotations

import numpy as np

import neuromorphic
from neuromorphic import LIF, Dense, Input, Program, Readout, prove
from neuromorphic.errors import BoundError
from neuromorphic.executors.native import KNOWN
from neuromorphic.integers.numbers import DECAY_ONE, STATE_MAX
from neuromorphic.integers.resets import RESETS
from neuromorphic.ops import (
    OP_TYPES,
    Delay,
    Delta,
    FastWeights,
    Gate,
    GatedState,
    Multiply,
    ReLU,
    Resonator,
    Scale,
    Sigma,
    Slots,
    Torus,
)
from neuromorphic.ops.graded_lif import GRADED_RESETS
from random_programs import INPUT_RANGES, random_weights

SIZES = (1, 2, 9, 12, 31, 33, 64, 65, 130)


class _Draw:
    """A program while it grows; what there is to read stands in lists by kind."""

    def __init__(self, rng, num_steps):
        self.rng, self.num_steps = rng, num_steps
        low, high = INPUT_RANGES[int(rng.integers(len(INPUT_RANGES)))]
        self.ops = [Input("x", self.size(), low=low, high=high)]
        self.recurrent = None
        if rng.random() < 0.5:  # a delay that stands before the neurons it reads
            self.recurrent = self.add(Delay, size=self.size(), steps=int(rng.integers(1, 6)), source="last")

    def size(self):
        return int(self.rng.choice(SIZES))

    def add(self, cls, **fields):
        op = cls(f"{cls.__name__}{len(self.ops)}", **fields)
        self.ops.append(op)
        return op

    def of_kind(self, *kinds):
        return [op for op in self.ops if op.kind in kinds]

    def pick(self, *kinds):
        found = self.of_kind(*kinds)
        return found[int(self.rng.integers(len(found)))]

    def ints(self, low, high, size):
        """Numbers with the ends of the range often among them."""
        drawn = self.rng.integers(low, high + 1, size)
        return np.where(self.rng.random(size) < 0.2, self.rng.choice([low, high], size=size), drawn).astype(np.int32)

    def is_spikes(self, op):
        while isinstance(op, Delay):
            op = next((o for o in self.ops if o.name == op.source), None)
        return op is None or op.event_range == (0, 1)

    def dense(self, size=None, source=None):
        source = source or self.pick("events", "events", "values")
        weights = random_weights(self.rng, size or self.size(), source.size)
        return self.add(Dense, source=source.name, weights=weights, shift=int(self.rng.choice([0, 0, 1, 3])))

    def small(self, source, bits):
        """Values within some bits, whatever the source gives: a gate's end, or a scaled copy."""
        factor = self.ints(-(1 << bits), 1 << bits, source.size)
        return self.add(Scale, source=source.name, factor=factor, shift=int(self.rng.choice([0, 4, 16, 31, 40])))

    def values(self, size=None):
        if size is None and self.of_kind("values") and self.rng.random() < 0.5:
            return self.pick("values")
        return self.dense(size)

    def gate(self, size):
        return self.add(Gate, source=self.values(size).name, offset=self.ints(-6000, 6000, size))

    def neurons(self, size=None, cls=LIF, resets=tuple(RESETS), **more):
        rng, size = self.rng, size or self.size()
        sources = tuple(self.dense(size).name for _ in range(int(rng.integers(1, 4))))
        scale = int(rng.choice([1, 20, 3000, STATE_MAX]))
        return self.add(
            cls,
            sources=sources,
            decay=self.ints(0, DECAY_ONE, size),
            threshold=self.ints(0, scale, size),
            bias=self.ints(-min(scale, STATE_MAX), min(scale, STATE_MAX), size),
            shift=int(rng.integers(0, 9)),
            reset=str(rng.choice(resets)),
            **more,
        )

    def adaptive(self):
        size = self.size()
        jump = self.ints(0, int(self.rng.choice([20, 3000, STATE_MAX])), size)
        fields = {"adaptation_decay": self.ints(0, DECAY_ONE, size), "adaptation_jump": jump}
        self.neurons(size, OP_TYPES["AdaptiveLIF"], input_step=str(self.rng.choice(["same", "previous"])), **fields)

    def homeostatic(self):
        domains, per_domain = int(self.rng.integers(1, 5)), int(self.rng.choice([1, 3, 16, 33]))
        limits = (-int(self.rng.integers(0, 1 << 20)), int(self.rng.integers(0, 1 << 20)))
        control = np.zeros((domains, 4), dtype=np.int32)
        control[:, 0], control[:, 3] = self.ints(0, 1 << 16, domains), self.ints(*limits, domains)
        return self.neurons(
            domains * per_domain,
            OP_TYPES["HomeostaticLIF"],
            control=control,
            period=int(self.rng.integers(1, 6)),
            target=int(self.rng.integers(1, 1 << 16)),
            rate_gain=int(self.rng.integers(0, 4097)),
            gains=tuple(int(x) for x in self.rng.integers(0, 1 << 13, 3)),
            integral_limits=(-(1 << 18), 1 << 18),
            offset_limits=limits,
        )

    def one(self, name):
        rng = self.rng
        if name == "LIF":
            self.neurons()
        elif name == "HomeostaticLIF":
            self.homeostatic()
        elif name == "AdaptiveLIF":
            self.adaptive()
        elif name == "GradedLIF":
            self.neurons(None, OP_TYPES[name], GRADED_RESETS, levels=int(rng.integers(3, 5)))
        elif name == "Dense":
            self.dense()
        elif name == "Scale":
            self.small(self.pick("events", "values"), int(rng.choice([2, 12, 31])) if rng.random() < 0.9 else 31)
        elif name == "Delay":
            source = self.pick("events")
            self.add(Delay, source=source.name, size=source.size, steps=int(rng.integers(1, 5)))
        elif name in ("Gate", "Multiply", "GatedState"):
            x = self.values()
            gate = self.gate(x.size)
            if name == "Multiply":
                self.add(Multiply, source=x.name, gate=gate.name, size=x.size, shift=int(rng.integers(0, 17)))
            elif name == "GatedState":
                self.add(GatedState, source=x.name, gate=gate.name, size=x.size)
        elif name in ("LI", "LeakyReadout"):
            x = self.values()
            fields = {"decay": self.ints(0, DECAY_ONE, x.size), "bias": self.ints(-STATE_MAX, STATE_MAX, x.size)}
            self.add(OP_TYPES[name], sources=(x.name,), shift=int(rng.integers(0, 9)), **fields)
        elif name == "Resonator":
            x = self.values()
            angle, size = rng.uniform(0, 7, x.size), rng.choice([0.0, 0.5, 1.0], x.size)
            parts = [np.trunc(DECAY_ONE * size * f(angle)).astype(np.int32) for f in (np.cos, np.sin)]
            self.add(Resonator, source=x.name, cosine=parts[0], sine=parts[1])
        elif name == "Torus":
            rows, columns = (int(i) for i in rng.integers(3, 12, 2))
            source = self.neurons(rows * columns) if rng.random() < 0.7 else None
            if source is None:  # whatever events fit a grid, graded ones too
                fitting = [op for op in self.of_kind("events") if op.size in (9, 12)]
                source = fitting[0] if fitting else self.neurons(9)
                rows, columns = 3, source.size // 3
            edges = rng.integers(-1, 2, (8, rows * columns)).astype(np.int8) if rng.random() < 0.5 else None
            self.add(Torus, source=source.name, rows=rows, columns=columns, edges=edges)
        elif name == "FastWeights":
            x = self.small(self.values(int(rng.choice([1, 3, 8, 17]))), 12)
            fields = {"decay": int(rng.choice([0, 2048, 4000, 4096])), "rate_bits": int(rng.integers(0, 13))}
            rule = str(rng.choice(["hebbian", "delta"]))
            self.add(FastWeights, source=x.name, size=x.size, frac=int(rng.integers(0, 23)), rule=rule, **fields)
        elif name == "ShiftLIF":
            self.shift_lif()
        elif name == "XyloLIF":
            self.xylo_lif()
        elif name == "Conv":
            self.conv()
        elif name in ("SumPool", "MaxPool", "SpikePool"):
            self.pool(OP_TYPES[name])
        elif name == "Delays":
            source = self.pick("events")
            low, high = (int(end) for end in self.event_range(source))
            steps = self.ints(0, int(rng.choice([0, 1, 5, 63])), source.size)
            self.add(OP_TYPES["Delays"], source=source.name, steps=steps, low=low, high=high)
        elif name == "Delta":
            x = self.pick("events", "values") if rng.random() < 0.5 else self.small(self.pick("events", "values"), 12)
            threshold = self.ints(0, int(rng.choice([1, 30, 2000, (1 << 31) - 1])), x.size)
            self.add(Delta, source=x.name, threshold=threshold, shift=int(rng.choice([0, 0, 1, 6, 16])))
        elif name == "Sigma":
            x = self.values()
            self.add(Sigma, sources=(x.name,) * int(rng.integers(1, 3)), size=x.size)
        elif name == "ReLU":
            x = self.values()
            self.add(ReLU, source=x.name, bias=self.ints(-STATE_MAX, STATE_MAX, x.size) >> int(rng.integers(0, 24)))
        elif name == "Slots":
            source = self.pick("events")
            if not self.is_spikes(source):
                source = self.neurons()
            self.slots(source)

    def event_range(self, op):
        """The range of the events of an operation, through delays."""
        while isinstance(op, Delay):
            op = next((o for o in self.ops if o.name == op.source), None)
        return (0, 1) if op is None else op.event_range

    def image(self, *kinds):
        """Something that holds an image of some channels, and its shape."""
        rng, source = self.rng, self.pick(*kinds)
        channels = int(rng.choice([n for n in (1, 2, 3, 4) if source.size % n == 0]))
        pixels = source.size // channels
        height = int(rng.choice([n for n in range(1, 17) if pixels % n == 0]))
        return source, (channels, height, pixels // height)

    def windows(self, shape, *, most_padding):
        """A kernel, a stride and a padding that fit an image."""
        rng = self.rng
        padding = tuple(int(rng.integers(0, most_padding + 1)) for _ in range(2))
        kernel = tuple(
            int(rng.integers(max(1, by), min(5, n + 2 * by) + 1)) for n, by in zip(shape[1:], padding, strict=True)
        )
        return kernel, tuple(int(n) for n in rng.integers(1, 4, 2)), padding

    def conv(self):
        rng = self.rng
        source, shape = self.image("events", "events", "values")
        kernel, stride, padding = self.windows(shape, most_padding=2)
        dilation = tuple(
            int(rng.integers(1, 3)) if 2 * (k - 1) < n + 2 * by else 1
            for k, n, by in zip(kernel, shape[1:], padding, strict=True)
        )
        groups = int(rng.choice([n for n in (1, 2, 3, 4) if shape[0] % n == 0]))
        outputs = groups * int(rng.integers(1, 6))
        weights = random_weights(rng, outputs, shape[0] // groups * kernel[0] * kernel[1])
        self.add(
            OP_TYPES["Conv"],
            source=source.name,
            weights=weights.reshape(outputs, shape[0] // groups, *kernel),
            input_shape=shape,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            shift=int(rng.choice([0, 0, 1, 3])),
        )

    def pool(self, cls):
        kinds = ("events",) if cls.__name__ == "SpikePool" else ("events", "values")
        source, shape = self.image(*kinds)
        while cls.__name__ == "SpikePool" and self.event_range(source) != (0, 1):
            self.neurons()
            source, shape = self.image(*kinds)
        kernel, stride, padding = self.windows(shape, most_padding=1)
        kernel = tuple(max(k, 2 * by) for k, by in zip(kernel, padding, strict=True))
        self.add(cls, source=source.name, input_shape=shape, kernel=kernel, stride=stride, padding=padding)

    def shift_neurons(self, size):
        """Parameters of Xylo's neurons."""
        rng = self.rng
        return {
            "synapse_shift": self.ints(0, 15, size),
            "membrane_shift": self.ints(0, 15, size),
            "threshold": self.ints(1, int(rng.choice([3, 100, 32767])), size),
            "bias": self.ints(-(1 << 15), (1 << 15) - 1, size) >> int(rng.integers(0, 12)),
            "most_spikes": int(rng.choice([31, 31, 1, 20])),
        }

    def shift_lif(self):
        x = self.dense()
        sources = (x.name, x.name)[: int(self.rng.integers(1, 3))]
        self.add(OP_TYPES["ShiftLIF"], sources=sources, **self.shift_neurons(x.size))

    def xylo_lif(self):
        rng, size = self.rng, self.size()
        sources = {op.name: op.size for op in (self.pick("events") for _ in range(int(rng.integers(1, 3))))}
        weights = rng.integers(-128, 128, (size, sum(sources.values()))) >> int(rng.integers(0, 7))
        fields = {"sources": tuple(sources), "widths": tuple(sources.values()), "weights": weights.astype(np.int8)}
        self.add(OP_TYPES["XyloLIF"], **fields, **self.shift_neurons(size))

    def slots(self, source):
        rng, shape = self.rng, (int(self.rng.integers(1, 6)), source.size)
        fast = rng.integers(0, (1 << 22) + 1, shape).astype(np.int32) if rng.random() < 0.5 else None
        self.add(
            Slots,
            source=source.name,
            keys=rng.integers(-1, 2, shape).astype(np.int8),
            gain=int(rng.integers(-5000, 5000)),
            shift=int(rng.integers(0, 23)),
            decay_bits=int(rng.integers(2, 13)),
            rate_bits=int(rng.integers(1, 13)),
            fast=fast,
            plastic=bool(rng.random() < 0.8),
        )

    def finish(self):
        """Close the loop, and let somebody read what nobody reads."""
        if self.recurrent is not None:
            last = self.neurons(self.recurrent.size)
            index = self.ops.index(self.recurrent)
            kept = self.recurrent
            self.ops[index] = Delay(kept.name, last.name, kept.size, kept.steps)
        x = self.dense(int(self.rng.choice([1, 5, 33])))
        bias = self.ints(-STATE_MAX // 40, STATE_MAX // 40, x.size)
        self.add(Readout, sources=(x.name,), bias=bias, shift=int(self.rng.integers(0, 7)))
        return Program(tuple(self.ops), num_steps=self.num_steps)


KINDS = tuple(sorted(KNOWN - {"Input", "Readout"}))
"""Operations that every executor knows; others are asked for by name."""


def random_network(rng, *, num_steps=12, num_ops=6, kinds=KINDS):
    """Draw a program of any operations whose accumulators are proven to fit."""
    while True:
        draw = _Draw(rng, num_steps)
        try:
            for name in rng.choice(kinds, size=int(rng.integers(1, num_ops + 1))):
                draw.one(str(name))
            program = draw.finish()
            prove(program)
        except (BoundError, neuromorphic.errors.ProgramError):
            continue
        return program
