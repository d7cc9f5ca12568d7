"""Which Lava process runs which operation, decided without Lava.

A stock process stands wherever its fixed-point arithmetic is equal to the operation's. Every other operation, a new one
too, runs its own step in a ``ProgramOperation``, and a reason is given. ``neuromorphic info`` prints this table, and
the Lava side builds exactly what it says.

Facts used (lava-nc 0.10.0, read in its sources and checked by this package's tests):

* ``Dense`` clips mixed-sign 8-bit weights to -256..255 and floors them to even numbers, so a ternary matrix handed over
  as {-1, 0, 1} silently becomes {-2, 0, 0}. With ``num_weight_bits=2`` weights ``128 * T`` stay exact (2-bit synapses);
  with 8 bits ``2 * W`` does, for ``|W| <= 127``. ``weight_exp`` shifts the sum, left or right; every right shift here
  is exact because the sum is a multiple of it.
* ``Dense`` delays by one step. ``DelayDense(delays=d)`` delays by ``d + 1``.
* ``LIFReset`` is ``LIF`` that clears its state when ``t % interval == offset``: one network runs sample after sample,
  each layer clearing itself on the step in which the sample's first events arrive, so biases cannot run ahead.
* ``LIF`` shifts its input left by 6, its threshold too, and holds one threshold and one decay per population; its bias
  is a 13-bit mantissa with an exponent. The synaptic current ``u`` wraps at 24 bits.

Time. A stock ``Dense`` is one step late, our own processes are not. The depth of an operation is how many steps it runs
behind the program: that of its latest source, one more behind a stock ``Dense``, ``steps`` less behind a ``Delay``.
What comes from a shallower operation waits, in the synapse where there is one that can, else in a ``ProgramDelay``.
Where a loop leaves less time than its stock synapses take, its synapses are our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuromorphic.bounds import prove
from neuromorphic.integers.numbers import DECAY_ONE, INT32_MAX, STATE_MAX
from neuromorphic.ops import LIF, Delay, Dense, Input, Operation
from neuromorphic.program import Program

LIF_INPUT_SHIFT = 6
MAX_MANTISSA = 4095
MAX_VTH = (1 << 17) - 1
MAX_DELAY = 62
GRADED_MESSAGE_BITS = 24  # as wide as Loihi 2 sends them; Lava only asks whether it is above 0
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

    @property
    def needs_process(self) -> bool:
        """Whether a synapse cannot wait by itself."""
        return self.back > 0 or self.wait > MAX_DELAY


@dataclass(frozen=True)
class Synapse:
    """One Lava ``Dense``: a program's ``Dense`` on its way to one reader.

    The reader hears it as its source number ``position``. ``link`` says what it reads and how long that waits beyond
    Lava's own step, so that all that a reader hears arrives together. ``shift`` is the left shift it applies: its own,
    and what a stock LIF's fixed shift of 6 leaves over. ``weight_bits`` is 2 or 8, and ``graded`` says that it reads
    integers, not spikes.
    """

    dense: Dense
    reader: str
    position: int
    link: Link
    shift: int
    weight_bits: int
    graded: bool

    @property
    def process(self) -> str:
        """The Lava class."""
        return "DelayDense" if self.link.wait and not self.link.needs_process else "Dense"


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
        self._peaks = {bound.name: bound.peak for bound in prove(program)}
        self._bits = {op.name: self._weight_bits(op) for op in program.of_type(Dense)}
        self.depth = self._depths() or self._without_stock_loops()
        self.placements = {op.name: self._place(op) for op in program.ops}

    def link(self, source: str, reader: str, *, lag: int = 0) -> Link:
        """Return how ``source`` reaches ``reader`` if the way itself takes ``lag`` steps."""
        op, back = self.program.undelayed(source)
        return Link(op.name, self.depth[reader] - lag - self.depth[op.name] + back, back)

    def is_stock_dense(self, name: str) -> bool:
        """Whether the operation is a ``Dense`` that Lava's own one runs."""
        return self._bits.get(name) is not None

    def synapses(self) -> list[Synapse]:
        """List the stock synapses, one per pair of ``Dense`` and reader, in program order of the readers."""
        found = []
        for reader in self.program.ops:
            extra = 0
            if isinstance(reader, LIF) and self.placements[reader.name].stock:
                extra = reader.shift - LIF_INPUT_SHIFT
            for position, source in enumerate(reader.sources):
                if self.is_stock_dense(source):
                    dense = self.program[source]
                    assert isinstance(dense, Dense)
                    link = self.link(dense.source, reader.name, lag=1)
                    bits = self._bits[source]
                    assert bits is not None
                    shift, graded = dense.shift + extra, self._graded(dense)
                    found.append(Synapse(dense, reader.name, position, link, shift, bits, graded))
        return found

    def _graded(self, dense: Dense) -> bool:
        origin, _ = self.program.undelayed(dense.source)
        return origin.kind != "events" or origin.event_range != (0, 1)

    def _weight_bits(self, op: Dense) -> int | None:
        """Choose 2-bit synapses for ternary weights, else 8-bit ones, ``None`` if Lava's cannot do it."""
        peak_sum = self._peaks[op.name] >> op.shift
        source = self.program[op.source]
        wide = source.kind == "values" and self._peaks[source.name] >= 1 << (GRADED_MESSAGE_BITS - 1)
        if isinstance(source, Dense) or wide:
            return None  # synapses hear processes, and messages have 24 bits
        for bits in (2, 8) if op.is_ternary else (8,):
            if peak_sum << _FACTORS[bits] <= INT32_MAX:
                return bits
        return None

    def _depths(self) -> dict[str, int] | None:
        """Return all depths, or ``None`` if a loop takes longer than it may."""
        depths = {op.name: 0 for op in self.program.ops}
        for _ in range(len(depths) + 1):
            before = dict(depths)
            for op in self.program.ops:
                behind = [depths[source] for source in op.sources]
                own = -op.steps if isinstance(op, Delay) else int(self.is_stock_dense(op.name))
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
        """Return the ``Dense`` on a way from an operation back to itself."""
        reads = {op.name: set(op.sources) for op in self.program.ops}

        def reaches(name: str) -> set[str]:
            seen: set[str] = set()
            waiting = [name]
            while waiting:
                for source in reads[waiting.pop()] - seen:
                    seen.add(source)
                    waiting.append(source)
            return seen

        return [op.name for op in self.program.of_type(Dense) if op.name in reaches(op.name)]

    def _place(self, op: Operation) -> Placement:
        if isinstance(op, Input):
            return Placement(op.name, "RingBuffer", True, "plays the inputs, sample after sample")
        if isinstance(op, Dense):
            return self._place_dense(op)
        if isinstance(op, Delay):
            return Placement(op.name, "ProgramDelay", False, "Lava's delays are in synapses and never start anew")
        reason = _REASONS.get(type(op).__name__, "Lava has no process that is known to equal it")
        if type(op) is LIF:  # not its subclasses, whose steps are others
            obstacle = self._lif_obstacle(op)
            if obstacle is None:
                return Placement(op.name, "LIFReset", True, "du=4095, one decay and threshold, reset to zero")
            reason = obstacle
        return Placement(op.name, "ProgramOperation", False, reason)

    def _place_dense(self, op: Dense) -> Placement:
        bits = self._bits[op.name]
        if bits is None:
            return Placement(op.name, "ProgramOperation", False, "a loop leaves it no step, or a sum is too large")
        readers = [r.name for r in self.program.ops if op.name in r.sources]
        if not readers:
            return Placement(op.name, "none", True, "nothing reads it")
        links = [self.link(op.source, reader, lag=1) for reader in readers]
        waits = sorted({link.wait for link in links if not link.needs_process})
        late = f", waiting {' or '.join(map(str, waits))} steps" if any(waits) else ""
        kind = "2-bit synapses, 128 * T" if bits == 2 else "8-bit synapses, 2 * W"
        return Placement(op.name, "DelayDense" if any(waits) else "Dense", True, kind + late)

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
            (not all(map(self.is_stock_dense, op.sources)), "it hears more than stock synapses, which shift for it"),
        )
        return next((reason for failed, reason in checks if failed), None)


def synapse_arguments(synapse: Synapse) -> dict[str, object]:
    """Return the arguments of Lava's ``Dense`` or ``DelayDense`` for a synapse, ``sign_mode`` (mixed) aside."""
    factor_bits = _FACTORS[synapse.weight_bits]
    arguments: dict[str, object] = {
        "weights": np.left_shift(synapse.dense.weights.astype(np.int32), np.int32(factor_bits)),
        "num_weight_bits": synapse.weight_bits,
        "weight_exp": synapse.shift - factor_bits,
        "num_message_bits": GRADED_MESSAGE_BITS if synapse.graded else 0,
    }
    if synapse.process == "DelayDense":
        arguments["delays"] = synapse.link.wait
    return arguments


_REASONS = {
    "HomeostaticLIF": "stock thresholds stay as they are",
    "Readout": "Lava has no sum that starts anew with each sample",
    "Scale": "Lava has no constant factor with a right shift toward zero",
    "Gate": "Lava has no sigmoid table",
    "Multiply": "stock ProdNeuron rounds down and wraps",
    "LI": "stock LIF has no 24-bit output of its membrane",
    "GatedState": "Lava has no state with a gate as its decay",
    "Resonator": "stock RF sends spikes, not its state",
    "Torus": "eight neighbours are cheaper than a matrix of synapses",
    "FastWeights": "Lava's learning has no fixed point that equals it",
    "Slots": "Lava has no winner-take-all memory",
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
