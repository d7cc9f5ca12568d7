"""A program as the layers of a netx file: which operations are one layer, and its fields."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.bounds import prove_ranges
from neuromorphic.errors import CompileError
from neuromorphic.executors.lava.mapping import LIF_INPUT_SHIFT, MAX_MANTISSA, MAX_VTH
from neuromorphic.formats.netx.chain import MAX_DELAY
from neuromorphic.formats.netx.neurons import BIAS_EXPONENT, SPIKE_SHIFT, STATE_SHIFT
from neuromorphic.formats.netx.weights import misread, out_of_range
from neuromorphic.integers.numbers import DECAY_ONE, STATE_MAX
from neuromorphic.ops import (
    LI,
    LIF,
    Conv,
    Delays,
    Delta,
    Dense,
    GradedLIF,
    Operation,
    Readout,
    ReLU,
    Scale,
    Sigma,
    SumPool,
)
from neuromorphic.program import Program

GRADED_SHIFT = STATE_SHIFT + SPIKE_SHIFT
MAX_WEIGHT = 255  # of an input layer
OpT = TypeVar("OpT", bound=Operation)
Fields = dict[str, Any]


class Layers(NamedTuple):
    """The fields of every layer, the names of those that are recorded, by variable, and what lava-dl does otherwise."""

    fields: list[Fields]
    variables: list[str]
    notes: list[str]


def layers_of(program: Program) -> Layers:
    """Return the layers of a program, its input first.

    Raises
    ------
    CompileError
        If it is no chain, or holds what netx does not; the message names the operation.
    """
    writer = _Writer(program)
    while writer.rest:
        writer.layer()
    return Layers(writer.layers, writer.variables, writer.notes)


class _Writer:
    """Takes the operations of a program one after the other; each must read what was taken last, and no other."""

    def __init__(self, program: Program) -> None:
        self.program, self.rest = program, list(program.ops[1:])
        self.last: tuple[str, ...] = (program.input.name,)
        self.layers: list[Fields] = []
        self.variables: list[str] = []
        self.notes: list[str] = []
        self.graded, self.shift = False, 0  # of what the next layer reads: see Chain
        self.shape: tuple[int, ...] = (program.input.size,)
        bounds = prove_ranges(program)
        self.peaks = {name: np.maximum(-bound.low, bound.high) for name, bound in bounds.items()}
        saturating = [op.name for op in program.of_type(Sigma) if bounds[op.name].saturates]
        if saturating:
            self.notes.append(
                f"{', '.join(saturating)}: by the bounds a sum can leave 24 bits, where it saturates here and wraps in "
                "Lava"
            )
        self._input()

    def _follows(self, *kinds: type[Operation]) -> bool:
        return bool(self.rest) and type(self.rest[0]) in kinds

    def _take(self, *kinds: type[OpT]) -> OpT:
        if not self._follows(*kinds):
            what = f"{self.rest[0].name} ({type(self.rest[0]).__name__})" if self.rest else "nothing"
            raise CompileError(f"{what}: netx holds synapses and neurons in turn")
        op: Any = self.rest.pop(0)
        if op.sources != self.last:
            raise CompileError(f"{op.name}: netx holds a chain, every layer reads the one before and no other")
        self.last = (op.name,)
        return op  # type: ignore[no-any-return]

    def _input(self) -> None:
        port = self.program.input
        layer: Fields = {"type": b"input"}
        if self._follows(Scale, Delta):
            weight = round(1 / port.scale)
            if not 1 <= weight <= MAX_WEIGHT or 1 / weight != port.scale:
                raise CompileError(f"{port.name}: netx holds a scale of 1 / n, n in 1..{MAX_WEIGHT}, got {port.scale}")
            layer |= {"weight": [weight], **self._encoder()}
        elif (port.low, port.high) != (0, 1):
            raise CompileError(f"{port.name}: netx takes spikes, 0 or 1, got {port.low}..{port.high}")
        if self._follows(Conv, SumPool):
            self.shape = self.rest[0].input_shape  # type: ignore[attr-defined]
        self.layers.append(layer | {"shape": list(self.shape)})

    def _encoder(self) -> Fields:
        """Take the neurons of an input layer."""
        if self._follows(Delta):
            delta = self._take(Delta)
            if delta.shift:
                raise CompileError(f"{delta.name}: netx's encoders do not shift to the right")
            self.graded, self.shift = True, SPIKE_SHIFT
            self.variables.append(f"{delta.name}.delta")
            return {"neuron": _sdnn(_only(delta, "threshold", delta.threshold))}
        first, neurons = self._take(Scale), self._take(LIF)
        if (first.factor != 1).any() or first.shift or neurons.shift != LIF_INPUT_SHIFT:
            raise CompileError(f"{first.name}: netx takes inputs as they are, a factor of 1 and a shift of 6")
        self.variables.append(f"{neurons.name}.v")
        bias = _mantissa(neurons.name, neurons.bias, BIAS_EXPONENT)
        return {"neuron": self._cuba(neurons, None), "bias": [_only(neurons, "bias", bias)]}

    def layer(self) -> None:
        """Take the operations of a layer."""
        if self._follows(Delays):
            self._delay(self._take(Delays))
        synapses: Any = self._take(Dense, Conv, SumPool)
        weights, shift = _weights(synapses), getattr(synapses, "shift", 0)
        if self._follows(type(synapses)) and self.rest[0].sources == synapses.sources:  # two for weights of nine bits
            other: Any = self.rest.pop(0)
            _check_alike(synapses, other)
            self.last = (synapses.name, other.name)
            low = min(shift, other.shift)
            weights = (weights << (shift - low)) + (_weights(other) << (other.shift - low))
            shift = low
        fields = self._synapse_fields(synapses)
        shift, neuron = self._neurons(synapses, fields, shift)
        if shift < 0:
            fixed = self.shift if self.graded else LIF_INPUT_SHIFT
            raise CompileError(
                f"{neuron}: netx shifts its input by {fixed}, this needs {fixed + shift}; counted in finer units it "
                "would fit"
            )
        weights = weights << shift
        problem = out_of_range(weights) or (misread(weights) if weights.ndim == 2 else "")
        if problem:
            raise CompileError(f"{synapses.name}: {problem}; NIR holds them (--to nir)")
        self.layers.append(fields | {"weight": weights.astype(np.int32)})
        self.shift = 0

    def _synapse_fields(self, op: Any) -> Fields:
        if isinstance(op, Dense):
            if len(self.shape) > 1:
                self.layers.append({"type": b"flatten", "shape": [math.prod(self.shape)]})
            self.shape = (op.size,)
            return {"type": b"dense", "shape": [op.size], "inFeatures": op.weights.shape[1], "outFeatures": op.size}
        if self.shape != op.input_shape:
            raise CompileError(
                f"{op.name}: reads an image of {list(op.input_shape)}, the layer before has shape {list(self.shape)}"
            )
        kernel = op.weights.shape[2:] if isinstance(op, Conv) else op.kernel
        self.shape = op.output_shape
        fields: Fields = {"type": b"conv", "shape": list(op.output_shape), "inChannels": op.input_shape[0]}
        fields |= {"outChannels": op.output_shape[0], "kernelSize": list(kernel)}
        fields |= {"stride": list(op.stride), "padding": list(op.padding)}
        fields |= {"dilation": list(getattr(op, "dilation", (1, 1)))}
        return fields | {"groups": getattr(op, "groups", op.input_shape[0])}

    def _neurons(self, synapses: Any, fields: Fields, shift: int) -> tuple[int, str]:
        """Take a layer's neurons, add their fields, and return what their weights are to be shifted by."""
        if self.graded:
            return self._sigma_delta(fields, shift)
        current = self._take(LI) if self._follows(LI) else None
        if self._follows(Readout):
            return self._sum(self._take(Readout), fields, shift)
        neurons = self._take(LIF)
        first = current or neurons
        fields["neuron"] = self._cuba(neurons, current)
        self._bias(neurons.name, neurons.bias, BIAS_EXPONENT, fields)
        self.variables.append(f"{neurons.name}.v")
        return shift + first.shift - LIF_INPUT_SHIFT, neurons.name

    def _cuba(self, op: LIF, current: LI | None) -> Fields:
        """Return the fields of neurons that are Lava's ``LIF``."""
        if isinstance(op, GradedLIF):
            raise CompileError(f"{op.name}: netx has no neurons with graded events of {op.levels} levels")
        first = current or op
        drive = sum(int(self.peaks[source].max()) for source in first.sources) << first.shift
        lasting = 0 if current is None else _only(current, "decay", current.decay)
        checks = (
            (op.reset != "zero", f"reset is {op.reset}, stock resets to zero"),
            (bool((op.threshold % (1 << LIF_INPUT_SHIFT)).any()), "threshold is not a multiple of 64"),
            (int(op.threshold.max()) >> LIF_INPUT_SHIFT > MAX_VTH, "threshold does not fit 17 bits"),
            (current is not None and op.shift > 0, "its current is shifted once more"),
            (current is not None and bool(current.bias.any()), "its current has a bias"),
            (lasting == DECAY_ONE and drive > 0, "its current lasts for ever"),
            (
                drive * DECAY_ONE // max(DECAY_ONE - lasting, 1) > STATE_MAX,
                "the current can exceed 24 bits, where stock wraps around",
            ),
        )
        obstacle = next((reason for failed, reason in checks if failed), None)
        if obstacle:
            raise CompileError(f"{op.name}: not for Lava's stock LIF ({obstacle})")
        threshold = _only(op, "threshold", op.threshold) >> LIF_INPUT_SHIFT
        neuron = {"type": b"CUBA", "iDecay": DECAY_ONE - lasting}  # Lava's du is this minus one
        neuron |= {"vDecay": DECAY_ONE - _only(op, "decay", op.decay), "vThMant": threshold}
        return neuron | {"refDelay": 1, "gradedSpike": False}

    def _sum(self, op: Readout, fields: Fields, shift: int) -> tuple[int, str]:
        """Take a sum: neurons without a leak, whose threshold it must not reach."""
        peak = int(self.peaks[op.name].max())
        if peak > MAX_VTH << LIF_INPUT_SHIFT:
            raise CompileError(
                f"{op.name}: its sum can reach {peak}, a netx layer that only sums holds "
                f"{MAX_VTH << LIF_INPUT_SHIFT}; fewer steps or a smaller shift"
            )
        fields["neuron"] = {"type": b"CUBA", "iDecay": DECAY_ONE, "vDecay": 0, "vThMant": MAX_VTH, "refDelay": 1}
        fields["neuron"] |= {"gradedSpike": False}
        self._bias(op.name, op.bias, BIAS_EXPONENT, fields)
        self.variables.append(f"{op.name}.y")
        return shift + op.shift - LIF_INPUT_SHIFT, op.name

    def _sigma_delta(self, fields: Fields, shift: int) -> tuple[int, str]:
        if self._follows(Readout):
            total = self._take(Readout)
            if total.bias.any():
                raise CompileError(f"{total.name}: a sum of graded spikes has no bias in netx")
            fields["neuron"] = _sdnn(0) | {"sigma_output": True}
            self.variables.append(f"{total.name}.y")
            return shift + total.shift - self.shift, total.name
        self._take(Sigma)
        positive, delta = self._take(ReLU), self._take(Delta)
        threshold = _only(delta, "threshold", delta.threshold)
        if threshold % (1 << GRADED_SHIFT) or delta.shift != STATE_SHIFT:
            raise CompileError(f"{delta.name}: netx's threshold is a multiple of 4096, and its shift {STATE_SHIFT}")
        fields["neuron"] = _sdnn(threshold >> GRADED_SHIFT)
        self._bias(positive.name, positive.bias, GRADED_SHIFT, fields)
        self.variables.append(f"{delta.name}.delta")
        return shift - self.shift, delta.name

    def _bias(self, name: str, bias: NDArray[Any], exponent: int, fields: Fields) -> None:
        mantissa = _mantissa(name, bias, exponent)
        if mantissa.any():
            fields["bias"] = _per_channel(name, "bias", mantissa, self.shape).astype(np.int32)

    def _delay(self, op: Delays) -> None:
        """Add a delay to the layer before."""
        before = self.layers[-1]
        if before["type"] == b"input":
            raise CompileError(f"{op.name}: netx holds delays of layers, not of the input")
        steps = _per_channel(op.name, "steps", op.steps.astype(np.int64), self.shape)
        if int(steps.max()) > MAX_DELAY:
            raise CompileError(f"{op.name}: steps reach {int(steps.max())}, netx holds {MAX_DELAY}")
        before["delay"] = steps.astype(np.float32)
        if before["type"] == b"conv":
            self.notes.append(f"{op.name}: lava-dl's netx leaves out delays of convolutions; its slayer does not")
        elif "bias" in before:
            self.notes.append(f"{op.name}: lava-dl's netx delays a layer's input instead, so its biases come earlier")


def _weights(op: Any) -> NDArray[np.int64]:
    """Return weights in 64 bits; a pool has ones."""
    if isinstance(op, SumPool):
        return np.ones((op.input_shape[0], 1, *op.kernel), dtype=np.int64)
    found: NDArray[np.int64] = op.weights.astype(np.int64)
    return found


def _check_alike(op: Any, other: Any) -> None:
    """Refuse two synapses of one layer that see different windows."""
    names = ("input_shape", "stride", "padding", "dilation", "groups")
    if op.size != other.size or any(getattr(op, name, 0) != getattr(other, name, 0) for name in names):
        raise CompileError(f"{other.name}: netx holds one matrix or convolution between two layers")
    if _weights(op).shape != _weights(other).shape:
        raise CompileError(f"{other.name}: netx holds one kernel between two layers")


def _only(op: Operation, name: str, values: NDArray[Any]) -> int:
    """Return a value that all neurons share."""
    if np.unique(values).size > 1:
        raise CompileError(f"{op.name}: not for Lava's stock neurons ({name} differs between neurons)")
    return int(values[0])


def _per_channel(name: str, what: str, values: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return a value for each channel, or say that it differs within one."""
    channels = values.reshape(shape[0], -1)
    if (channels != channels[:, :1]).any():
        raise CompileError(f"{name}: {what} differs within a channel, netx holds one a channel")
    return channels[:, 0]


def _mantissa(name: str, bias: NDArray[Any], exponent: int) -> NDArray[np.int64]:
    """Return biases without the exponent that netx gives them."""
    mantissa, left = np.divmod(bias.astype(np.int64), 1 << exponent)
    if left.any() or int(np.abs(mantissa).max()) > MAX_MANTISSA:
        raise CompileError(f"{name}: a bias must be a multiple of {1 << exponent} with a mantissa of 13 bits in netx")
    return mantissa


def _sdnn(threshold: int) -> Fields:
    return {"type": b"SDNN", "vThMant": threshold, "activation": b"relu"}
