"""Which Lava process runs which operation, decided without Lava.

A stock process stands wherever its fixed-point arithmetic is equal to the operation's; otherwise one of our own does,
and the reason is kept. ``neuromorphic info`` prints this table, and the Lava side builds exactly what it says.

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
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuromorphic.bounds import prove
from neuromorphic.errors import CompileError
from neuromorphic.fixed_point import DECAY_ONE, INT32_MAX, STATE_MAX
from neuromorphic.ops import LIF, Dense, Input, Op
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
class Synapse:
    """One Lava ``Dense``: a program's ``Dense`` on its way to one reader.

    ``delay`` is how many steps it waits beyond Lava's own one, so that all currents of a neuron arrive together: the
    reader stands at the greatest depth of its sources, a shallower path waits for the deepest. ``shift`` is the left
    shift it applies: its own, and what a stock LIF's fixed shift of 6 leaves over. ``weight_bits`` is 2 or 8, and
    ``graded`` says that it reads integers, not spikes.
    """

    dense: Dense
    reader: str
    process: str
    delay: int
    shift: int
    weight_bits: int
    graded: bool


def synapses(program: Program) -> list[Synapse]:
    """List the Lava synapses of a program, one per pair of ``Dense`` and reader, in program order."""
    peaks = _peaks(program)
    placements = {op.name: _place(program, op, peaks) for op in program.ops}
    found = []
    for reader in program.ops:
        if isinstance(reader, (Input, Dense)):
            continue
        extra = reader.shift - LIF_INPUT_SHIFT if placements[reader.name].stock else 0
        for source in reader.sources:
            dense = program[source]
            assert isinstance(dense, Dense)
            found.append(
                Synapse(
                    dense,
                    reader.name,
                    process=placements[source].process,
                    delay=program.depth(reader.name) - program.depth(source),
                    shift=dense.shift + extra,
                    weight_bits=_weight_bits(dense, peaks[source]),
                    graded=dense.source == program.input.name and (program.input.low, program.input.high) != (0, 1),
                )
            )
    return found


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
        arguments["delays"] = synapse.delay
    return arguments


def _peaks(program: Program) -> dict[str, int]:
    return {bound.name: max(-bound.low, bound.high) for bound in prove(program)}


def _weight_bits(op: Dense, peak: int) -> int:
    """Choose 2-bit synapses for ternary weights and 8-bit ones otherwise, as long as Lava's int32 sum is exact."""
    peak_sum = peak >> op.shift
    for bits in (2, 8) if op.is_ternary else (8,):
        if peak_sum << _FACTORS[bits] <= INT32_MAX:
            return bits
    raise CompileError(
        f"{op.name}: its sum can reach {peak_sum}, Lava's synapses hold {INT32_MAX >> 1} at most; "
        "lower the fan-in or the input range"
    )


def _lif_obstacle(op: LIF, peak_current: int) -> str | None:
    """Return why Lava's own ``LIFReset`` cannot be equal to this op, or ``None`` when it is."""
    checks = (
        (op.reset != "zero", f"reset is {op.reset}, stock resets to zero"),
        (np.unique(op.decay).size > 1, "decay differs between neurons"),
        (np.unique(op.threshold).size > 1, "threshold differs between neurons"),
        (op.shift < LIF_INPUT_SHIFT, f"shift is {op.shift}, stock shifts by {LIF_INPUT_SHIFT} at least"),
        (bool((op.threshold % (1 << LIF_INPUT_SHIFT)).any()), "threshold is not a multiple of 64"),
        (int(op.threshold.max()) >> LIF_INPUT_SHIFT > MAX_VTH, "threshold does not fit 17 bits"),
        (bias_mantissa(op.bias) is None, "bias is not a 13-bit mantissa times a power of two"),
        (peak_current << op.shift > STATE_MAX, "the current can exceed 24 bits, where stock wraps around"),
    )
    return next((reason for failed, reason in checks if failed), None)


def _place(program: Program, op: Op, peaks: dict[str, int]) -> Placement:
    if isinstance(op, Input):
        return Placement(op.name, "RingBuffer", True, "plays the inputs, sample after sample")
    if isinstance(op, Dense):
        delays = [program.depth(r.name) - program.depth(op.name) for r in program.ops if op.name in r.sources]
        if not delays:
            return Placement(op.name, "none", True, "nothing reads it")
        if max(delays) > MAX_DELAY:
            raise CompileError(f"{op.name}: must wait {max(delays)} steps, Lava's synapses wait {MAX_DELAY} at most")
        two_bits = _weight_bits(op, peaks[op.name]) == 2
        bits = "2-bit synapses, 128 * T" if two_bits else "8-bit synapses, 2 * W"
        late = f", waiting {' or '.join(str(d) for d in sorted(set(delays)))} steps" if any(delays) else ""
        return Placement(op.name, "DelayDense" if any(delays) else "Dense", True, bits + late)
    if isinstance(op, LIF):
        obstacle = _lif_obstacle(op, sum(peaks[source] for source in op.sources))
        if obstacle is None:
            return Placement(op.name, "LIFReset", True, "du=4095, one decay and threshold, reset to zero")
        return Placement(op.name, "ProgramLIF", False, obstacle)
    return Placement(op.name, "ProgramReadout", False, "Lava has no sum that clears itself between samples")


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

    Raises
    ------
    CompileError
        When a synapse would have to wait longer, or sum further, than Lava's can.

    Examples
    --------
    >>> one = np.ones(2, dtype=np.int32)
    >>> fc = Dense("fc", "x", np.array([[1, 0], [0, -1]], dtype=np.int8))
    >>> lif = LIF("lif", ("fc",), decay=3686 * one, threshold=64 * one, bias=0 * one, shift=6)
    >>> [(p.process, p.stock) for p in lava_mapping(Program((Input("x", 2), fc, lif), num_steps=5))]
    [('RingBuffer', True), ('Dense', True), ('LIFReset', True)]
    """
    peaks = _peaks(program)
    return [_place(program, op, peaks) for op in program.ops]


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
