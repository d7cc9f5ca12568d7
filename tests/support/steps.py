"""One step of one operation on arrays, for tests that look at the arithmetic alone."""

from types import SimpleNamespace

import numpy as np

from neuromorphic.integers.numbers import NumPy
from neuromorphic.ops import (
    LI,
    LIF,
    Dense,
    FastWeights,
    Gate,
    GatedState,
    HomeostaticLIF,
    Multiply,
    Readout,
    Resonator,
    Scale,
    Slots,
    Torus,
)
from neuromorphic.ops.slots import _places


def step(op, *inputs, **states):
    """Return what an operation gives for ``[B, N]`` inputs and states, and the namespace of states after the step."""
    xp, state = NumPy(), SimpleNamespace(**{name: np.array(value, dtype=np.int64) for name, value in states.items()})
    return op.placed(xp.constant).step(xp, state, *(np.asarray(x, dtype=np.int64) for x in inputs)), state


def lif_step(v, current, *, decay, threshold, bias, shift, reset):
    op = LIF("lif", ("x",), decay, np.reshape(threshold, -1), bias, shift, reset)
    spikes, state = step(op, current, v=v)
    return spikes, state.v


def dense(weights, events, shift):
    return step(Dense("fc", "x", weights, shift), events)[0]


def accumulate_step(y, current, *, bias, shift):
    return step(Readout("y", ("x",), bias, shift), current, y=y)[0]


def scale_values(x, factor, shift):
    return step(Scale("s", "x", factor, shift), x)[0]


def gate(x, offset):
    return step(Gate("g", "x", offset), x)[0]


def multiply(x, gates, shift):
    return step(Multiply("m", "x", "g", x.shape[1], shift), x, gates)[0]


def integrate_step(v, x, *, decay, bias, shift):
    return step(LI("li", ("x",), decay, bias, shift), x, v=v)[0]


def gated_step(s, x, gates):
    return step(GatedState("s", "x", "g", x.shape[1]), x, gates, s=s)[0]


def resonate_step(re, im, x, *, cosine, sine):
    op = Resonator("r", "x", np.zeros_like(cosine), np.zeros_like(sine))
    op.__dict__.update(cosine=cosine, sine=sine)  # also factors that would grow
    _, state = step(op, x, re=re, im=im)
    return state.re, state.im


def torus_sums(spikes, rows, columns, edges=None):
    return step(Torus("t", "x", rows, columns, edges), spikes)[0]


def fast_weights_step(F, previous, x, *, decay, rate_bits, frac, rule):
    rank = x.shape[1]
    y, state = step(
        FastWeights("f", "x", rank, decay, rate_bits, frac, rule), x, F=F.reshape(-1, rank**2), key=previous
    )
    return y, state.F.reshape(F.shape), state.key


def slots_step(E, events, *, keys, gain, decay_bits, rate_bits, shift, plastic):
    op = Slots("m", "x", keys, gain, shift, decay_bits, rate_bits, plastic=plastic)
    y, state = step(op, events, slots=E)
    return y, state.slots, state.winner


def fingerprint(values):
    """Return what ``Slots`` records of a fast half that holds these values."""
    values = np.asarray(values, dtype=np.int64)
    mask = (1 << 31) - 1
    return (values * _places(values.shape[1]) & mask).sum(axis=1, keepdims=True) & mask


def moved_threshold(threshold, offset, per_domain):
    size = np.shape(threshold)[-1]
    op = SimpleNamespace(per_domain=per_domain, num_domains=size // per_domain, size=size)
    return HomeostaticLIF.moved_threshold(
        op, NumPy(), np.asarray(threshold, dtype=np.int64), np.asarray(offset, np.int64)
    )


def controlled(control, count, **fields):
    """Return average, integral, error and offset ``[B, domains, 4]`` after an update of ``shots`` and other fields."""
    op = SimpleNamespace(per_domain=fields.pop("shots"), period=1, **fields)
    names = HomeostaticLIF.fields_of_control
    state = SimpleNamespace(count=np.asarray(count, dtype=np.int64))
    for i, name in enumerate(names):
        setattr(state, name, np.asarray(control[:, :, i], dtype=np.int64))
    after = HomeostaticLIF._controlled(op, NumPy(), state)
    return np.stack([after[name] for name in names], axis=2)
