"""The PNB-X network to a program: every pathway to operations of its own, one unit of current for all of them.

In evaluation mode a block's membrane obeys, per neuron, with ``I`` the sum of all pathway currents and the norm's gain
``a`` and offset ``c``,

    v = beta v + (1 - beta) (a I + c + bias) + m,    spike when v > theta

Currents are integers in units of ``2**-k``: one ``k`` for the block. A pathway's scales (of its readout and of what it
feeds) go into the one multiplication that its state's input or its read has anyway. The membrane is counted in units
that make the current's weight 1, ``V = v * 2**k / ((1 - beta) a)``, so norm, leak and glia's thresholds fold into
threshold and bias, and only messages ``m`` need a factor per neuron. ``k`` is the largest for which every accumulator
is proven to fit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import pnbx_snn
from neuromorphic.bounds import prove
from neuromorphic.compiler.currents import scale_op
from neuromorphic.compiler.folding import (
    compile_neurons,
    compile_readout,
    fold_affine,
    fold_norm,
    per_neuron,
    ternary_weights,
    to_numpy,
)
from neuromorphic.compiler.live_glia import homeostatic
from neuromorphic.compiler.notes import Notes
from neuromorphic.compiler.spiking import Ranges, check_thresholds
from neuromorphic.compiler.weight_integers import Float64
from neuromorphic.errors import BoundError, CompileError
from neuromorphic.ops import (
    LI,
    LIF,
    Delay,
    Dense,
    FastWeights,
    Gate,
    GatedState,
    Input,
    Multiply,
    Operation,
    Readout,
    Resonator,
    Slots,
    Torus,
)
from neuromorphic.ops.fast_weights import KEY_BITS
from neuromorphic.ops.gate import GATE_INPUT_BITS
from neuromorphic.ops.numbers import DECAY_ONE, STATE_MAX
from neuromorphic.ops.slots import MEMORY_BITS
from neuromorphic.program import Program
from pnbx_snn.layers import fast_weights as fast_weights_module
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.layers.hippocampus import Hippocampus
from pnbx_snn.layers.rnn import MinGRU, SpikingRNN
from pnbx_snn.layers.ssm import LTISSM, SelectiveSSM
from pnbx_snn.networks.block import BitBrain
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.neurons.glia import Loop

CURRENT_BITS = (12, 11, 10, 9, 8, 7, 6)
"""Fractional bits of a block's current that are tried; below six the rounding would be seen in the spikes."""
INTERNEURON_BITS = 8


class _Block:
    """The operations of one BitBrain block, for one ``k``."""

    def __init__(self, block: BitBrain, name: str, events: str, bits: int, glia_period: int | None) -> None:
        self.block, self.name, self.events, self.bits = block, name, events, bits
        self.glia_period = glia_period
        self.ops: list[Operation] = []
        self.size = block.d_hidden
        self.norm_gain, self.norm_offset = fold_norm(block.norm, self.size, name)
        # A norm with a negative gain turns a neuron's current around: what feeds it changes sign instead.
        self.sign = np.where(self.norm_gain < 0, -1, 1)
        beta = to_numpy(block.membrane.beta)
        self.beta = beta
        self.unit = 2.0**bits / ((1.0 - beta) * np.maximum(np.abs(self.norm_gain), 1e-30))  # of V per real v

    def add(self, op: Operation) -> str:
        self.ops.append(op)
        return op.name

    def dense(self, name: str, linear: BitLinear, source: str, *, shift: int = 0) -> tuple[str, float]:
        """Add a ternary product; return its name and what one unit of it is worth."""
        weights, gamma = ternary_weights(linear, f"{self.name}_{name}")
        return self.add(Dense(f"{self.name}_{name}", source, weights, shift)), gamma

    def current(self, name: str, linear: BitLinear, source: str) -> str:
        """Add the ternary product that makes a pathway's current, its source scaled to current units already."""
        weights, _ = ternary_weights(linear, f"{self.name}_{name}")
        return self.add(Dense(f"{self.name}_{name}", source, weights * self.sign.astype(np.int8)[:, None]))

    def scaled(self, name: str, source: str, factor: Float64 | float, size: int, *, shift: int = 0) -> str:
        return self.add(scale_op(f"{self.name}_{name}", source, factor, size, shift=shift))

    def gate(self, name: str, linear: BitLinear, offset: Float64 | None, *, factor: float = 1.0) -> str:
        """Add ``sigmoid(factor * linear(events) + offset)``."""
        size = linear.weight.shape[0]
        acc, gamma = self.dense(name, linear, self.events)
        x = self.scaled(f"{name}_scaled", acc, factor * gamma * 2.0**GATE_INPUT_BITS, size)
        shifted = np.zeros(size) if offset is None else np.rint(offset * 2.0**GATE_INPUT_BITS)
        return self.add(Gate(f"{self.name}_{name}_gate", x, shifted.astype(np.int32)))

    def state_bits(self, linear: BitLinear, factor: Float64 | float) -> int:
        """Return how many bits finer than a current a state may be counted without ever meeting its limit."""
        ternary, _ = ternary_weights(linear, self.name)
        peak = np.maximum((ternary > 0).sum(axis=1), (ternary < 0).sum(axis=1)) * np.abs(factor) * 2.0**self.bits
        return max(0, min(12, math.floor(math.log2(STATE_MAX / max(float(np.max(peak)), 1.0)))))

    def selective(self, ssm: SelectiveSSM) -> str:
        size = ssm.d_ssm
        _, gamma_c = ternary_weights(ssm.C, self.name)
        forget = self.gate("ssm_A", ssm.A, to_numpy(ssm.a0))
        acc, gamma_b = self.dense("ssm_B", ssm.B, self.events)
        fine = self.state_bits(ssm.B, gamma_b * gamma_c)
        x = self.scaled("ssm_B_scaled", acc, gamma_b * gamma_c * 2.0 ** (self.bits + fine), size)
        state = self.add(GatedState(f"{self.name}_ssm", x, forget, size))
        shown = self.gate("ssm_D", ssm.D, None)
        y = self.add(Multiply(f"{self.name}_ssm_shown", state, shown, size, shift=fine))
        return self.current("ssm_C", ssm.C, y)

    def linear_time_invariant(self, ssm: LTISSM) -> str:
        size = ssm.d_ssm
        _, gamma_c = ternary_weights(ssm.C, self.name)
        eigenvalue = ssm.eigenvalue().detach().cpu().to(torch.complex128).numpy()
        acc, gamma_b = self.dense("ssm_B", ssm.B, self.events)
        factor = (1.0 - np.abs(eigenvalue)) * gamma_b * gamma_c
        # The gain of a state is at most 1, so its input without that factor bounds it.
        fine = self.state_bits(ssm.B, gamma_b * gamma_c)
        real = np.clip(np.rint(eigenvalue.real * DECAY_ONE), -DECAY_ONE, DECAY_ONE).astype(np.int32)
        if ssm.kind == "real":
            real = np.minimum(real, DECAY_ONE - 1)  # a state that never forgets would only grow
            factor = (1.0 - real / DECAY_ONE) * gamma_b * gamma_c  # the gain stays 1 for the decay as rounded
            x = self.scaled("ssm_B_scaled", acc, factor * 2.0 ** (self.bits + fine), size)
            zero = np.zeros(size, dtype=np.int32)
            state = self.add(LI(f"{self.name}_ssm", (x,), real, zero))
        else:
            x = self.scaled("ssm_B_scaled", acc, factor * 2.0 ** (self.bits + fine), size)
            state = self.add(Resonator(f"{self.name}_ssm", x, *_rotation(eigenvalue)))
        return self.current("ssm_C", ssm.C, self.scaled("ssm_shown", state, 1.0, size, shift=fine))

    def min_gru(self, rnn: MinGRU) -> str:
        size = rnn.d_rnn
        _, gamma_v = ternary_weights(rnn.V, self.name)
        keep = self.gate("rnn_U", rnn.U, -to_numpy(rnn.c0), factor=-1.0)
        acc, gamma_w = self.dense("rnn_W", rnn.W, self.events)
        fine = self.state_bits(rnn.W, gamma_w * gamma_v)
        x = self.scaled("rnn_W_scaled", acc, gamma_w * gamma_v * 2.0 ** (self.bits + fine), size)
        state = self.add(GatedState(f"{self.name}_rnn", x, keep, size))
        return self.current("rnn_V", rnn.V, self.scaled("rnn_shown", state, 1.0, size, shift=fine))

    def spiking(self, rnn: SpikingRNN, last_spikes: str) -> str:
        """Interneurons in a loop with the block's own spikes; their current comes after the norm."""
        size = rnn.d_rnn
        driven, gamma_w = self.dense("rnn_W", rnn.W, self.events, shift=INTERNEURON_BITS)
        heard, gamma_u = self.dense("rnn_U", rnn.U, last_spikes)
        if gamma_w <= 0:
            raise CompileError(f"{self.name}_rnn_W: its weight scale is {gamma_w}; all weights are zero")
        heard = self.scaled("rnn_U_scaled", heard, gamma_u / gamma_w * 2.0**INTERNEURON_BITS, size)
        unit = 2.0**INTERNEURON_BITS / gamma_w
        lif: Any = rnn.lif
        threshold = np.floor(per_neuron(lif.threshold, size) * unit)
        if threshold.max() > STATE_MAX or threshold.min() < 0:
            raise CompileError(f"{self.name}_rnn: a threshold of {threshold.max():.3g} units does not fit {STATE_MAX}")
        beta = per_neuron(lif.beta, size).clip(0.0, 1.0)
        spikes = self.add(
            LIF(
                f"{self.name}_rnn",
                (driven, heard),
                decay=np.rint(beta * DECAY_ONE).astype(np.int32),
                threshold=threshold.astype(np.int32),
                bias=np.zeros(size, dtype=np.int32),
                shift=0,
                reset="subtract_snntorch" if lif.reset == "subtract" else lif.reset,
            )
        )
        acc, gamma_v = self.dense("rnn_V", rnn.V, spikes)
        return self.scaled("rnn_V_scaled", acc, gamma_v * (1.0 - self.beta) * self.unit, self.size)

    def fast_weights(self, layer: fast_weights_module.FastWeights) -> str:
        rank = layer.rank
        acc, gamma_p = self.dense("fast_P", layer.P, self.events)
        key = self.scaled("fast_P_scaled", acc, gamma_p * 2.0**KEY_BITS, rank)
        decay_bits, rate_bits = round(-math.log2(1.0 - layer.decay)), round(-math.log2(layer.rate))
        frac = 22 - max(0, decay_bits - rate_bits) if layer.rule == "hebbian" else 20
        read = self.add(
            FastWeights(
                f"{self.name}_fast",
                key,
                rank,
                decay=DECAY_ONE - (DECAY_ONE >> decay_bits),
                rate_bits=rate_bits,
                frac=max(0, frac),
                rule=layer.rule,
            )
        )
        _, gamma_q = ternary_weights(layer.Q, self.name)
        y = self.scaled("fast_shown", read, gamma_q * 2.0 ** (self.bits - KEY_BITS), rank)
        return self.current("fast_Q", layer.Q, y)

    def hippocampus(self, memory: Hippocampus) -> str:
        ternary, gamma = memory.rounded()
        fast = None
        if memory.scope == "persistent":
            fast = np.rint(np.clip(to_numpy(memory.fast), 0.0, 1.0) * 2.0**MEMORY_BITS).astype(np.int32)
        slots = self.add(
            Slots(
                f"{self.name}_memory",
                self.events,
                keys=ternary.detach().cpu().numpy().astype(np.int8),
                gain=round(float(gamma) * 2.0**self.bits),
                shift=MEMORY_BITS - self.bits,
                decay_bits=round(-math.log2(memory.decay)),
                rate_bits=round(-math.log2(memory.rate)),
                fast=fast,
                plastic=memory.scope == "sequence",
            )
        )
        return slots if (self.sign > 0).all() else self.scaled("memory_signed", slots, self.sign, self.size)

    def messages(self, last_spikes: str) -> str:
        torus = self.block.membrane.messages
        assert torus is not None
        edges = torus.ternary_edges()
        heard = self.add(
            Torus(
                f"{self.name}_neighbours",
                last_spikes,
                torus.rows,
                torus.columns,
                edges=None if edges is None else edges.detach().cpu().numpy().astype(np.int8),
            )
        )
        return self.scaled("messages", heard, 2.0 ** -(torus.kappa_shift + 3) * self.unit, self.size)

    def compile(self) -> list[Operation]:
        """Return all operations of the block, its neurons last."""
        block, sources = self.block, []
        threshold, bias = self.threshold_and_bias()
        if block.skip:
            sources.append(self.scaled("skip", self.events, self.sign * 2.0**self.bits, self.size))
        last_spikes = f"{self.name}_last"
        if isinstance(block.rnn, SpikingRNN) or block.membrane.messages is not None:
            self.add(Delay(last_spikes, self.name, self.size))
        for part in block.pathways.values():
            sources.append(self.pathway(part, last_spikes))
        if block.membrane.messages is not None:
            sources.append(self.messages(last_spikes))
        decay = np.rint(self.beta * DECAY_ONE).astype(np.int32)
        neurons = LIF(self.name, tuple(sources), decay, threshold, bias, shift=0, reset=block.membrane.reset)
        self.add(_alive(neurons, block.glia, "membrane", self.glia_period))
        return self.ops

    def threshold_and_bias(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Fold norm, leak, learned bias and glia's thresholds into the neurons' own parameters."""
        glia = None if self.glia_period is not None else self.block.threshold()
        theta = np.full(self.size, self.block.membrane.threshold) if glia is None else to_numpy(glia)
        bias = (self.norm_offset + to_numpy(self.block.membrane.bias)) * (1.0 - self.beta) * self.unit
        check_thresholds(self.name, theta)
        for what, values in (("threshold", theta * self.unit), ("bias", bias)):
            worst = int(np.argmax(np.abs(values)))
            if not abs(float(values[worst])) <= STATE_MAX:
                raise _TooFineError(
                    f"{self.name}: neuron {worst} needs a {what} of {values[worst]:.3g} units, a state holds "
                    f"{STATE_MAX}; its current is too small against its threshold (a norm's gain near zero?)"
                )
        return np.floor(theta * self.unit).astype(np.int32), np.rint(bias).astype(np.int32)

    def pathway(self, part: nn.Module, last_spikes: str) -> str:
        if isinstance(part, SelectiveSSM):
            return self.selective(part)
        if isinstance(part, LTISSM):
            return self.linear_time_invariant(part)
        if isinstance(part, MinGRU):
            return self.min_gru(part)
        if isinstance(part, SpikingRNN):
            return self.spiking(part, last_spikes)
        if isinstance(part, fast_weights_module.FastWeights):
            return self.fast_weights(part)
        if isinstance(part, Hippocampus):
            return self.hippocampus(part)
        raise CompileError(
            f"{self.name}: a pathway of type {type(part).__name__} cannot be compiled; those of pnbx_snn can"
        )


def _alive(neurons: LIF, glia: Any, loop: Loop, period: int | None) -> LIF:
    """Return neurons whose glia stay alive, if there are any and they shall."""
    return neurons if glia is None or period is None else homeostatic(neurons, glia, loop, period)


class _TooFineError(CompileError):
    """Fewer fractional bits may help."""


def _rotation(eigenvalue: NDArray[np.complex128]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Round a factor per step to Q0.12, toward zero where rounding to nearest would make it grow."""
    cosine, sine = np.rint(eigenvalue.real * DECAY_ONE), np.rint(eigenvalue.imag * DECAY_ONE)
    grows = cosine**2 + sine**2 > DECAY_ONE**2
    cosine = np.where(grows, np.trunc(eigenvalue.real * DECAY_ONE), cosine)
    sine = np.where(grows, np.trunc(eigenvalue.imag * DECAY_ONE), sine)
    return cosine.astype(np.int32), sine.astype(np.int32)


def _block(
    block: BitBrain, name: str, ops: list[Operation], num_steps: int, glia_period: int | None
) -> list[Operation]:
    """Return the operations of a block with the finest current that is proven to fit."""
    problem: Exception | None = None
    for bits in CURRENT_BITS:
        try:
            added = _Block(block, name, ops[-1].name, bits, glia_period).compile()
            prove(Program((*ops, *added), num_steps=num_steps))
        except (BoundError, _TooFineError) as error:
            problem = error
        else:
            return added
    raise CompileError(f"{name}: no number of fractional bits fits ({problem})")


def compile_pnbx(model: PNBX, *, num_steps: int | None = None, glia_period: int | None = None) -> Program:
    """Compile a PNB-X network.

    Parameters
    ----------
    model : PNBX
        Trained, its input scale calibrated.
    num_steps : int, optional
        Steps of a sample, for the bounds; ``None``: those for which the model shows a static input.
    glia_period : int, optional
        Glia stay alive, moving the thresholds of each sample after every so many of its steps; ``None``: thresholds
        are frozen as training left them.

    Returns
    -------
    Program
        Operations ``input``, ``encoder``, ``block1``, ..., ``readout``, and those of each pathway by name. With
        ``readout="step"`` also ``readout_step``, an ``LI`` without memory: the logits of each step, which ``readout``
        adds up.

    Raises
    ------
    CompileError
        When a part cannot be compiled; the message names it, the reason and what can be.

    Notes
    -----
    Softmax competition in a hippocampus becomes winner-take-all, which is what integers do; how much that changes is
    part of the measured agreement.
    """
    steps = model.num_steps if num_steps is None else num_steps
    encoder, linear = model.encoder, model.encoder.linear
    int8 = linear.input_range == "int8"
    scale = float(linear.input_scale) if int8 else 1.0
    if scale <= 0:
        raise CompileError("encoder: its input scale is not calibrated; call calibrate(x) with training inputs first")
    low, high = (-128, 127) if int8 else (0, 1)
    ranges = Ranges(Input("input", model.in_features, low=low, high=high, scale=scale), steps)
    notes = Notes()
    size = model.d_hidden
    affine = fold_affine(linear, encoder.norm, "encoder").scaled(1.0 - encoder.beta)
    glia: Any = model.blocks[0].glia
    frozen = glia is not None and glia_period is None
    theta = (
        to_numpy(glia.thresholds(encoder.threshold, "encoder")) if frozen else np.full(size, float(encoder.threshold))
    )
    *synapses, neurons = compile_neurons(
        affine,
        np.full(size, encoder.beta),
        theta,
        reset=encoder.reset,
        name="encoder",
        source=ranges.ops[0],
        ranges=ranges,
        notes=notes,
    )
    assert isinstance(neurons, LIF)
    ranges.add([*synapses, _alive(neurons, glia, "encoder", glia_period)])
    for number, block in enumerate(model.blocks, start=1):
        assert isinstance(block, BitBrain)
        ranges.ops += _block(block, f"block{number}", ranges.ops, steps, glia_period)
        ranges.know(f"block{number}", size, 0, 1)
    ranges.add(compile_readout(model.readout, "readout", ranges.ops[-1], ranges))
    if model.readout_kind == "step":
        total = ranges.ops[-1]
        assert isinstance(total, Readout)
        forgets = np.zeros(total.size, dtype=np.int32)
        ranges.add([LI("readout_step", total.sources, forgets, total.bias, total.shift)])
    versions = {"pnbx-snn": pnbx_snn.__version__, "torch": torch.__version__, "numpy": np.__version__}
    metadata: dict[str, Any] = {"source": "pnbx_snn.PNBX", "versions": versions}
    sentences = notes.give()
    metadata |= {"assumptions": sentences} if sentences else {}
    return Program(tuple(ranges.ops), num_steps=steps, metadata=metadata)
