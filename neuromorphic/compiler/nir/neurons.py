"""NIR's neurons as discrete-time parameters: forward Euler with a step of ``dt``.

With ``a = dt / tau`` and an input current ``I``, per neuron,

    LIF        v = (1 - a) v + a (v_leak + r I),     spike when v > v_threshold, then the reset
    LI         the same without spikes
    IF, I      v = v + dt r I, with and without spikes
    Threshold  spike when I > threshold
    CubaLIF    i = (1 - dt / tau_syn) i + (dt / tau_syn) w_in I, then LIF on the new i
    CubaLI     i the same, then LI on the new i

so ``beta = 1 - a``, ``gain = a r`` and ``offset = a v_leak``.

A neuron whose ``metadata`` hold ``adaptation_tau`` (seconds) and ``adaptation_jump`` has a threshold that rises by the
jump with every spike and decays back. NIR has no field for it, nor for ``input_step = "previous"``: the membrane sees
the current of the step before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from neuromorphic.compiler.nir.nodes import Node, Shape, numbers, rounded_mantissa, text_of
from neuromorphic.compiler.spiking import MOST_ERROR, SHOWN_ERROR, Adaptation, Integrator, decay_error
from neuromorphic.compiler.weight_integers import Float64
from neuromorphic.formats.nir import nir_package
from neuromorphic.integers.numbers import DECAY_ONE
from neuromorphic.ops.adaptive_lif import INPUT_STEPS
from neuromorphic.wording import counted

WITH_INPUT = "zero_with_input"
"""Metadata and reset of snnTorch's neurons but ``Leaky`` with a late reset to zero, which also loses the input."""
RESET_METADATA = {
    "zero": ("zero", False, "leaky"),
    "subtract": ("subtract", False, "lif_box"),
    "none": ("none", False, "leaky"),
    "subtract_snntorch": ("subtract", False, "leaky"),
    "zero_delayed": ("zero", True, "leaky"),
    "subtract_delayed": ("subtract", True, "leaky"),
    WITH_INPUT: (WITH_INPUT, True, "leaky"),
}
"""Of a program's resets: ``reset_mechanism``, ``reset_delay`` and ``primitive``."""
SPIKING = ("Threshold", "IF", "LIF", "CubaLIF")
SNAP_BITS = 12
SNAP = 5e-7
"""NIR's parameters are float32: a gain or decay this near to a number of 12 bits, relative, is taken as that number."""
NO_LEAK = 2.0**-30
"""A ``dt / tau`` below it is no leak: no sample is long enough to show one."""
SMALLEST_LEAK = 2.0**-45
LEAKY = {"LI": ("tau",), "LIF": ("tau",), "CubaLI": ("tau_mem", "tau_syn"), "CubaLIF": ("tau_mem", "tau_syn")}
"""Time constants of a node."""


@dataclass(frozen=True)
class Population:
    """Neurons of one node: the synaptic current or ``None``, the membrane, and its threshold or ``None``."""

    synaptic: Integrator | None
    membrane: Integrator
    theta: Float64 | None
    reset: str
    adaptation: Adaptation | None = None


def lif_node(
    beta: Float64, theta: Float64, dt: float, metadata: dict[str, Any], *, gain: Any = 1.0, offset: Any = 0.0
) -> Any:
    """Return a NIR neuron with ``v = beta v + gain I + offset`` a step: an ``IF`` where none has a leak."""
    nir = nir_package()
    gain, offset = np.broadcast_to(gain, beta.shape), np.broadcast_to(offset, beta.shape)
    zero = np.zeros(beta.shape)
    if (beta == 1.0).all() and not offset.any():
        return nir.IF(r=gain / dt, v_threshold=theta, v_reset=zero, metadata=metadata)
    leak = leak_of(beta)
    shared = {"v_threshold": theta, "v_reset": zero, "metadata": metadata}
    return nir.LIF(tau=dt / leak, r=gain / leak, v_leak=offset / leak, **shared)


def leak_of(beta: Float64) -> Float64:
    """Return ``1 - beta``; 2**-45 where a neuron among leaky ones has no leak: NIR has no infinite time constant."""
    return np.maximum(1.0 - beta, SMALLEST_LEAK)


def reset_metadata(mechanism: str, primitive: str, *, late: bool = False) -> dict[str, Any]:
    """Return the metadata that name a reset, whether it comes a step late, and whose step it is."""
    return {"reset_mechanism": mechanism, "reset_delay": late, "primitive": primitive}


def snap_to_short(values: Float64) -> Float64:
    """Return the number of 12 bits where float32 left a value just beside it."""
    short = rounded_mantissa(values, SNAP_BITS)
    near: Float64 = np.where(np.abs(short - values) <= SNAP * np.abs(values), short, values)
    return near


def population(node: Node, shape: Shape, dt: float, notes: list[str], reset: str = "zero") -> Population:
    """Return the neurons of a node that is not linear; ``reset`` is that of neurons whose metadata name none.

    ``notes`` takes a sentence for whatever is assumed. A parameter or a reset that cannot be compiled is refused.
    """
    size = int(np.prod(shape))

    def values(field: str) -> Float64:
        return np.broadcast_to(numbers(node, field), shape).reshape(size).copy()

    if node.kind == "Threshold":
        zero = np.zeros(size)
        return Population(None, Integrator(zero, np.ones(size), zero), values("threshold"), "none")
    synaptic, leak = None, np.zeros(size)
    if node.kind in ("I", "IF"):
        membrane = Integrator(np.ones(size), snap_to_short(dt * values("r")), leak)
    else:
        field = "tau" if node.kind in ("LI", "LIF") else "tau_mem"
        beta, rate = _rate(node, field, values(field), dt)
        leak = values("v_leak")
        membrane = Integrator(beta, snap_to_short(rate * values("r")), rate * leak)
    if node.kind in ("CubaLI", "CubaLIF"):
        beta, rate = _rate(node, "tau_syn", values("tau_syn"), dt)
        synaptic = Integrator(beta, snap_to_short(rate * values("w_in")), np.zeros(size))
    adaptation = _adaptation(node, shape, dt)
    if synaptic is not None and (adaptation is None or adaptation.input_step == "same"):
        notes.append(f"{node.name}: its membrane sees the synaptic current of the same step (as snnTorch's Synaptic).")
    if node.kind not in SPIKING:
        return Population(synaptic, membrane, None, "none")
    reset = _reset(node, notes, reset)
    v_reset = values("v_reset") if getattr(node.nir, "v_reset", None) is not None else np.zeros(size)
    theta, offset = values("v_threshold"), membrane.offset
    moved = v_reset != 0
    if moved.any():
        worst = int(np.argmax(moved & (v_reset != leak)))
        if (moved & (v_reset != leak)).any() or node.kind == "IF" or not reset.startswith("zero"):
            raise node.refuse(
                f"v_reset of neuron {worst} is {v_reset[worst]:.4g}; a reset to zero compiles, or one to v_leak"
                + ("" if node.kind == "IF" else f", which is {leak[worst]:.4g}")
            )
        # Counted from v_leak, the membrane resets to 0 and leaks to 0.
        theta, offset = theta - v_reset, np.where(moved, 0.0, offset)
        notes.append(f"{node.name}: voltages are counted from v_leak = v_reset, where the membrane starts.")
    return Population(synaptic, Integrator(membrane.beta, membrane.gain, offset), theta, reset, adaptation)


def _adaptation(node: Node, shape: Shape, dt: float) -> Adaptation | None:
    """Return how the thresholds of a node adapt, which its metadata say."""
    metadata = node.nir.metadata if isinstance(node.nir.metadata, dict) else {}
    if not {"adaptation_tau", "adaptation_jump"} & metadata.keys():
        return None
    said, values = _in_metadata(node), []
    for field in ("adaptation_tau", "adaptation_jump"):
        found = numbers(said, field)
        if found.shape not in ((), shape):
            raise node.refuse(f"metadata {field} must have shape {list(shape)}, got {list(found.shape)}")
        values.append(np.broadcast_to(found, shape).reshape(-1))
    tau, jump = values
    if (jump < 0).any():
        raise node.refuse(f"metadata adaptation_jump must not be negative, got {jump.min():.4g}")
    step = text_of(metadata.get("input_step", "same"))
    if step not in INPUT_STEPS:
        raise node.refuse(f"metadata input_step must be 'same' or 'previous', got {step!r}")
    return Adaptation(_rate(node, "adaptation_tau", tau, dt)[0], jump, step)


def _in_metadata(node: Node) -> Node:
    """Return a node whose fields are what its metadata hold."""
    return replace(node, nir=SimpleNamespace(**{str(key): value for key, value in node.nir.metadata.items()}))


def _rate(node: Node, field: str, tau: Float64, dt: float) -> tuple[Float64, Float64]:
    """Return ``1 - dt / tau`` and ``dt / tau``, refusing time constants that no step of ``dt`` follows."""
    if not (tau > 0).all():
        worst = int(np.argmin(tau))
        raise node.refuse(f"{field} of neuron {worst} is {tau[worst]:.4g} s; it must be positive")
    rate: Float64 = snap_to_short(dt / tau)
    beta = np.where(rate < NO_LEAK, 1.0, 1.0 - rate)
    if (beta < 0).any():
        worst = int(np.argmin(tau))
        slow = tau[beta < 1]
        low, high = float(slow.max()) / (2 * DECAY_ONE), float(slow.min())
        steps = f"a dt of {low:.6g}..{high:.6g} s" if low <= high else "no one dt"
        raise node.refuse(
            f"{field} of neuron {worst} is {tau[worst]:.6g} s, a decay of {beta[worst]:.6g} a step of {dt:.6g} s; "
            f"{field} must be dt (decay 0) or longer: {steps} fits this node"
        )
    return beta, rate


def note_decays(node: Node, dt: float, num_steps: int, notes: list[str]) -> None:
    """Note where the rounding of decays shows within a sample.

    A decay that rounds to 0 or 1 and so moves a membrane by more than 5 % within ``num_steps`` is refused.
    """
    fields = dict.fromkeys(LEAKY.get(node.kind, ()), node)
    if isinstance(getattr(node.nir, "metadata", None), dict) and "adaptation_tau" in node.nir.metadata:
        fields["adaptation_tau"] = _in_metadata(node)
    for field, holder in fields.items():
        tau, what = numbers(holder, field).reshape(-1), "membrane" if holder is node else "threshold"
        beta, _ = _rate(node, field, tau, dt)
        error = decay_error(beta, num_steps)
        rounded = np.rint(beta * DECAY_ONE)
        gone = ((rounded == 0) & (beta > 0)) | ((rounded == DECAY_ONE) & (beta < 1))
        if (gone & (error > MOST_ERROR)).any():
            worst = int(np.argmax(np.where(gone, error, 0.0)))
            short = 1
            while decay_error(beta[worst : worst + 1], 2 * short)[0] <= MOST_ERROR:
                short *= 2
            raise node.refuse(
                f"{field} of neuron {worst} is {tau[worst]:.6g} s, a decay of {beta[worst]:.6g} a step of {dt:.6g} s, "
                f"which rounds to {int(rounded[worst])} of {DECAY_ONE}: that moves its {what} by up to "
                f"{error[worst]:.1%} within {counted(num_steps, 'step')}, and {MOST_ERROR:.0%} may be rounded "
                f"away so; {field} up "
                f"to {2 * DECAY_ONE * dt:.6g} s compiles, or num_steps up to {short}, or a longer dt, or a neuron "
                "without a leak (I or IF)"
            )
        if (error >= SHOWN_ERROR).any() or gone.any():
            worst = int(np.argmax(error + gone))
            notes.append(
                f"{node.name}: {field} of {tau[worst]:.6g} s is a decay of {beta[worst]:.6g}, in Q0.12 "
                f"{int(rounded[worst])} of {DECAY_ONE}: its {what} is up to {error[worst]:.2%} off within "
                f"{counted(num_steps, 'step')}."
            )


def _reset(node: Node, notes: list[str], assumed: str) -> str:
    """Return our name of a node's reset, from the metadata that our own export writes."""
    metadata = node.nir.metadata if isinstance(node.nir.metadata, dict) else {}
    mechanism, primitive = text_of(metadata.get("reset_mechanism")), text_of(metadata.get("primitive"))
    late = metadata.get("reset_delay", False)
    if mechanism is None:
        by = "to zero" if assumed == "zero" else "by subtraction"
        notes.append(f"{node.name}: resets {by} in the same step; its metadata names no other reset.")
        return assumed
    if mechanism not in ("zero", "subtract", "none", WITH_INPUT):
        raise node.refuse(
            f"metadata reset_mechanism must be 'zero', 'subtract', 'none' or {WITH_INPUT!r}, got {mechanism!r}"
        )
    if np.shape(late) != () or late not in (True, False):
        raise node.refuse(f"metadata reset_delay must be true or false, got {late!r}")
    if mechanism in ("none", WITH_INPUT):
        return mechanism
    if late:
        return f"{mechanism}_delayed"
    return "subtract_snntorch" if (mechanism, primitive) == ("subtract", "leaky") else mechanism
