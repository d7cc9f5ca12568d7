"""Small NIR graphs for tests, and what their nodes mean, in float64."""

import nir
import numpy as np

T, B, N, M = 60, 24, 16, 12  # steps, samples, neurons, inputs
DT = 1e-3


def rng_of(seed):
    return np.random.default_rng(seed)


def spikes_in(rng, rate=0.3, channels=M):
    return (rng.random((T, B, channels)) < rate).astype(np.int8)


def on_grid(rng, *shape, scale=1 / 64, peak=100):
    """Weights that 8 bits with a power of two hold exactly."""
    weights = np.rint(rng.normal(0, peak / 3, shape).clip(-peak, peak))
    weights.flat[0] = peak
    return weights * scale


def ternary(rng, *shape, scale=0.3):
    return rng.integers(-1, 2, shape) * scale


def graph_of(edges, dt=DT, **nodes):
    """Build a graph from ``"a b, b c"`` with an Input x of M channels."""
    nodes = {"x": nir.Input(np.array([M])), **nodes}
    pairs = [tuple(edge.split()) for edge in edges.split(",")]
    return nir.NIRGraph(nodes, pairs, metadata={"dt": dt}, type_check=False)


def parameters(rng, kind, n=N):
    """Random parameters of a kind of node, in the field's usual range, different for each neuron."""
    tau, tau_syn = rng.uniform(3e-3, 20e-3, n), rng.uniform(2e-3, 8e-3, n)
    r, leak, theta = rng.uniform(4, 9, n), rng.uniform(-0.1, 0.1, n), rng.uniform(0.6, 1.4, n)
    found = {
        "I": {"r": r / 20e-3},
        "LI": {"tau": tau, "r": r, "v_leak": leak},
        "IF": {"r": r / 8e-3, "v_threshold": theta},
        "LIF": {"tau": tau, "r": r, "v_leak": leak, "v_threshold": theta},
        "CubaLI": {"tau_syn": tau_syn, "tau_mem": tau, "r": r, "v_leak": leak, "w_in": rng.uniform(0.5, 1.5, n)},
        "Threshold": {"threshold": rng.uniform(-0.5, 1.0, n)},
    }
    return {**found["CubaLI"], "v_threshold": theta} if kind == "CubaLIF" else found[kind]


def simulate(kind, p, currents, *, recurrent=None, dt=DT):
    """The documented equations of a node, line by line, in float64; ``recurrent`` weights act one step later."""
    v = i = z = np.zeros(currents.shape[1:])
    given = []
    for current in currents:
        if recurrent is not None:
            current = current + z @ recurrent.T
        if kind == "Threshold":
            given.append(current > p["threshold"])
            continue
        if kind.startswith("Cuba"):
            i = i + dt / p["tau_syn"] * (-i + p["w_in"] * current)
            current = i
        if kind in ("I", "IF"):
            v = v + dt * p["r"] * current
        else:
            v = v + dt / p["tau_mem" if kind.startswith("Cuba") else "tau"] * (p["v_leak"] - v + p["r"] * current)
        if "v_threshold" in p:
            z = v > p["v_threshold"]
            v = np.where(z, p.get("v_reset", 0.0), v)
        given.append(z if "v_threshold" in p else v)
    return np.array(given)


def one_lif(**changes):
    one = np.ones(1)
    p = {"tau": 20 * DT * one, "r": one, "v_leak": 0 * one, "v_threshold": one, **changes}
    return nir.LIF(**{k: v for k, v in p.items() if v is not None})
