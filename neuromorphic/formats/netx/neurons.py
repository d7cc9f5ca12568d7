"""The neurons of a netx layer: CUBA, sigma-delta, or none, as operations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.lava.mapping import LIF_INPUT_SHIFT
from neuromorphic.formats.netx.chain import Chain
from neuromorphic.formats.netx.fields import Group
from neuromorphic.formats.netx.synapses import Synapses
from neuromorphic.integers.numbers import DECAY_ONE, STATE_MAX
from neuromorphic.ops import LI, LIF, Delta, Readout, ReLU, Scale, Sigma

BIAS_EXPONENT = 6  # netx gives every bias this exponent
BIAS_LOW, BIAS_HIGH = -4096, 4095  # Loihi's 13 bits
MAX_CURRENT = 1 << 17  # of weights, before the shift by 6: above, Lava's synaptic current wraps
MAX_THRESHOLD = (1 << 18) - 1  # which slayer writes for neurons that never fire
CUBA = ("CUBA", "LOIHI")  # two names of one neuron
SDNN = "SDNN"
TRAINING_FIELDS = {"theta", "tauRho", "scaleRho"}  # of a surrogate gradient
EXPONENTS = {"wgtExp", "weight_exp"}
CUBA_FIELDS = (
    TRAINING_FIELDS | EXPONENTS | {"type", "iDecay", "vDecay", "vThMant", "refDelay", "gradedSpike", "messageBits"}
)
SDNN_FIELDS = EXPONENTS | {"type", "vThMant", "activation", "sigma_output", "messageBits"}
STATE_SHIFT, SPIKE_SHIFT = 6, 6
"""State and spikes of sigma-delta neurons count in 1 / 4096 and in 1 / 64: netx's ``state_exp`` and ``spike_exp``."""


def read_neurons(chain: Chain, group: Group, synapses: Synapses) -> None:
    """Append a layer's neurons."""
    if "neuron" not in group:
        _sum(chain, group, synapses)
        return
    neuron = group.group("neuron")
    kind = kind_of(neuron)
    if (kind == SDNN) != chain.graded:
        sent = "graded spikes" if chain.graded else "spikes of 0 or 1"
        raise neuron.refuse(f"is of type {kind!r}, and the layer before sends {sent}")
    if kind == SDNN:
        _sigma_delta(chain, group, neuron, synapses)
    else:
        _cuba(chain, group, neuron, synapses)
    chain.shape = synapses.shape


def kind_of(neuron: Group) -> str:
    """Return the type of neurons that are read."""
    kind = neuron.text("type")
    if kind not in (*CUBA, SDNN):
        raise neuron.refuse(f"is of type {kind!r}; {', '.join(CUBA)} and {SDNN} are read")
    return kind


def bias_of(group: Group, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the biases of a layer, for every unit."""
    if "bias" not in group:
        return np.zeros(int(np.prod(shape)), dtype=np.int64)
    return group.per_channel("bias", BIAS_LOW, BIAS_HIGH, shape)


def _sum(chain: Chain, group: Group, synapses: Synapses) -> None:
    """Append the sum of a last layer, which lava-dl builds as neurons that lose nothing and never fire."""
    if bias_of(group, synapses.shape).any():
        raise group.refuse("only sums, and has a bias; lava-dl does not add it up")
    group.only("delay", 0, "a layer that only sums is the last")
    zeros = np.zeros(int(np.prod(synapses.shape)), dtype=np.int32)
    shift = 0 if chain.graded else LIF_INPUT_SHIFT
    chain.add(Readout(f"sum{chain.number}", synapses.names, zeros, shift=shift))


def _cuba(chain: Chain, group: Group, neuron: Group, synapses: Synapses) -> None:
    neuron.check_known(CUBA_FIELDS)
    shape, number = synapses.shape, chain.number
    bias, name = bias_of(group, shape), f"lif{number}"
    if bias.any() and not chain.layer_steps and any(isinstance(op, LIF) for op in chain.ops):
        chain.late_biases.append(name)
    shift, bias_shift = _exponents(chain, neuron, name)
    current_decay, decay, threshold = cuba_parameters(neuron, shape)
    lowest = int((DECAY_ONE - current_decay).min())
    most = synapses.most * DECAY_ONE // max(lowest, 1) if lowest < DECAY_ONE else synapses.most
    if most > MAX_CURRENT:
        chain.notes.append(f"{name}: its input can reach {most}; beyond {MAX_CURRENT} Lava's current wraps, here not")
    sources = synapses.names
    if current_decay.any():
        zeros = np.zeros(decay.size, dtype=np.int32)
        current = chain.add(LI(f"current{number}", sources, current_decay, zeros, shift=shift))
        sources, shift = (current.name,), 0
    chain.add(LIF(name, sources, decay, threshold, (bias << bias_shift).astype(np.int32), shift=shift))
    chain.delay(group, shape)


def cuba_parameters(neuron: Group, shape: tuple[int, ...]) -> tuple[NDArray[np.int32], ...]:
    """Return what of a current and of a membrane is left after a step, and the threshold, for every unit."""
    current, membrane = (
        (DECAY_ONE - neuron.per_channel(name, 0, DECAY_ONE, shape)).astype(np.int32) for name in ("iDecay", "vDecay")
    )
    threshold = neuron.per_channel("vThMant", 0, MAX_THRESHOLD, shape) << LIF_INPUT_SHIFT
    neuron.only("refDelay", 1, "neurons that may fire again in the next step")
    neuron.only("gradedSpike", 0, "spikes that are 0 or 1")
    neuron.only("messageBits", 0, "spikes that are 0 or 1")
    return current, membrane, np.minimum(threshold, STATE_MAX).astype(np.int32)  # no membrane exceeds it


def _exponents(chain: Chain, neuron: Group, name: str) -> tuple[int, int]:
    """Return the left shifts of a layer's input and of its biases.

    ``wgtExp`` scales weights by a power of two as on Loihi. ``weight_exp`` is the scale of a normalisation in slayer,
    which divides input and biases by its power of two. lava-dl reads neither.
    """
    weights, norm = neuron.integer("wgtExp", 0, 7, default=0), neuron.integer("weight_exp", -6, 6, default=0)
    if weights or norm:
        chain.notes.append(f"{name}: lava-dl leaves out its exponent (wgtExp {weights}, weight_exp {norm}), here not")
    return LIF_INPUT_SHIFT + weights - norm, BIAS_EXPONENT - norm


def _sigma_delta(chain: Chain, group: Group, neuron: Group, synapses: Synapses) -> None:
    threshold, is_sum = sigma_delta_parameters(neuron, synapses.shape)
    if is_sum:
        _sum(chain, group, synapses)
        return
    number, bias = chain.number, bias_of(group, synapses.shape) << (STATE_SHIFT + SPIKE_SHIFT)
    total = chain.add(Sigma(f"sigma{number}", synapses.names, int(bias.size)))
    positive = chain.add(ReLU(f"relu{number}", total.name, bias.astype(np.int32)))
    wide = (threshold << (STATE_SHIFT + SPIKE_SHIFT)).astype(np.int32)
    chain.add(Delta(f"delta{number}", positive.name, wide, shift=STATE_SHIFT))
    chain.delay(group, synapses.shape)
    chain.shift = 0


def sigma_delta_parameters(neuron: Group, shape: tuple[int, ...]) -> tuple[NDArray[np.int64], bool]:
    """Return the threshold for every unit, and whether the layer only sums."""
    neuron.check_known(SDNN_FIELDS)
    for name in EXPONENTS:
        neuron.only(name, 0, "lava-dl leaves out the scale of a normalisation")
    if "activation" in neuron and neuron.text("activation") != "relu":
        raise neuron.refuse(f"activation is {neuron.text('activation')!r}; lava-dl always takes relu")
    is_sum = bool(neuron.integer("sigma_output", 0, 1, default=0))
    return neuron.per_channel("vThMant", 0, MAX_THRESHOLD, shape), is_sum


def read_encoder(chain: Chain, group: Group, shape: tuple[int, ...]) -> None:
    """Append an input layer with neurons: values become spikes, by a bias of CUBA neurons, or by their changes."""
    neuron = group.group("neuron")
    graded = kind_of(neuron) == SDNN
    weight = group.integer("weight", 1, 255, default=64 if graded else 1)
    bias = group.integer("bias", BIAS_LOW, BIAS_HIGH, default=0)
    low, high = (-256, 255) if graded else (BIAS_LOW, BIAS_HIGH)
    chain.begin(group, shape, low=low, high=high, scale=1 / weight)
    chain.reserve(group, shape)
    added = f", to which {bias} is added" if bias else ""
    chain.notes.append(
        f"input: a real input x stands for the integer rint({weight} * x){added}; lava-dl leaves this to its user, "
        f"whose tutorials round toward zero{' after the addition' if bias else ''}"
    )
    if graded:
        if bias:
            raise group.refuse(f"bias is {bias}; only 0 is read here: add it to the inputs")
        change, is_sum = sigma_delta_parameters(neuron, shape)
        if is_sum:
            raise neuron.refuse("has sigma_output in an input layer")
        chain.add(Delta("delta0", "input", change.astype(np.int32)))
        chain.graded, chain.shift = True, SPIKE_SHIFT
        return
    neuron.check_known(CUBA_FIELDS)
    for name in EXPONENTS:
        neuron.only(name, 0, "an input layer has no synapses")
    _, decay, threshold = cuba_parameters(neuron, shape)
    ones = np.ones(decay.size, dtype=np.int32)
    chain.add(Scale("pixels", "input", ones))
    chain.add(LIF("lif0", ("pixels",), decay, threshold, (bias << BIAS_EXPONENT) * ones, shift=LIF_INPUT_SHIFT))
