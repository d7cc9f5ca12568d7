"""Which Lava process runs which operation, decided without Lava.

A stock process stands wherever its fixed-point arithmetic is equal to the operation's. Every other operation, a new one
too, runs its own step in a ``ProgramOperation``, and a reason is given. ``neuromorphic info`` prints this table, and
the Lava side builds exactly what it says.

Facts used (lava-nc 0.10.0, read in its sources and checked by this package's tests):

* ``Dense`` clips mixed-sign 8-bit weights to -256..255 and floors them to even numbers, so a ternary matrix handed over
  as {-1, 0, 1} silently becomes {-2, 0, 0}. With ``num_weight_bits=2`` weights ``128 * T`` stay exact (2-bit synapses);
  with 8 bits ``2 * W`` does, for ``|W| <= 127``. ``weight_exp`` shifts the sum, left or right; every right shift here
  is exact because the sum is a multiple of it.
* ``Conv`` ignores its exponent and number of bits and holds odd weights, so weights are shifted before it has them. It
  is a true convolution: kernels are turned round. Its images are ``(x, y, channel)``, which virtual ports make of
  ``(channel, row, column)``. Its sums wrap at 24 bits. Strides, margins and the like are int8 in its model.
* ``Dense`` and ``Conv`` delay by one step. ``DelayDense(delays=d)`` delays by ``d + 1``, ``Conv`` has no such thing.
* ``LIFReset`` is ``LIF`` that clears its state when ``t % interval == offset``: one network runs sample after sample,
  each layer clearing itself on the step in which the sample's first events arrive, so biases cannot run ahead.
* ``LIF`` shifts its input left by 6, its threshold too, and holds one threshold and one decay per population; its bias
  is a 13-bit mantissa with an exponent. The synaptic current ``u`` wraps at 24 bits.

Time. A stock synapse is one step late, our own processes are not. The depth of an operation is how many steps it runs
behind the program: that of its latest source, one more behind a stock synapse, ``steps`` less behind a ``Delay``.
What comes from a shallower operation waits, in the synapse where there is one that can, else in a ``ProgramDelay``.
Where a loop leaves less time than its stock synapses take, its synapses are our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuromorphic.bounds import prove
from neuromorphic.integers.numbers import DECAY_ONE, INT32_MAX, STATE_MAX
from neuromorphic.ops import LIF, Conv, Delay, Input, Operation, SumPool
from neuromorphic.ops.base import MAX_SHIFT, Synapses
from neuromorphic.program import Program
from neuromorphic.wording import counted

LIF_INPUT_SHIFT = 6
MAX_MANTISSA = 4095
MAX_VTH = (1 << 17) - 1
MAX_DELAY = 62
GRADED_MESSAGE_BITS = 24  # as wide as Loihi 2 sends them; Lava only asks whether it is above 0
_INT8_MAX = 127
_FACTORS = {2: 7, 8: 1}  # weight bits: how many bits to the left of the integer Lava keeps such a weight


@dataclass(frozen=True)
class Placement:
    """One operation on Lava: the process class, whether Lava ships it, and why not if it does not."""

    op: str
    process: str
    stock: bool
    reason: str


def bias_mantissa(bias: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Write biases as ``mantissa << exponent`` with a 13-bit mantissa and an exponent of 0..7, or ``None``."""
    for exponent in range(8):
        mantissa = bias.astype(np.int64) >> exponent
        if np.array_equal(mantissa << exponent, bias) and int(np.abs(mantissa).max()) <= MAX_MANTISSA:
            return mantissa, exponent
    return None


@dataclass(frozen=True)
class Link:
    """How the events or values of one operation reach another: waiting ``wait`` steps, none across samples.

    ``back`` is how many steps of a sample they are late for the program (a ``Delay``): that many steps at the end of a
    sample are not passed on to the next one.
    """

    source: str
    wait: int
    back: int

    def exceeds(self, longest: int) -> bool:
        """Whether a synapse that waits so many steps at most cannot do it."""
        return self.back > 0 or self.wait > longest


@dataclass(frozen=True)
class Synapse:
    """One Lava ``Dense`` or ``Conv``: synapses of a program on their way to one reader.

    The reader hears it as its source number ``position``. ``link`` says what it reads and how long that waits beyond
    Lava's own step, so that all that a reader hears arrives together. ``shift`` is the left shift it applies: its own,
    and what a stock LIF's fixed shift of 6 leaves over. ``weight_bits`` is 2 or 8, and ``graded`` says that it reads
    integers, not spikes.
    """

    op: Synapses
    reader: str
    position: int
    link: Link
    shift: int
    weight_bits: int
    graded: bool

    @property
    def process(self) -> str:
        """The Lava class."""
        if isinstance(self.op, Conv):
            return "Conv"
        return "DelayDense" if self.link.wait and not self.needs_delay else "Dense"

    @property
    def input(self) -> Link:
        """What brings it its events: without the steps that it waits by itself."""
        return self.link if self.needs_delay else Link(self.link.source, 0, 0)

    @property
    def needs_delay(self) -> bool:
        """Whether it cannot wait by itself, so that a ``ProgramDelay`` stands before it."""
        return self.link.exceeds(0 if isinstance(self.op, Conv) else MAX_DELAY)


def as_synapses(op: Operation) -> Synapses | None:
    """Return an operation as synapses, if that is what it is: a sum over windows has weights of 1."""
    if isinstance(op, SumPool):
        return op.as_conv()
    return op if isinstance(op, Synapses) else None


class Layout:
    """Where the operations of a program stand on Lava, and when they run.

    Attributes
    ----------
    placements : dict of str to Placement
        By operation.
    depth : dict of str to int
        Steps by which an operation runs behind the program.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._synapses = {op.name: found for op in program.ops if (found := as_synapses(op))}
        self._peaks = {bound.name: bound.peak for bound in prove(program)}
        self._readers: dict[str, list[str]] = {op.name: [] for op in program.ops}
        for op in program.ops:
            for source in dict.fromkeys(op.sources):
                self._readers[source].append(op.name)
        self._bits = {op.name: self._weight_bits(op) for op in self._synapses.values()}
        self.depth = self._depths() or self._without_stock_loops()
        self.placements = {op.name: self._place(op) for op in program.ops}

    def link(self, source: str, reader: str, *, lag: int = 0) -> Link:
        """Return how ``source`` reaches ``reader`` if the way itself takes ``lag`` steps."""
        op, back = self.program.undelayed(source)
        return Link(op.name, self.depth[reader] - lag - self.depth[op.name] + back, back)

    def is_stock_synapse(self, name: str) -> bool:
        """Whether the operation is synapses that a process of Lava's own runs."""
        return self._bits.get(name) is not None

    def synapses(self) -> list[Synapse]:
        """List the stock synapses, one for each reader of each operation, in program order of the readers."""
        found = []
        for reader in self.program.ops:
            extra = 0
            if isinstance(reader, LIF) and self.placements[reader.name].stock:
                extra = reader.shift - LIF_INPUT_SHIFT
            for position, source in enumerate(reader.sources):
                if self.is_stock_synapse(source):
                    op, bits = self._synapses[source], self._bits[source]
                    assert bits is not None
                    link = self.link(op.source, reader.name, lag=1)
                    found.append(Synapse(op, reader.name, position, link, op.shift + extra, bits, self._graded(op)))
        return found

    def _graded(self, op: Synapses) -> bool:
        origin, _ = self.program.undelayed(op.source)
        return origin.kind != "events" or origin.event_range != (0, 1)

    def _weight_bits(self, op: Synapses) -> int | None:
        """Choose 2-bit synapses for ternary weights, else 8-bit ones, ``None`` if Lava's cannot do it."""
        peak_sum = self._peaks[op.name] >> op.shift
        source = self.program[op.source]
        wide = source.kind == "values" and self._peaks[source.name] >= 1 << (GRADED_MESSAGE_BITS - 1)
        if source.name in self._synapses or wide:
            return None  # synapses hear processes, and messages have 24 bits
        if isinstance(op, Conv):
            return None if self._conv_obstacle(op) else 8
        for bits in (2, 8) if op.is_ternary else (8,):
            if peak_sum << _FACTORS[bits] <= INT32_MAX:
                return bits
        return None

    def _depths(self) -> dict[str, int] | None:
        """Return all depths, or ``None`` if a loop takes longer than it may."""
        depths = {op.name: 0 for op in self.program.ops}
        most = sum(bits is not None for bits in self._bits.values())  # of a way that passes no synapse twice
        while max(depths.values()) <= most:
            before = dict(depths)
            for op in self.program.ops:
                behind = [depths[source] for source in op.sources]
                own = -op.steps if isinstance(op, Delay) else int(self.is_stock_synapse(op.name))
                depths[op.name] = max([0, *(depth + own for depth in behind)])
            if depths == before:
                return depths
        return None

    def _without_stock_loops(self) -> dict[str, int]:
        for name in self._looped():
            self._bits[name] = None
        depths = self._depths()
        assert depths is not None, "a loop without stock synapses takes no time"
        return depths

    def _looped(self) -> list[str]:
        """Return the synapses on a way from an operation back to itself."""
        reads = {op.name: set(op.sources) for op in self.program.ops}

        def reaches(name: str) -> set[str]:
            seen: set[str] = set()
            waiting = [name]
            while waiting:
                for source in reads[waiting.pop()] - seen:
                    seen.add(source)
                    waiting.append(source)
            return seen

        return [op.name for op in self._synapses.values() if op.name in reaches(op.name)]

    def _place(self, op: Operation) -> Placement:
        if isinstance(op, Input):
            return Placement(op.name, "RingBuffer", True, "plays the inputs, sample after sample")
        if op.name in self._synapses:
            return self._place_synapses(self._synapses[op.name])
        if isinstance(op, Delay):
            return Placement(op.name, "ProgramDelay", False, "Lava's delays are in synapses and never start anew")
        reason = _REASONS.get(type(op).__name__, "Lava has no process that is known to equal it")
        if type(op) is LIF:  # not its subclasses, whose steps are others
            obstacle = self._lif_obstacle(op)
            if obstacle is None:
                return Placement(op.name, "LIFReset", True, "du=4095, one decay and threshold, reset to zero")
            reason = obstacle
        return Placement(op.name, "ProgramOperation", False, reason)

    def _place_synapses(self, op: Synapses) -> Placement:
        bits = self._bits[op.name]
        if bits is None:
            obstacle = self._conv_obstacle(op) if isinstance(op, Conv) else None
            reason = obstacle or "a loop leaves it no step, or a sum is too large"
            return Placement(op.name, "ProgramOperation", False, reason)
        readers = self._readers[op.name]
        if not readers:
            return Placement(op.name, "none", True, "nothing reads it")
        if isinstance(op, Conv):
            return Placement(op.name, "Conv", True, "kernels turned round, images as (x, y, channel)")
        links = [self.link(op.source, reader, lag=1) for reader in readers]
        waits = sorted({link.wait for link in links if not link.exceeds(MAX_DELAY)})
        late = (
            f", waiting {' or '.join(map(str, waits[:-1]))}{' or ' * (len(waits) > 1)}{counted(waits[-1], 'step')}"
            if any(waits)
            else ""
        )
        kind = "2-bit synapses, 128 * T" if bits == 2 else "8-bit synapses, 2 * W"
        return Placement(op.name, "DelayDense" if any(waits) else "Dense", True, kind + late)

    def _conv_obstacle(self, op: Conv) -> str | None:
        """Return why Lava's own ``Conv`` cannot be equal to this op, or ``None`` when it is."""
        extents = [n + 2 * by for n, by in zip(op.input_shape[1:], op.padding, strict=True)]
        heaviest = int(np.abs(op.weights.astype(np.int64)).max()) << (op.shift + MAX_SHIFT - LIF_INPUT_SHIFT)
        checks = (
            (self._peaks[op.name] > STATE_MAX, "its sum can exceed 24 bits, where stock wraps around"),
            (heaviest > INT32_MAX, "its weights, shifted, exceed 32 bits"),
            (max(*extents, *op.stride, op.groups) > _INT8_MAX, "stock holds strides, margins and groups in int8"),
        )
        return next((reason for failed, reason in checks if failed), None)

    def _lif_obstacle(self, op: LIF) -> str | None:
        """Return why Lava's own ``LIFReset`` cannot be equal to this op, or ``None`` when it is."""
        peak = sum(self._peaks[source] for source in op.sources)
        checks = (
            (op.reset != "zero", f"reset is {op.reset}, stock resets to zero"),
            (np.unique(op.decay).size > 1, "decay differs between neurons"),
            (np.unique(op.threshold).size > 1, "threshold differs between neurons"),
            (op.shift < LIF_INPUT_SHIFT, f"shift is {op.shift}, stock shifts by {LIF_INPUT_SHIFT} at least"),
            (bool((op.threshold % (1 << LIF_INPUT_SHIFT)).any()), "threshold is not a multiple of 64"),
            (int(op.threshold.max()) >> LIF_INPUT_SHIFT > MAX_VTH, "threshold does not fit 17 bits"),
            (bias_mantissa(op.bias) is None, "bias is not a 13-bit mantissa times a power of two"),
            (peak << op.shift > STATE_MAX, "the current can exceed 24 bits, where stock wraps around"),
            (not all(map(self.is_stock_synapse, op.sources)), "it hears more than stock synapses, which shift for it"),
        )
        return next((reason for failed, reason in checks if failed), None)


def synapse_arguments(synapse: Synapse) -> dict[str, object]:
    """Return the arguments of Lava's process for a synapse, the ``sign_mode`` (mixed) of a ``Dense`` aside."""
    if isinstance(synapse.op, Conv):
        return _conv_arguments(synapse.op, synapse)
    factor_bits = _FACTORS[synapse.weight_bits]
    arguments: dict[str, object] = {
        "weights": np.left_shift(synapse.op.weights.astype(np.int32), np.int32(factor_bits)),
        "num_weight_bits": synapse.weight_bits,
        "weight_exp": synapse.shift - factor_bits,
        "num_message_bits": GRADED_MESSAGE_BITS if synapse.graded else 0,
    }
    if synapse.process == "DelayDense":
        arguments["delays"] = synapse.link.wait
    return arguments


def _conv_arguments(op: Conv, synapse: Synapse) -> dict[str, object]:
    weights = np.left_shift(op.weights.astype(np.int32), np.int32(synapse.shift))  # [out, in, y, x]
    return {
        "weight": np.ascontiguousarray(weights.transpose(0, 3, 2, 1)[:, ::-1, ::-1]),
        "input_shape": op.input_shape[::-1],
        "stride": op.stride[::-1],
        "padding": op.padding[::-1],
        "dilation": op.dilation[::-1],
        "groups": op.groups,
        "num_message_bits": GRADED_MESSAGE_BITS if synapse.graded else 0,
    }


_REASONS = {
    "HomeostaticLIF": "stock thresholds stay as they are",
    "GradedLIF": "stock LIF sends spikes of one size",
    "Readout": "Lava has no sum that starts anew with each sample",
    "LeakyReadout": "Lava has no sum that starts anew with each sample",
    "MaxPool": "Lava has no maximum over windows",
    "SpikePool": "Lava has no OR over windows",
    "Delays": "Lava's delays are in synapses and never start anew",
    "Scale": "Lava has no constant factor with a right shift toward zero",
    "Gate": "Lava has no sigmoid table",
    "Multiply": "stock ProdNeuron rounds down and wraps",
    "LI": "stock LIF has no 24-bit output of its membrane",
    "GatedState": "Lava has no state with a gate as its decay",
    "Resonator": "stock RF sends spikes, not its state",
    "Torus": "eight neighbours are cheaper than a matrix of synapses",
    "FastWeights": "Lava's learning has no fixed point that equals it",
    "Slots": "Lava has no winner-take-all memory",
    "Delta": "stock Delta does not start anew with each sample",
    "Sigma": "stock Sigma does not start anew with each sample",
    "ReLU": "in Lava it is a part of SigmaDelta, which does not start anew with each sample",
}
"""Why Lava's own processes do not run an operation, where more is known than that none equals it."""


def lava_mapping(program: Program) -> list[Placement]:
    """Decide, operation by operation, which Lava process runs it.

    Parameters
    ----------
    program : Program
        Any program.

    Returns
    -------
    list of Placement
        In program order.

    Examples
    --------
    >>> from neuromorphic.ops import Dense
    >>> one = np.ones(2, dtype=np.int32)
    >>> fc = Dense("fc", "x", np.array([[1, 0], [0, -1]], dtype=np.int8))
    >>> lif = LIF("lif", ("fc",), decay=3686 * one, threshold=64 * one, bias=0 * one, shift=6)
    >>> [(p.process, p.stock) for p in lava_mapping(Program((Input("x", 2), fc, lif), num_steps=5))]
    [('RingBuffer', True), ('Dense', True), ('LIFReset', True)]
    """
    return list(Layout(program).placements.values())


def stock_lif_arguments(op: LIF) -> dict[str, object]:
    """Return the arguments of Lava's ``LIFReset`` for an op that :func:`lava_mapping` placed there."""
    split = bias_mantissa(op.bias)
    assert split is not None, f"{op.name} is not placed on LIFReset"
    return {
        "du": 4095,
        "dv": DECAY_ONE - int(op.decay[0]),
        "vth": int(op.threshold[0]) >> LIF_INPUT_SHIFT,
        "bias_mant": split[0].astype(np.int32),
        "bias_exp": split[1],
    }
