"""What a NIR graph means, slowly: Euler's step, node after node, float64. No line is shared with the package."""

import nir
import numpy as np
from scipy.signal import correlate


def _parameter(node, name):
    return np.asarray(getattr(node, name), dtype=np.float64)


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


def _order(graph, late):
    """Nodes so that all but late edges point onward, by repeated passes."""
    placed, waiting = [], list(graph.nodes)
    while waiting:
        ready = [n for n in waiting if all(a in placed for a, b in graph.edges if b == n and (a, b) not in late)]
        assert ready, f"a loop without a delay: {waiting}"
        placed += ready
        waiting = [n for n in waiting if n not in ready]
    return placed


def _late_edges(graph):
    """A Delay is a step late; weights from a neuron to itself are, too."""
    late = {(a, b) for a, b in graph.edges if isinstance(graph.nodes[b], nir.Delay)}
    for back in graph.nodes:
        before = {a for a, b in graph.edges if b == back}
        after = {b for a, b in graph.edges if a == back}
        if before == after and len(before) == 1 and back not in before:
            late.add((back, *after))
    return late


def _neuron(node, state, current, dt):
    kind = type(node).__name__
    if kind in ("CubaLIF", "CubaLI"):
        rate = dt / _parameter(node, "tau_syn")
        i = state.get("i", 0.0) + rate * (-state.get("i", 0.0) + _parameter(node, "w_in") * current)
        current = state.get("i", 0.0 * i) if _text(node.metadata.get("input_step", "")) == "previous" else i
        state["i"] = i
    v = state.get("v", np.zeros(current.shape))
    meta = {key: _text(value) for key, value in node.metadata.items()}
    mechanism, late = meta.get("reset_mechanism", "zero"), bool(meta.get("reset_delay", False))
    spiking = kind in ("LIF", "CubaLIF", "IF")
    theta = _parameter(node, "v_threshold") if spiking else np.inf
    if "adaptation_tau" in node.metadata:
        raised = state.get("a", 0.0) * (1 - dt / np.asarray(node.metadata["adaptation_tau"]))
        theta = theta + raised
    before = v > theta  # what snnTorch asks first
    if mechanism == "zero" and late:
        v = np.where(before, 0.0, v)
    if kind in ("IF", "I"):
        u = v + dt * _parameter(node, "r") * current
    else:
        tau = _parameter(node, "tau" if kind in ("LIF", "LI") else "tau_mem")
        u = v + dt / tau * (_parameter(node, "v_leak") - v + _parameter(node, "r") * current)
    if not spiking:
        state["v"] = u
        return u
    if mechanism == "zero_with_input":
        u = np.where(before, 0.0, u)
    lowers = mechanism == "subtract" and (late or meta.get("primitive") == "leaky")
    u = u - before * theta * lowers
    spikes = u > theta
    if mechanism == "zero" and not late:
        v = np.where(spikes, _parameter(node, "v_reset"), u)
    elif mechanism == "subtract" and not late:
        v = u - (spikes.astype(float) - before * lowers) * theta
    else:
        v = u
    state["v"] = v
    if "adaptation_tau" in node.metadata:
        state["a"] = raised + spikes * np.asarray(node.metadata["adaptation_jump"])
    return spikes.astype(np.float64)


def _windows(x, kernel, stride, padding, dilation):
    """Slide a kernel [out, in, *k] over x [B, in, *n] by scipy, one pair of channels at a time."""
    dims = kernel.ndim - 2
    spread = np.zeros((*kernel.shape[:2], *(d * (k - 1) + 1 for d, k in zip(dilation, kernel.shape[2:], strict=True))))
    spread[(slice(None), slice(None), *(slice(None, None, d) for d in dilation))] = kernel
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    rows = [[sum(correlate(a[c], spread[o, c], "valid") for c in range(len(a))) for o in range(len(spread))] for a in x]
    return np.array(rows)[(..., *(slice(None, None, s) for s in stride[:dims]))]


def _layer(node, x):
    kind = type(node).__name__
    if kind in ("Linear", "Affine"):
        return x @ node.weight.T + (node.bias if kind == "Affine" else 0.0)
    if kind == "Scale":
        return x * node.scale
    if kind == "Flatten":
        return x.reshape(len(x), -1)
    if kind == "AvgPool2d":
        k = node.kernel_size
        eye = np.eye(x.shape[1])[:, :, None, None] * np.full((1, 1, *k), 1.0 / np.prod(k))
        return _windows(x, eye, node.stride, node.padding, (1, 1))
    if kind in ("Conv1d", "Conv2d"):
        dims = node.weight.ndim - 2
        stride, padding, dilation = (np.broadcast_to(v, dims) for v in (node.stride, node.padding, node.dilation))
        y = _windows(x, node.weight, stride, padding, dilation)
        return y + np.reshape(node.bias, (-1, *[1] * dims))
    assert kind in ("Input", "Output"), kind
    return x


def evaluate(graph, inputs):
    """Run a graph on ``[T, B, ...]``; return what every node gives, ``[T, B, ...]``."""
    dt = float(graph.metadata["dt"])
    late = _late_edges(graph)
    order = _order(graph, late)
    states = {name: {} for name in graph.nodes}
    given, before = {name: [] for name in graph.nodes}, {}
    for x in inputs:
        now = {}
        for name in order:
            node = graph.nodes[name]
            arrived = []
            for a, b in graph.edges:
                if b == name and (a, b) in late and a in before:
                    arrived.append(before[a])
                elif b == name and (a, b) not in late:
                    arrived.append(now[a])
            if isinstance(node, nir.Input):
                now[name] = x
            elif isinstance(node, nir.Delay):
                assert np.allclose(node.delay, dt)
                now[name] = sum(arrived) if arrived else np.zeros((len(x), *node.delay.shape))
            elif type(node).__name__ in ("LIF", "LI", "CubaLIF", "CubaLI", "IF", "I"):
                first = [
                    _first(graph, a, len(x)) for a, b in graph.edges if (a, b) in late and b == name and not before
                ]
                now[name] = _neuron(node, states[name], sum(arrived + first), dt)
            else:
                now[name] = _layer(node, sum(arrived))
            given[name].append(now[name])
        before = now
    return {name: np.array(values) for name, values in given.items()}


def _first(graph, back, batch):
    """What weights from a neuron to itself give in the first step: their bias."""
    shape = tuple(next(graph.nodes[a].output_type["output"] for a, b in graph.edges if b == back))
    return _layer(graph.nodes[back], np.zeros((batch, *shape)))
