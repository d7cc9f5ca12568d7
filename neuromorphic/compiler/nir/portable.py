"""The form of a NIR graph that all other tools understand: every scale in the weights, none in the neurons.

NIR's ``LIF`` with ``r``, ``v_leak`` and ``v_threshold`` per neuron says everything, but few readers take all of it:
Norse leaves ``r`` out, snnTorch and SpikingJelly want one ``r`` and ``v_threshold`` for all and ``v_leak = 0``. With

    v = (1 - a) v + a (v_leak + r I),  spike when v > v_threshold
    v / v_threshold = (1 - a) v / v_threshold + a (k I + v_leak / v_threshold),  k = r / v_threshold

the weights and biases that drive a neuron take ``k`` and ``v_leak / v_threshold``, and the neuron has ``r = 1``,
``v_leak = 0`` and ``v_threshold = 1``. A neuron without a leak becomes an ``LIF`` of ``tau = 2**31 dt``, since ``IF``
means something else to each reader (``r`` of 1 or of ``1 / dt``; snnTorch's decays by 0.9). A ``CubaLIF`` gets
``r = tau_mem / dt`` and ``w_in = tau_syn / dt``, which is what snnTorch and SpikingJelly ask for.

What the fields were stays in the neuron's ``metadata`` as ``unfolded_r`` and so on: :func:`unfold` puts them back
before anything is compiled, and the weights are divided by ``k``: whole numbers are the whole numbers they were.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from neuromorphic.compiler.nir.nodes import Node, numbers, text_of
from neuromorphic.compiler.nir.readers import reaches, reader_notes
from neuromorphic.compiler.weight_integers import Float64
from neuromorphic.formats.nir import nir_package

Form = Literal["portable", "integer"]
NO_LEAK_STEPS = 2.0**31
"""``tau / dt`` of a neuron without a leak: to float32, and to ``compile_nir``, a decay of 1."""
WEIGHTED = ("Linear", "Affine", "Conv1d", "Conv2d")
UNFOLDED = ("r", "w_in", "v_threshold", "v_leak")
POOLED = ("Flatten", "AvgPool2d", "SumPool2d")


def portable(graph: Any) -> Any:
    """Return a graph of the same meaning whose neurons have ``r = 1``, ``v_leak = 0`` and ``v_threshold = 1``.

    ``graph`` is not changed; a portable one, or one without ``metadata["dt"]``, is returned as it is. Sub-graphs, and
    neurons whose scales no weights can take, stay as they are. ``metadata["form"]`` becomes ``"portable"``, and
    ``metadata["notes"]`` says, a sentence a line, what snnTorch's, Norse's and SpikingJelly's readers make of it.
    """
    if text_of(graph.metadata.get("form")) == "portable" or "dt" not in graph.metadata:
        return graph
    folding = _Folding(graph)
    for name, node in graph.nodes.items():
        if type(node).__name__ in ("LIF", "IF", "CubaLIF"):
            folding.fold(name, node)
    made = nir_package().NIRGraph(folding.nodes, folding.edges, metadata={**graph.metadata, "form": "portable"})
    made.metadata["notes"] = "\n".join(reader_notes(made, folding.left))
    return made


def unfold(node: Node) -> Node:
    """Return a neuron with the fields that it had before its scale moved into weights, and what to divide those by.

    An unfolded field that is no number, has another shape, or is 0 where it divides is refused.
    """
    metadata = node.nir.metadata if isinstance(getattr(node.nir, "metadata", None), dict) else {}
    fields = [field for field in UNFOLDED if f"unfolded_{field}" in metadata and hasattr(node.nir, field)]
    if not fields:
        return node
    before, factor = copy.copy(node.nir), np.ones(())
    unscaled = Node(node.name, node.kind, before)
    for field in fields:
        value = np.asarray(metadata[f"unfolded_{field}"])
        setattr(before, field, value)
        was, now = numbers(unscaled, field), numbers(node, field)
        if was.shape not in (now.shape, ()):
            raise node.refuse(f"metadata unfolded_{field} must have shape {list(now.shape)}, got {list(was.shape)}")
        if field == "v_leak":
            continue
        if not (was * now).all():
            raise node.refuse(f"metadata unfolded_{field} must not hold 0")
        factor = factor * (now / was if field == "v_threshold" else was / now)
    r = numbers(unscaled, "r")
    leak = np.asarray(numbers(unscaled, "v_leak"))
    was_leak = leak if "v_leak" in fields else np.zeros(leak.shape)
    if "v_leak" in fields and np.any(node.nir.v_leak):  # written by another hand, in the units of now
        before.v_leak = leak + numbers(node, "v_leak") * numbers(unscaled, "v_threshold") / numbers(node, "v_threshold")
    return replace(node, nir=before, factor=factor, surplus=was_leak / np.where(r == 0, math.inf, r))


class _Folding:
    """Nodes and edges of a graph while scales move into its weights."""

    def __init__(self, graph: Any) -> None:
        self.nir = nir_package()
        self.dt = float(graph.metadata["dt"])
        self.nodes: dict[str, Any] = dict(graph.nodes)
        self.edges: list[tuple[str, str]] = list(graph.edges)
        self.left: list[str] = []

    def fold(self, name: str, node: Any) -> None:
        """Move one population's scales into the weights before it, or list it as left."""
        neuron, factor, offset = self._unit_neuron(node)
        carriers = self._carriers(name, factor, offset)
        undone = (factor != 0).all() and (np.asarray(node.v_threshold) > 0).all() and not np.any(node.v_reset)
        if carriers is None or not undone:
            self.left.append(name)
            return
        self.nodes[name] = neuron
        biased = None
        if offset.any():
            direct = [carrier for carrier in carriers if carrier[1]]
            biased = next((c for c in direct if not reaches(self.edges, name, c[0])), direct[0])
        for carrier in carriers:
            self._multiply(name, carrier[0], factor, offset if carrier is biased else None, direct=carrier[1])
        self._join(name)

    def _join(self, name: str) -> None:
        """Add up matrices that lead from one node to one neuron: Norse's reader takes one."""
        first_from: dict[str, str] = {}
        for carrier in [source for source, target in self.edges if target == name]:
            node, before = self.nodes[carrier], [source for source, target in self.edges if target == carrier]
            read = sum(source == carrier for source, _ in self.edges)
            if type(node).__name__ not in ("Linear", "Affine") or len(before) != 1 or read != 1:
                continue
            first = first_from.setdefault(before[0], carrier)
            if first != carrier:
                bias = sum(getattr(self.nodes[each], "bias", 0.0) for each in (first, carrier))
                weight = self.nodes[first].weight + node.weight
                plain = np.ndim(bias) == 0
                self.nodes[first] = self.nir.Linear(weight) if plain else self.nir.Affine(weight, bias)
                del self.nodes[carrier]
                self.edges = [edge for edge in self.edges if carrier not in edge]

    def _unit_neuron(self, node: Any) -> tuple[Any, Float64, Float64]:
        """Return the neuron that is left, what its weights take as a factor, and what its bias takes more."""
        kind = type(node).__name__
        theta, r = (np.asarray(value, dtype=np.float64) for value in (node.v_threshold, node.r))
        leak = np.zeros(theta.shape) if kind == "IF" else np.asarray(node.v_leak, dtype=np.float64)
        one, zero = np.ones(theta.shape), np.zeros(theta.shape)
        if kind == "IF":
            r, tau = self.dt * r * NO_LEAK_STEPS, self.dt * NO_LEAK_STEPS * one
        else:
            tau = np.asarray(node.tau if kind == "LIF" else node.tau_mem, dtype=np.float64)
        unfolded = {"unfolded_r": r, "unfolded_v_leak": leak, "unfolded_v_threshold": theta}
        shared: dict[str, Any] = {"v_leak": zero, "v_threshold": one, "v_reset": zero}
        shared["metadata"] = {**node.metadata, **unfolded}
        if kind != "CubaLIF":
            return self.nir.LIF(tau=tau, r=one, **shared), r / theta, leak / theta
        tau_syn, w_in = (np.asarray(value, dtype=np.float64) for value in (node.tau_syn, node.w_in))
        shared["metadata"]["unfolded_w_in"] = w_in
        r1, w1 = tau / self.dt, tau_syn / self.dt
        cuba = self.nir.CubaLIF(tau_mem=tau, tau_syn=tau_syn, r=r1, w_in=w1, **shared)
        return cuba, r * w_in / (r1 * w1 * theta), leak / theta

    def _carriers(self, name: str, factor: Float64, offset: Float64) -> list[tuple[str, bool]] | None:
        """Return the weights before a neuron, and whether nothing lies between; ``None`` where they cannot take it."""
        found: list[tuple[str, bool]] = []
        waiting = [(source, name, True) for source, target in self.edges if target == name]
        while waiting:
            source, after, direct = waiting.pop(0)
            node = self.nodes[source]
            kind = type(node).__name__
            alone = [target for start, target in self.edges if start == source] == [after]
            if kind in WEIGHTED and (alone or direct) and _fits(node, factor, offset, direct):
                found.append((source, direct))
            elif alone and (kind == "Delay" or (kind in POOLED and np.unique(factor).size == 1)):
                waiting += [(before, source, False) for before, target in self.edges if target == source]
            elif kind == "Scale" and alone:
                found.append((source, False))
            else:
                return None
        takes_offset = type(self.nodes[name]).__name__ != "CubaLIF" and any(direct for _, direct in found)
        return None if not found or (offset.any() and not takes_offset) else found

    def _multiply(self, name: str, carrier: str, factor: Float64, offset: Float64 | None, *, direct: bool) -> None:
        """Give weights their factor; where others read them too, to a copy of them."""
        node = copy.copy(self.nodes[carrier])
        if type(node).__name__ == "Scale":
            node.scale = node.scale * factor
        else:
            wide = np.asarray(node.weight, dtype=np.float64)
            rows = _rows(node, factor)
            node.weight = wide * rows.reshape(rows.shape + (1,) * (wide.ndim - 1 if rows.ndim else 0))
            bias = getattr(node, "bias", None)
            if bias is not None:
                node.bias = np.asarray(bias, dtype=np.float64) * rows
            if offset is not None:
                total = (0.0 if bias is None else node.bias) + _rows(node, offset) * np.ones(len(wide))
                if bias is None:
                    node = self.nir.Affine(weight=node.weight, bias=total, metadata=node.metadata)
                node.bias = total
        if direct and sum(start == carrier for start, _ in self.edges) > 1:
            made = f"{carrier}_to_{name}"
            self.edges = [(made, end) if (start, end) == (carrier, name) else (start, end) for start, end in self.edges]
            self.edges += [(start, made) for start, end in self.edges if end == carrier]
            carrier = made
        self.nodes[carrier] = node


def _rows(node: Any, values: Float64) -> Float64:
    """Return one value for each row of weights: of a convolution, each channel's."""
    if values.size == 1:
        return values.reshape(())
    return values if values.ndim == 1 else values.reshape(len(values), -1)[:, 0]


def _fits(node: Any, factor: Float64, offset: Float64, direct: bool) -> bool:
    """Return whether rows or channels of weights can take a factor, and a bias, per neuron."""
    uniform = factor.size == 1 or np.unique(factor).size == 1
    if not direct:
        return uniform or factor.shape == (len(node.weight),)
    if uniform and np.unique(offset).size == 1:
        return True
    if factor.ndim == 0 or len(factor) != len(node.weight):
        return False
    rows = [value.reshape(len(value), -1) for value in (factor, offset)]
    return all((value == value[:, :1]).all() for value in rows)
