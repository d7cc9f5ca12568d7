"""What the readers of other tools make of a NIR graph, in sentences: snnTorch 1.0, Norse 1.1, SpikingJelly 2.0.

Each was run, in ``tests/neuromorphic/compiler/nir/test_nir_portable.py``. All reset to zero in the same step, whatever
the metadata say. The step of snnTorch is always 1e-4 s, the others take ``dt``. snnTorch and Norse spike above the
threshold, SpikingJelly also at it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from neuromorphic.compiler.nir.nodes import text_of

READERS_DT = 1e-4
UNREAD = ("LI", "I", "CubaLI", "Threshold", "IF", "Scale", "Delay")
"""Kinds that snnTorch's and SpikingJelly's readers refuse, or take for something else."""
NAMED = 6
"""Names of nodes that a note lists."""


def reaches(edges: Iterable[tuple[str, str]], start: str, end: str) -> bool:
    """Return whether one edge or more lead from one node to another."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        here = waiting.pop()
        onward = {target for source, target in edges if source == here} - seen
        seen |= onward
        waiting += onward
    return end in seen


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def reader_notes(graph: Any, left: list[str]) -> list[str]:
    """Return what the readers of snnTorch 1.0, Norse 1.1 and SpikingJelly 2.0 make of a graph, in sentences."""
    dt = float(graph.metadata["dt"])
    notes = [
        f"A step is {dt:g} s: say so to Norse's and SpikingJelly's readers (dt={dt:g}); snnTorch's takes 0.0001 s."
    ]
    if dt != READERS_DT:
        notes[0] += " It therefore reads other decays: write the graph with dt=1e-4 for it."
    if "input_scale" in graph.metadata:
        scale, low, high = (float(graph.metadata[key]) for key in ("input_scale", "input_low", "input_high"))
        notes.append(
            f"Inputs are whole numbers of {scale:.6g}, from {low * scale:.6g} to {high * scale:.6g}: round them so "
            "before you give them to other tools."
        )
    found: dict[str, list[str]] = {}
    for name, node in graph.nodes.items():
        for reason in _reasons(node, dt):
            found.setdefault(reason, []).append(name)
    ends = [name for name, node in graph.nodes.items() if type(node).__name__ == "Output"]
    if len(ends) > 1:
        why = f"{len(ends)} nodes are Outputs, and the readers of snnTorch and SpikingJelly come to no end with several"
        found[why] = ends
    several = [name for name in graph.nodes if sum(target == name for _, target in graph.edges) > 1]
    plain_loops = not any(type(node).__name__ == "Delay" for node in graph.nodes.values())
    looped = [name for name in several if plain_loops and reaches(graph.edges, name, name)]
    if looped:
        why = "lies in a loop, which snnTorch's reader leads its input through; the others read it one step late"
        found[why] = looped
    if plain := [name for name in several if name not in looped]:
        found["reads several nodes, of which Norse's reader takes one"] = plain
    if left:
        found["r, v_leak, v_threshold or v_reset could not move into weights, and stay in the neurons"] = left
    return notes + [f"{_listed(names)}: {reason}." for reason, names in found.items()]


def _reasons(node: Any, dt: float) -> list[str]:
    kind = type(node).__name__
    if kind in UNREAD:
        return [f"snnTorch and SpikingJelly read no {kind}, and Norse's reader leaves it out without a word"]
    if kind not in ("LIF", "CubaLIF"):
        return []
    reasons = []
    mechanism = text_of(node.metadata.get("reset_mechanism", "zero")) or ""
    late = bool(node.metadata.get("reset_delay", False))
    if mechanism != "zero" or late:
        how = {"subtract": "by subtraction", "none": "never"}.get(mechanism, "to zero") + " a step late" * late
        reasons.append(
            f"resets {how}, for which NIR has no field: metadata say it, and other readers reset to zero in the same "
            "step"
        )
    if "adaptation_tau" in node.metadata:
        reasons.append(
            "has thresholds that rise with its spikes and sees its current a step late, for which NIR has no field: "
            "metadata say it, and other readers take plain neurons"
        )
    taus = [getattr(node, field) for field in ("tau", "tau_mem", "tau_syn") if hasattr(node, field)]
    if any(np.unique(tau).size > 1 for tau in taus):
        reasons.append(
            "its neurons have several decays, which Norse reads; snnTorch takes one neuron's scale for all, and "
            "SpikingJelly refuses them"
        )
    if any((np.asarray(tau) <= dt * (1 + 1e-6)).any() for tau in taus) and kind == "LIF":
        reasons.append("keeps nothing of the step before (a decay of 0), which SpikingJelly refuses")
    return reasons
