"""Layers of ``pnbx_snn`` and torch to operations: norms and scales fold into the neurons behind them.

One layer is ``linear -> BatchNorm -> LIF``. In evaluation mode its current is, per neuron, ``I = a * acc + c``, where
``acc`` is the exact integer sum of weights times events, ``a`` gathers every scale (of weights and input, BatchNorm's)
and ``c`` every offset. :mod:`neuromorphic.compiler.spiking` counts the membrane in units of ``a``, so ternary weights
stay ternary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import pnbx_snn
from neuromorphic.compiler.currents import Currents, Source, Synapses, synapses_of
from neuromorphic.compiler.draft import Draft, state_integers
from neuromorphic.compiler.spiking import MOST_ERROR, SHOWN_ERROR, Integrator, decay_error, spiking_population
from neuromorphic.compiler.weight_integers import Float64, Plane, integers_of, real_weights
from neuromorphic.compiler.windows import PLAIN, Layout, Window
from neuromorphic.errors import CompileError
from neuromorphic.integers.numbers import DECAY_ONE
from neuromorphic.ops import Delay, Input, LeakyReadout, Operation, Readout
from neuromorphic.wording import counted
from pnbx_snn.layers.bitconv import BitConv2d
from pnbx_snn.layers.stream_linear import StreamLinear
from pnbx_snn.layers.ternary_layer import TernaryLayer

Shape = tuple[int, int, int]
"""Channels, height and width of an image."""


@dataclass(frozen=True)
class Affine:
    """Integer weights and the real current they stand for: ``I = gain * (weights @ events) + offset``.

    ``weights`` are the sum of the planes, each times its unit. A negative ``gain`` turns a row around. Those of a
    convolution are used as ``layout`` says, and rows are channels.
    """

    planes: list[Plane]  # [out, in] or [O, C / groups, kh, kw]
    gain: Float64  # [out]
    offset: Float64  # [out]
    layout: Layout = PLAIN

    @property
    def size(self) -> int:
        """Number of neurons."""
        weights = self.planes[0].weights
        return len(weights) if self.layout == PLAIN else self.layout.size_of(weights)

    def each(self, rows: Float64) -> Float64:
        """Return a number of each row for each neuron."""
        return np.repeat(rows, self.size // len(rows))

    def whole_weights(self) -> tuple[Float64, Float64]:
        """Return the weights as whole numbers, ``[out, in]``, and the real current of one, 0 or more, ``[out]``."""
        unit = np.where(self.planes[-1].unit > 0, self.planes[-1].unit, 1.0)
        weights = real_weights(self.planes) / unit[:, None] * np.where(self.gain < 0, -1.0, 1.0)[:, None]
        return np.rint(weights), np.abs(self.gain) * unit

    def scaled(self, factor: Float64 | float) -> Affine:
        """Return the current times a factor, one or one per neuron, 0 or more."""
        return replace(self, gain=self.gain * factor, offset=self.offset * factor)


def to_numpy(tensor: torch.Tensor) -> Float64:
    """Return a tensor as float64."""
    return tensor.detach().cpu().to(torch.float64).numpy()


def ternary_weights(linear: TernaryLayer, where: str) -> tuple[NDArray[np.int8], float]:
    """Return ternary weights as trained, and the real value of one unit."""
    if not bool(torch.isfinite(linear.weight).all()):
        raise CompileError(f"{where}: weights hold NaN or infinity; the network was not trained to an end")
    return linear.ternary_weight().cpu().numpy().astype(np.int8), float(linear.gamma())


def quantised_weights(linear: nn.Module, where: str, *, own_units: bool) -> list[Plane]:
    """Return integer weights: ternary as trained, else 8 or 15 bits; ``own_units`` for each row, or one for all."""
    if isinstance(linear, StreamLinear):
        blocks = [ternary_weights(part, where) for part in linear.parts]  # type: ignore[arg-type]
        units = np.concatenate([np.full(len(weights), unit) for weights, unit in blocks])
        return [Plane(block_diagonal([weights for weights, _ in blocks]), units)]
    if isinstance(linear, TernaryLayer):
        weights, unit = ternary_weights(linear, where)
        return [Plane(weights, np.full(len(weights), unit))]
    if isinstance(linear, nn.Linear | nn.Conv2d):
        return integers_of([to_numpy(linear.weight)], [1.0], [where], own_units=own_units)[0]
    raise CompileError(
        f"{where}: {type(linear).__name__} cannot be compiled; a layer is BitLinear (ternary) or nn.Linear (8 bits), "
        "BitConv2d or nn.Conv2d"
    )


def block_diagonal(blocks: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
    """Return matrices along a diagonal, zeros elsewhere."""
    whole = np.zeros(np.sum([block.shape for block in blocks], axis=0), dtype=np.int8)
    row = column = 0
    for block in blocks:
        whole[row : row + len(block), column : column + block.shape[1]] = block
        row, column = row + len(block), column + block.shape[1]
    return whole


def layout_of(linear: nn.Module, where: str, image: Shape | None) -> Layout:
    """Return how the weights of a layer are used on images ``(C, H, W)``."""
    if not isinstance(linear, BitConv2d | nn.Conv2d):
        return PLAIN
    if image is None:
        raise CompileError(f"{where}: a convolution needs the shape of its image; give input_shape=(C, H, W)")
    if image[0] != linear.in_channels:
        raise CompileError(f"{where}: must read images of {counted(linear.in_channels, 'channel')}, got {image[0]}")
    if linear.padding_mode != "zeros":
        raise CompileError(f"{where}: padding_mode={linear.padding_mode!r} cannot be compiled; use 'zeros'")
    kernel, stride, dilation = (_sides(sides) for sides in (linear.kernel_size, linear.stride, linear.dilation))
    padding = linear.padding
    if isinstance(padding, str):
        spans = [d * (k - 1) * (padding == "same") for d, k in zip(dilation, kernel, strict=True)]
        if any(span % 2 for span in spans):
            raise CompileError(f"{where}: padding='same' pads its two sides unequally; use an odd kernel")
        padding = (spans[0] // 2, spans[1] // 2)
    window = Window(image[1:], kernel, stride, _sides(padding), dilation, linear.groups)
    if min(window.output) < 1:
        raise CompileError(f"{where}: a kernel of {list(kernel)} does not fit images of {list(image[1:])}")
    return Layout(conv=window)


def _sides(value: Any) -> tuple[int, int]:
    rows, columns = value
    return int(rows), int(columns)


def input_of(linear: nn.Module, where: str, scale: float | None = None, image: Shape | None = None) -> Input:
    """Return the input of a first layer: int8 where the layer or ``scale`` says the value of a unit, else spikes."""
    size = quantised_weights(linear, where, own_units=True)[0].weights.shape[1] if image is None else math.prod(image)
    if quantises_input(linear):
        scale = float(linear.input_scale)  # type: ignore[arg-type]
        if scale <= 0:
            raise CompileError(
                f"{where}: its input scale is not calibrated; call calibrate(x) with training inputs first"
            )
    return Input("input", size) if scale is None else Input("input", size, low=-128, high=127, scale=float(scale))


def quantises_input(linear: nn.Module) -> bool:
    """Return whether a layer rounds its input to int8, which only the first one may."""
    return isinstance(linear, TernaryLayer | StreamLinear) and linear.input_range == "int8"


def _bias(linear: nn.Module, size: int) -> Float64:
    bias = getattr(linear, "bias", None)
    return np.zeros(size) if bias is None else to_numpy(bias)


def fold_norm(norm: nn.Module | None, size: int, where: str) -> tuple[Float64, Float64]:
    """Return gain and offset of a norm in evaluation mode, ``[size]`` each."""
    if norm is None or isinstance(norm, nn.Identity):
        return np.ones(size), np.zeros(size)
    if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
        raise CompileError(
            f"{where}: {type(norm).__name__} needs a division at run time and cannot be folded; use nn.BatchNorm1d, or "
            "BatchNorm2d behind a convolution"
        )
    gain, offset = batch_norm(norm, where)
    return _finite(where, "BatchNorm", gain), _finite(where, "BatchNorm", offset)


def batch_norm(norm: Any, where: str) -> tuple[Float64, Float64]:
    """Return gain and offset of a BatchNorm in evaluation mode, ``[channels]`` each."""
    if norm.running_mean is None or norm.running_var is None:
        raise CompileError(f"{where}: its BatchNorm keeps no running statistics; train with track_running_stats=True")
    gain = 1.0 / np.sqrt(to_numpy(norm.running_var) + norm.eps)
    if norm.affine:
        gain = gain * to_numpy(norm.weight)
    return gain, -to_numpy(norm.running_mean) * gain + (to_numpy(norm.bias) if norm.affine else 0.0)


def fold_affine(linear: nn.Module, norm: nn.Module | None, where: str, image: Shape | None = None) -> Affine:
    """Return what a linear layer and its norm make of events, or a convolution of an image ``(C, H, W)`` of them."""
    planes = quantised_weights(linear, where, own_units=True)
    size = len(planes[0].weights)
    norm_gain, norm_offset = fold_norm(norm, size, where)
    offset = _finite(where, "bias", _bias(linear, size) * norm_gain + norm_offset)
    return Affine(planes, norm_gain, offset, layout_of(linear, where, image))


def _finite(where: str, what: str, values: Float64) -> Float64:
    if not np.isfinite(values).all():
        raise CompileError(f"{where}: {what} hold NaN or infinity; the network was not trained to an end")
    return values


def per_neuron(value: Any, size: int) -> Float64:
    """Return a number or tensor as ``[size]``."""
    return np.broadcast_to(to_numpy(torch.as_tensor(value)).reshape(-1), (size,)).copy()


def lif_parameters(neuron: pnbx_snn.LIF, size: int) -> tuple[Float64, Float64, Float64 | float]:
    """Return decay, threshold and gain of the input of a :class:`pnbx_snn.LIF`; Norse's step scales by 1 - beta."""
    beta = np.clip(per_neuron(neuron.beta, size), 0.0, 1.0)
    return beta, per_neuron(neuron.threshold, size), 1.0 - beta if neuron.primitive == "lif_box" else 1.0


def reset_of(neuron: pnbx_snn.LIF) -> str:
    """Return a program's name for the reset of a :class:`pnbx_snn.LIF`."""
    late = (neuron.primitive, neuron.reset, neuron.levels) == ("leaky", "subtract", 2)
    return "subtract_snntorch" if late else neuron.reset


def compile_neurons(
    affine: Affine,
    beta: Float64,
    theta: Float64,
    *,
    reset: str,
    name: str,
    source: Operation,
    draft: Draft,
    earlier: Sequence[Delay] = (),
    levels: int = 2,
) -> list[Operation]:
    """Return synapses and neurons for a current ``I = affine(events)``; the draft holds the operations before them.

    With ``earlier`` the columns of the weights are for the source, then for the source as each of these delays it.
    """
    error = decay_error(beta, draft.num_steps)
    if error.max() >= SHOWN_ERROR:
        worst = int(np.argmax(error))
        say = draft.notes.warn if error[worst] > MOST_ERROR else draft.notes.append
        say(
            f"{name}: the decay of neuron {worst}, {beta[worst]:.6g}, is {round(beta[worst] * DECAY_ONE)} of "
            f"{DECAY_ONE} in Q0.12: its membrane is up to {error[worst]:.2%} off within "
            f"{counted(draft.num_steps, 'step')}."
        )
    first = event_source(source, draft)
    synapses: list[Synapses] = []
    for place, each in enumerate([first, *(replace(first, name=delay.name) for delay in earlier)]):
        columns = slice(place * first.size, (place + 1) * first.size) if earlier else slice(None)
        planes = [replace(plane, weights=plane.weights[:, columns]) for plane in affine.planes]
        synapses += synapses_of(each, planes, affine.layout, affine.size)
    currents = Currents(name, tuple(synapses), own_units=True)
    membrane = Integrator(beta, affine.each(affine.gain), affine.each(affine.offset))
    return spiking_population(currents, membrane, theta, reset, draft, levels=levels)[0]


def event_source(op: Operation, draft: Draft | None = None) -> Source:
    """Return what synapses that read an input or events must know of them; without a draft, those are 0 or 1."""
    if isinstance(op, Input):
        return Source(op.name, op.size, "events", max(-op.low, op.high), op.scale)
    largest = 1 if draft is None else draft.event_range(op.name)[1]
    return Source(op.name, op.size, "events", largest, 1.0)


def add_readout(linear: nn.Module, name: str, draft: Draft, decay: Float64 | None = None) -> None:
    """Add synapses and running sum of a linear readout of the last operation; all its units are equal.

    With a ``decay`` per step of each class the sum is a leaky one.
    """
    planes = quantised_weights(linear, name, own_units=False)
    if not any(plane.unit.any() for plane in planes):
        raise CompileError(f"{name}: all weights are zero")
    currents = Currents(name, synapses_of(event_source(draft.ops[-1], draft), planes))
    add_running_sum(currents, _bias(linear, len(planes[0].weights)), draft, decay)


def add_running_sum(currents: Currents, offset: Float64, draft: Draft, decay: Float64 | None = None) -> float:
    """Add synapses and a running sum ``y = decay y + I + offset``, and return the real value of its unit.

    A ``decay`` of ``None`` is 1: nothing is forgotten.
    """
    unit = float(currents.unit[0])
    kind: type[Readout] = Readout
    leak: dict[str, Any] = {}
    if decay is not None:
        kind, leak = LeakyReadout, {"decay": np.rint(decay * DECAY_ONE).astype(np.int32)}

    def at_bits(bits: int) -> list[Operation] | None:
        bias = state_integers(offset / unit * 2.0**bits)
        if bias is None:
            return None
        made, outputs, shift = currents.ops(bits)
        return [*made, kind(currents.name, outputs, bias=bias, shift=shift, **leak)]

    found = draft.finest(at_bits)
    if found is None or found[2]:
        raise CompileError(
            f"{currents.name}: its sum over {counted(draft.num_steps, 'step')} leaves 24 bits; compile for "
            "fewer steps or use a "
            "smaller bias"
        )
    ops, bits, _ = found
    draft.add(ops)
    return unit / 2.0**bits
