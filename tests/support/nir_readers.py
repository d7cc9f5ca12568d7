"""Other tools' readers of NIR graphs, run step by step, and what each asks of a neuron, from its own source."""

import contextlib
import copy
import io
import logging

import numpy as np
import torch


def _steps(net, inputs):
    state, given = None, []
    with torch.no_grad():
        for x in torch.from_numpy(np.asarray(inputs)).float():
            y, state = net(x, state)
            given.append(y)
    return torch.stack(given).numpy()


def snntorch_reads(graph, inputs):
    """Run what snnTorch 1.0 makes of a graph; its step is 1e-4 s."""
    from snntorch.import_nir import import_from_nir

    with contextlib.redirect_stdout(io.StringIO()):
        return _steps(import_from_nir(copy.deepcopy(graph)), inputs)


def norse_reads(graph, inputs):
    """Run what Norse 1.1 makes of a graph."""
    import norse.torch as norse

    logging.disable(logging.WARNING)  # what Norse says about r goes to the root logger
    try:
        return _steps(norse.from_nir(copy.deepcopy(graph), dt=float(graph.metadata["dt"])), inputs)
    finally:
        logging.disable(logging.NOTSET)


def spikingjelly_reads(graph, inputs):
    """Run the rules of SpikingJelly 2.0's ``import_from_nir`` (nir_exchange/from_nir.py), written down again.

    IF: one r, 1 / dt. LIF: one tau > dt, one r of 1 or tau / dt, v_leak equal to v_reset. CubaLIF: r = tau_mem / dt,
    w_in = tau_syn / dt, v_leak 0. One v_threshold and v_reset; a spike at v >= v_threshold, a hard reset in the same
    step. float32; nodes that it does not map are an error.
    """
    dt = float(graph.metadata["dt"])
    order = [name for name in graph.nodes if type(graph.nodes[name]).__name__ not in ("Input", "Output")]
    first = next(name for name, node in graph.nodes.items() if type(node).__name__ == "Input")
    states, given = {}, []
    for x in np.asarray(inputs, dtype=np.float32):
        now, waiting = {first: x}, order * len(order)  # a loop comes to an end too
        for name in waiting:
            before = [source for source, target in graph.edges if target == name]
            if name in now or any(source not in now for source in before):
                continue
            now[name] = _jelly(
                graph.nodes[name], sum(now[source] for source in before), states.setdefault(name, {}), dt
            )
        last = next(target for _, target in graph.edges if type(graph.nodes[target]).__name__ == "Output")
        given.append(sum(now[source] for source, target in graph.edges if target == last))
    return np.array(given)


def _uniform(node, field):
    values = np.unique(getattr(node, field))
    if values.size != 1:
        raise ValueError(f"{field} must be uniform across all neurons.")
    return float(values[0])


def _jelly(node, x, state, dt):
    kind = type(node).__name__
    if kind in ("Linear", "Affine"):
        y = x @ node.weight.astype(np.float32).T
        return y + node.bias.astype(np.float32) if kind == "Affine" else y
    if kind not in ("LIF", "CubaLIF"):
        raise ValueError(f"Unknown node type {kind}")
    v, theta, reset = state.get("v", 0.0), _uniform(node, "v_threshold"), _uniform(node, "v_reset")
    if kind == "LIF":
        tau, r = _uniform(node, "tau") / dt, _uniform(node, "r")
        if tau <= 1 or not (np.isclose(r, 1.0) or np.isclose(r, tau)) or _uniform(node, "v_leak") != reset:
            raise ValueError("tau / dt must be greater than 1, r 1 or tau / dt, v_leak equal to v_reset")
        v = v + (x - (v - reset)) / np.float32(tau) if np.isclose(r, 1.0) else v + x - (v - reset) / np.float32(tau)
    else:
        tau, tau_syn = _uniform(node, "tau_mem"), _uniform(node, "tau_syn")
        if not np.isclose(_uniform(node, "r"), tau / dt) or not np.isclose(_uniform(node, "w_in"), tau_syn / dt):
            raise ValueError("r must equal tau_mem / dt, w_in tau_syn / dt")
        state["i"] = np.float32(1 - dt / tau_syn) * state.get("i", 0.0) + x
        v = np.float32(1 - dt / tau) * v + state["i"]
    spikes = v >= theta
    state["v"] = np.where(spikes, np.float32(reset), v).astype(np.float32)
    return spikes.astype(np.float32)


READERS = {"snnTorch": snntorch_reads, "Norse": norse_reads, "SpikingJelly": spikingjelly_reads}
