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
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from neuromorphic import ops
from neuromorphic.bounds import prove
from neuromorphic.compiler import folding
from neuromorphic.compiler.currents import scale_op
from neuromorphic.compiler.draft import Draft
from neuromorphic.compiler.folding import ternary_weights, to_numpy
from neuromorphic.compiler.glia import block_thresholds, encoder_thresholds, with_live_glia
from neuromorphic.compiler.layers import origin_of
from neuromorphic.compiler.spiking import check_thresholds
from neuromorphic.compiler.weight_integers import Float64
from neuromorphic.errors import BoundError, CompileError
from neuromorphic.integers.numbers import DECAY_ONE, STATE_MAX
from neuromorphic.ops.fast_weights import KEY_BITS
from neuromorphic.ops.gate import GATE_INPUT_BITS
from neuromorphic.ops.slots import MEMORY_BITS
from neuromorphic.program import Program
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.layers.fast_weights import FastWeights
from pnbx_snn.layers.hippocampus import Hippocampus
from pnbx_snn.layers.rnn import MinGRU, SpikingRNN
from pnbx_snn.layers.ssm import LTISSM, SelectiveSSM
from pnbx_snn.networks.block import BitBrain
from pnbx_snn.networks.pnbx import PNBX

CURRENT_BITS = (12, 11, 10, 9, 8, 7, 6)
"""Fractional bits of a block's current that are tried; below six the rounding would be seen in the spikes."""
INTERNEURON_BITS = 8


class _Block:
    """The operations of one BitBrain block, for one ``k``."""

    def __init__(
        self, block: BitBrain, name: str, events: str, bits: int, glia_period: int | None, largest: int = 1
    ) -> None:
        self.block, self.name, self.events, self.bits, self.largest = block, name, events, bits, largest
        self.last_spikes, self.glia_period = f"{name}_last", glia_period
        self.ops: list[ops.Operation] = []
        self.size = block.d_hidden
        self.norm_gain, self.norm_offset = folding.fold_norm(block.norm, self.size, name)
        # A norm with a negative gain turns a neuron's current around: what feeds it changes sign instead.
        self.sign = np.where(self.norm_gain < 0, -1, 1)
        self.beta = to_numpy(block.membrane.beta)
        self.unit = 2.0**bits / ((1.0 - self.beta) * np.maximum(np.abs(self.norm_gain), 1e-30))  # of V per real v

    def add(self, op: ops.Operation) -> str:
        self.ops.append(op)
        return op.name

    def dense(self, name: str, linear: BitLinear, source: str, *, shift: int = 0) -> tuple[str, float]:
        """Add a ternary product; return its name and the real value of one unit of it."""
        weights, gamma = ternary_weights(linear, f"{self.name}_{name}")
        return self.add(ops.Dense(f"{self.name}_{name}", source, weights, shift)), gamma

    def current(self, name: str, linear: BitLinear, source: str) -> str:
        """Add the ternary product that makes a pathway's current, its source scaled to current units already."""
        weights, _ = ternary_weights(linear, f"{self.name}_{name}")
        return self.add(ops.Dense(f"{self.name}_{name}", source, weights * self.sign.astype(np.int8)[:, None]))

    def scaled(self, name: str, source: str, factor: Float64 | float, size: int, *, shift: int = 0) -> str:
        return self.add(scale_op(f"{self.name}_{name}", source, factor, size, shift=shift))

    def gate(self, name: str, linear: BitLinear, offset: Float64 | None, *, factor: float = 1.0) -> str:
        """Add ``sigmoid(factor * linear(events) + offset)``."""
        size = linear.weight.shape[0]
        acc, gamma = self.dense(name, linear, self.events)
        x = self.scaled(f"{name}_scaled", acc, factor * gamma * 2.0**GATE_INPUT_BITS, size)
        shifted = np.zeros(size) if offset is None else np.rint(offset * 2.0**GATE_INPUT_BITS)
        return self.add(ops.Gate(f"{self.name}_{name}_gate", x, shifted.astype(np.int32)))

    def state_bits(self, linear: BitLinear, factor: Float64 | float) -> int:
        """Return how many bits finer than a current a state may be counted without ever meeting its limit."""
        ternary, _ = ternary_weights(linear, self.name)
        peak = np.maximum((ternary > 0).sum(axis=1), (ternary < 0).sum(axis=1)) * np.abs(factor) * 2.0**self.bits
        peak = peak * self.largest
        return max(0, min(12, math.floor(math.log2(STATE_MAX / max(float(np.max(peak)), 1.0)))))

    def gated_state(self, name: str, write: BitLinear, read: BitLinear, gate: str, letter: str) -> tuple[str, int]:
        """Add a state behind a gate; return its name and how many bits finer than a current it counts."""
        _, gamma_read = ternary_weights(read, self.name)
        acc, gamma = self.dense(f"{name}_{letter}", write, self.events)
        fine = self.state_bits(write, gamma * gamma_read)
        size = write.weight.shape[0]
        x = self.scaled(f"{name}_{letter}_scaled", acc, gamma * gamma_read * 2.0 ** (self.bits + fine), size)
        return self.add(ops.GatedState(f"{self.name}_{name}", x, gate, size)), fine

    def selective(self, ssm: SelectiveSSM) -> str:
        """Add a state-space model with gates that depend on the input; return its current."""
        forget = self.gate("ssm_A", ssm.A, to_numpy(ssm.a0))
        state, fine = self.gated_state("ssm", ssm.B, ssm.C, forget, "B")
        shown = self.gate("ssm_D", ssm.D, None)
        y = self.add(ops.Multiply(f"{self.name}_ssm_shown", state, shown, ssm.d_ssm, shift=fine))
        return self.current("ssm_C", ssm.C, y)

    def linear_time_invariant(self, ssm: LTISSM) -> str:
        """Add a state-space model with fixed decays or rotations; return its current."""
        size = ssm.d_ssm
        _, gamma_c = ternary_weights(ssm.C, self.name)
        eigenvalue = ssm.eigenvalue().detach().cpu().to(torch.complex128).numpy()
        acc, gamma_b = self.dense("ssm_B", ssm.B, self.events)
        # The gain of a state is at most 1, so its input without that factor bounds it.
        fine = self.state_bits(ssm.B, gamma_b * gamma_c)
        keep = np.abs(eigenvalue)
        if ssm.kind == "real":
            decay = np.clip(np.rint(eigenvalue.real * DECAY_ONE), -DECAY_ONE, DECAY_ONE).astype(np.int32)
            decay = np.minimum(decay, DECAY_ONE - 1)  # a state that never forgets would only grow
            keep = decay / DECAY_ONE  # the gain stays 1 for the decay as rounded
        x = self.scaled("ssm_B_scaled", acc, (1.0 - keep) * gamma_b * gamma_c * 2.0 ** (self.bits + fine), size)
        if ssm.kind == "real":
            state = self.add(ops.LI(f"{self.name}_ssm", (x,), decay, np.zeros(size, dtype=np.int32)))
        else:
            state = self.add(ops.Resonator(f"{self.name}_ssm", x, *_rotation(eigenvalue)))
        return self.current("ssm_C", ssm.C, self.scaled("ssm_shown", state, 1.0, size, shift=fine))

    def min_gru(self, rnn: MinGRU) -> str:
        """Add a minimal gated recurrent unit; return its current."""
        keep = self.gate("rnn_U", rnn.U, -to_numpy(rnn.c0), factor=-1.0)
        state, fine = self.gated_state("rnn", rnn.W, rnn.V, keep, "W")
        return self.current("rnn_V", rnn.V, self.scaled("rnn_shown", state, 1.0, rnn.d_rnn, shift=fine))

    def spiking(self, rnn: SpikingRNN) -> str:
        """Add interneurons in a loop with the block's own spikes; their current comes after the norm."""
        size = rnn.d_rnn
        driven, gamma_w = self.dense("rnn_W", rnn.W, self.events, shift=INTERNEURON_BITS)
        heard, gamma_u = self.dense("rnn_U", rnn.U, self.last_spikes)
        if gamma_w <= 0:
            raise CompileError(f"{self.name}_rnn_W: its weight scale is {gamma_w}; all weights are zero")
        heard = self.scaled("rnn_U_scaled", heard, gamma_u / gamma_w * 2.0**INTERNEURON_BITS, size)
        unit = 2.0**INTERNEURON_BITS / gamma_w
        beta, theta, _ = folding.lif_parameters(rnn.lif, size)
        threshold = np.floor(theta * unit)
        if threshold.max() > STATE_MAX or threshold.min() < 0:
            raise CompileError(f"{self.name}_rnn: a threshold of {threshold.max():.3g} units does not fit {STATE_MAX}")
        decay, no_bias = np.rint(beta * DECAY_ONE).astype(np.int32), np.zeros(size, dtype=np.int32)
        name, reset = f"{self.name}_rnn", folding.reset_of(rnn.lif)
        spikes = self.add(ops.LIF(name, (driven, heard), decay, threshold.astype(np.int32), no_bias, 0, reset))
        acc, gamma_v = self.dense("rnn_V", rnn.V, spikes)
        return self.scaled("rnn_V_scaled", acc, gamma_v * (1.0 - self.beta) * self.unit, self.size)

    def fast_weights(self, layer: FastWeights) -> str:
        """Add weights that change while they run; return their current."""
        rank = layer.rank
        acc, gamma_p = self.dense("fast_P", layer.P, self.events)
        key = self.scaled("fast_P_scaled", acc, gamma_p * 2.0**KEY_BITS, rank)
        decay_bits, rate_bits = round(-math.log2(1.0 - layer.decay)), round(-math.log2(layer.rate))
        frac = max(0, 22 - max(0, decay_bits - rate_bits)) if layer.rule == "hebbian" else 20
        decay = DECAY_ONE - (DECAY_ONE >> decay_bits)
        integers = {"decay": decay, "rate_bits": rate_bits, "frac": frac}
        read = self.add(ops.FastWeights(f"{self.name}_fast", key, rank, **integers, rule=layer.rule))
        _, gamma_q = ternary_weights(layer.Q, self.name)
        y = self.scaled("fast_shown", read, gamma_q * 2.0 ** (self.bits - KEY_BITS), rank)
        return self.current("fast_Q", layer.Q, y)

    def hippocampus(self, memory: Hippocampus) -> str:
        """Add a memory that is searched and written; return its current."""
        ternary, gamma = memory.rounded()
        options: dict[str, Any] = {"plastic": memory.scope == "sequence"}
        if memory.scope == "persistent":
            fast = np.rint(np.clip(to_numpy(memory.fast), 0.0, 1.0) * 2.0**MEMORY_BITS)
            options["fast"] = fast.astype(np.int32)
        options["keys"] = ternary.detach().cpu().numpy().astype(np.int8)
        options |= {"gain": round(float(gamma) * 2.0**self.bits), "shift": MEMORY_BITS - self.bits}
        options["decay_bits"] = round(-math.log2(memory.decay))
        options["rate_bits"] = round(-math.log2(memory.rate))
        slots = self.add(ops.Slots(f"{self.name}_memory", self.events, **options))
        return slots if (self.sign > 0).all() else self.scaled("memory_signed", slots, self.sign, self.size)

    def messages(self) -> str:
        """Add what neurons hear of their neighbours' last spikes."""
        torus = self.block.membrane.messages
        assert torus is not None
        edges = torus.ternary_edges()
        learned = None if edges is None else edges.detach().cpu().numpy().astype(np.int8)
        name = f"{self.name}_neighbours"
        heard = self.add(ops.Torus(name, self.last_spikes, torus.rows, torus.columns, edges=learned))
        return self.scaled("messages", heard, 2.0 ** -(torus.kappa_shift + 3) * self.unit, self.size)

    def compile(self) -> list[ops.Operation]:
        """Return all operations of the block, its neurons last."""
        block, sources = self.block, []
        threshold, bias = self.threshold_and_bias()
        if block.skip:
            sources.append(self.scaled("skip", self.events, self.sign * 2.0**self.bits, self.size))
        if isinstance(block.rnn, SpikingRNN) or block.membrane.messages is not None:
            self.add(ops.Delay(self.last_spikes, self.name, self.size))
        sources += [self.pathway(part) for part in block.pathways.values()]
        if block.membrane.messages is not None:
            sources.append(self.messages())
        decay = np.rint(self.beta * DECAY_ONE).astype(np.int32)
        fields: dict[str, Any] = {"shift": 0, "reset": block.membrane.reset}
        if block.membrane.levels > 2:
            graded = ops.GradedLIF(
                self.name, tuple(sources), decay, threshold, bias, **fields, levels=block.membrane.levels
            )
            neurons: ops.LIF = graded
        else:
            neurons = ops.LIF(self.name, tuple(sources), decay, threshold, bias, **fields)
        self.add(with_live_glia(neurons, block.glia, "membrane", self.glia_period))
        return self.ops

    def threshold_and_bias(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Fold norm, leak, learned bias and glia's thresholds into the neurons' own parameters."""
        theta = block_thresholds(self.block, frozen=self.glia_period is None)
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

    def pathway(self, part: nn.Module) -> str:
        """Add the operations of a pathway; return the one of its current."""
        compilers: tuple[tuple[type[nn.Module], Callable[[Any], str]], ...] = (
            (SelectiveSSM, self.selective),
            (LTISSM, self.linear_time_invariant),
            (MinGRU, self.min_gru),
            (SpikingRNN, self.spiking),
            (FastWeights, self.fast_weights),
            (Hippocampus, self.hippocampus),
        )
        for kind, compiler in compilers:
            if isinstance(part, kind):
                return compiler(part)
        raise CompileError(
            f"{self.name}: a pathway of type {type(part).__name__} cannot be compiled; those of pnbx_snn can"
        )


class _TooFineError(CompileError):
    """Fewer fractional bits may help."""


def _rotation(eigenvalue: NDArray[np.complex128]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Round a factor per step to Q0.12, toward zero where rounding to nearest would make it grow."""
    cosine, sine = np.rint(eigenvalue.real * DECAY_ONE), np.rint(eigenvalue.imag * DECAY_ONE)
    grows = cosine**2 + sine**2 > DECAY_ONE**2
    cosine = np.where(grows, np.trunc(eigenvalue.real * DECAY_ONE), cosine)
    sine = np.where(grows, np.trunc(eigenvalue.imag * DECAY_ONE), sine)
    return cosine.astype(np.int32), sine.astype(np.int32)


def _add_block(draft: Draft, block: BitBrain, name: str, glia_period: int | None) -> None:
    """Add the operations of a block with the finest current that is proven to fit."""
    problem: Exception | None = None
    events = draft.ops[-1].name
    for bits in CURRENT_BITS:
        try:
            added = _Block(block, name, events, bits, glia_period, draft.event_range(events)[1]).compile()
            prove(Program((*draft.ops, *added), num_steps=draft.num_steps))
        except (BoundError, _TooFineError) as error:
            problem = error
        else:
            draft.ops += added
            draft.declare_spikes(name, block.d_hidden, added[-1].event_range[1])
            return
    raise CompileError(f"{name}: no number of fractional bits fits ({problem})")


def compile_pnbx(model: PNBX, num_steps: int, glia_period: int | None) -> Program:
    """Compile a PNB-X network; see :func:`neuromorphic.compiler.compile_model`."""
    encoder = model.encoder
    entry = replace(folding.input_of(encoder.linear, "encoder"), size=model.in_features)
    draft = Draft(entry, num_steps)
    if model.delays is not None:
        steps = model.delays.steps.cpu().numpy().astype(np.int32)
        draft.add([ops.Delays(f"{entry.name}_late", entry.name, steps, low=entry.low, high=entry.high)])
        entry = replace(entry, name=f"{entry.name}_late")  # what follows reads these events
    back = range(1, 1 if model.window is None else model.window.num_steps)
    earlier = [ops.Delay(f"{entry.name}_{steps}_before", entry.name, entry.size, steps) for steps in back]
    draft.add(earlier)
    affine = folding.fold_affine(encoder.linear, encoder.norm, "encoder").scaled(1.0 - encoder.beta)
    glia: Any = model.blocks[0].glia
    theta = encoder_thresholds(model, frozen=glia_period is None)
    beta = np.full(model.d_hidden, encoder.beta)
    *synapses, neurons = folding.compile_neurons(
        affine,
        beta,
        theta,
        reset=encoder.reset,
        name="encoder",
        source=entry,
        draft=draft,
        earlier=earlier,
        levels=encoder.levels,
    )
    assert isinstance(neurons, ops.LIF)
    draft.add([*synapses, with_live_glia(neurons, glia, "encoder", glia_period)])
    for number, block in enumerate(model.blocks, start=1):
        assert isinstance(block, BitBrain)
        _add_block(draft, block, f"block{number}", glia_period)
    forgets = to_numpy(model.readout.decay) if model.readout.adds_logits else None
    folding.add_readout(model.readout, "readout", draft, forgets)
    if model.readout.kind == "step":
        total = draft.ops[-1]
        assert isinstance(total, ops.Readout)
        none = np.zeros(total.size, dtype=np.int32)
        draft.add([ops.LI("readout_step", total.sources, none, total.bias, total.shift)])
    streams = {} if model.streams is None else {"streams": model.streams.layout()}
    return draft.program(origin_of("pnbx_snn.PNBX") | streams)
