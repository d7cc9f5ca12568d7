"""Which step a NIR graph is meant for: as asked for, as the graph says, or the only convention that it fits.

NIR has no field for a step. A file without ``metadata["dt"]`` follows the tool that wrote it:

    1e-4 s   snnTorch, SpikingJelly: tau = 1e-4 / (1 - beta)
    1        sinabs, Spyx, Norse's IF: time counts in steps, tau = 1 / (1 - beta), r = 1
    1e-6 s   Norse 1.1, whose export writes tau = 1e-3 / tau_mem_inv for its own step of 1e-3 s

A leaky neuron fits a step that is not longer than its ``tau``, nor shorter than an 8192th of it: other decays round to
0 or 1 in Q0.12. 1e-4 s and 1 exclude each other. An ``IF`` of ``r = 1`` adds its whole input in a step of 1, and a ten
thousandth of it in a step of 1e-4 s, where its weights would vanish.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from neuromorphic.compiler.nir.neurons import LEAKY, NO_LEAK, SPIKING
from neuromorphic.compiler.nir.nodes import WHOLE, Node, numbers
from neuromorphic.compiler.nir.signals import Signals
from neuromorphic.compiler.nir.wiring import Wiring
from neuromorphic.compiler.weight_integers import Float64
from neuromorphic.errors import CompileError
from neuromorphic.formats.nir import MAX_DEPTH
from neuromorphic.integers.numbers import DECAY_ONE
from neuromorphic.ops.delay import MAX_DELAY

DEFAULT_DT = 1e-4
"""What snnTorch's export assumes, in seconds."""
SHORTEST, LONGEST = 1e-12, 1e6
NORSE_DT = 1e-6
CONVENTIONS = (
    (DEFAULT_DT, "snnTorch's"),
    (1.0, "time counts in steps, as sinabs and Spyx write it"),
    (NORSE_DT, "Norse 1.1's"),
)
NEAR = 1e-6


def step_of(graph: Any, dt: float | None, largest: float) -> tuple[float, str]:
    """Return the seconds of a step and a sentence that says where they come from.

    ``dt`` is what is asked for and goes before the graph's own; ``largest`` is the largest magnitude of an input.
    """
    metadata = getattr(graph, "metadata", None)
    given = metadata.get("dt") if isinstance(metadata, dict) else None
    if dt is None and given is None:
        return _convention(graph, largest)
    dt, origin = (given, "the graph's own") if dt is None else (dt, "as asked for")
    try:
        step = float(np.asarray(dt).reshape(()))
    except (TypeError, ValueError) as error:
        raise CompileError(f"dt must be a number of seconds, got {dt!r} ({origin})") from error
    if not SHORTEST <= step <= LONGEST:
        raise CompileError(f"dt must lie in {SHORTEST:g}..{LONGEST:g} s, got {step:.6g} s ({origin})")
    return step, f"A step is {step:.6g} s: {origin}."


def checked_dt(dt: float) -> float:
    """Return the seconds of a step for a graph that is written."""
    if not 0.0 < float(dt) < math.inf:
        raise CompileError(f"dt must be a positive number of seconds, got {dt}")
    return float(dt)


def _convention(graph: Any, largest: float) -> tuple[float, str]:
    """Return the step of the convention that all neurons fit, snnTorch's where none says otherwise."""
    nodes = list(_nodes(graph, ""))
    windows = [(node.name, *_window(numbers(node, field))) for node in nodes for field in LEAKY.get(node.kind, ())]

    def fits(dt: float, low: float, high: float) -> bool:
        return low <= dt * (1 + NEAR) and dt <= high * (1 + NEAR)  # tau is float32

    fitting = [(dt, whose) for dt, whose in CONVENTIONS if all(fits(dt, low, high) for _, low, high in windows)]
    if not fitting:
        by = {dt: next((n for n, low, high in windows if not fits(dt, low, high)), "") for dt, _ in CONVENTIONS}
        low, high = max(low for _, low, _ in windows), min(high for _, _, high in windows)
        needed = (
            f"its time constants need one of {low:.6g}..{high:.6g} s" if low <= high else "no one step fits them all"
        )
        why = "; ".join(f"{dt:g} s not by {name}" for dt, name in by.items())
        raise CompileError(f"the graph names no dt, and no convention fits ({why}): {needed}; give dt")
    fitting = [each for each in fitting if _delays_fit(nodes, each[0])] or fitting
    chosen, whose = fitting[0]
    if chosen != 1.0 and any(_adds_whole_input(node) for node in nodes):
        weak = _weak(graph, chosen, largest)
        if weak and windows:
            raise CompileError(
                f"the graph names no dt: {weak} (IF) has r = 1, which means a dt of 1, where {windows[0][0]} has a "
                f"time constant that fits dt = {chosen:g} s only; give dt, and write r = 1 / dt for an input that "
                "counts whole"
            )
        if weak:
            vanish = f"with {chosen:g} s the weights of {weak} (IF, r = 1) vanish"
            return 1.0, f"A step is 1 s: the graph names none, and {vanish}."
    others = [f"{dt:g} s ({name})" for dt, name in fitting[1:] if windows]
    also = f"; {' and '.join(others)} would fit its time constants too" if others else ""
    if chosen == DEFAULT_DT:
        return chosen, f"A step is {chosen:.6g} s: {whose}, for the graph names none{also}."
    why = "the graph names none, and its time constants fit no other"
    sentence = f"A step is {chosen:.6g} s: {whose}; {why}{also}."
    cuba = [node.name for node in nodes if node.kind == "CubaLIF" and np.all(np.equal(node.nir.w_in, 1.0))]
    if cuba and chosen == NORSE_DT:
        sentence += (
            f" {cuba[0]} has w_in = 1, as Norse writes it, which is dt / tau_syn of what Norse's own LIFCell adds: "
            "compile the network itself (compile_module), or write w_in = tau_syn / dt."
        )
    return chosen, sentence


def _nodes(graph: Any, prefix: str, depth: int = 0) -> Iterator[Node]:
    """Yield every node, those of sub-graphs with the names before them."""
    nodes = getattr(graph, "nodes", None)
    for key, node in nodes.items() if isinstance(nodes, dict) and depth < MAX_DEPTH else ():
        if type(node).__name__ == "NIRGraph":
            yield from _nodes(node, f"{prefix}{key}.", depth + 1)
        else:
            yield Node(f"{prefix}{key}", type(node).__name__, node)


def _delays_fit(nodes: list[Node], dt: float) -> bool:
    """Return whether all delays are whole numbers of steps, and not too many."""
    for node in nodes:
        if node.kind == "Delay":
            steps = numbers(node, "delay") / dt
            if (np.abs(steps - np.rint(steps)) > WHOLE * np.maximum(steps, 1.0)).any() or steps.max() > MAX_DELAY + 0.5:
                return False
    return True


def _window(tau: Float64) -> tuple[float, float]:
    """Return the shortest and longest step for which Q0.12 holds decays, or there is no leak."""
    if not (tau > 0).all():
        return 0.0, math.inf  # refused by name later
    leaks = tau[tau < LONGEST]
    if leaks.size == 0:
        return 0.0, float(tau.min()) * NO_LEAK
    return float(leaks.max()) / (2 * DECAY_ONE), float(tau.min())


def _adds_whole_input(node: Node) -> bool:
    """Return whether a node is an ``IF`` with ``r = 1``."""
    return node.kind == "IF" and np.allclose(numbers(node, "r"), 1.0, rtol=NEAR, atol=0.0)


def _weak(graph: Any, dt: float, largest: float) -> str | None:
    """Return an ``IF`` of ``r = 1`` that all its inputs at once, at their largest, leave below its threshold."""
    wiring = Wiring(graph, dt)
    for name, node in wiring.nodes.items():
        if not _adds_whole_input(node):
            continue
        signal = Signals(wiring).reaching(name)
        peak = np.abs(signal.offset)
        for source, path in signal.terms:
            if wiring.nodes[source].kind not in (*SPIKING, "Input"):
                break  # values have no largest that is known here
            peak = peak + path.peak() * (largest if source == wiring.input else 1.0)
        else:
            if (dt * peak <= np.broadcast_to(numbers(node, "v_threshold"), wiring.shapes[name]).reshape(-1)).all():
                return name
    return None
