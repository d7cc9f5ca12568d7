"""Which step a NIR graph without one is meant for, decays that Q0.12 does not hold, and axes of 1."""

import warnings

import nir
import norse.torch as norse
import numpy as np
import pytest
import torch
from torch import nn

from neuromorphic import run
from neuromorphic.compiler import compile_nir
from neuromorphic.compiler.spiking import MOST_ERROR, decay_error, step_response
from neuromorphic.errors import CompileError, CompileWarning
from neuromorphic.ops import LIF
from nir_nets import B, M, N, T, graph_of, on_grid, rng_of, simulate, spikes_in, ternary


def bare(edges, **nodes):
    """Build a graph that names no step."""
    graph = graph_of(edges, **nodes)
    graph.metadata = {}
    return graph


def spikes_of(program, inputs, name="n"):
    return run(program, inputs).variables[f"{name}.spikes"].astype(bool)


# ---- which step


def test_an_if_of_unit_r_counts_in_steps():
    """Norse's and sinabs' IF: v = v + I. At 1e-4 s, where r = 1 is a ten thousandth, no weight was left."""
    rng = rng_of(0)
    w, one = on_grid(rng, N, M), np.ones(N)
    graph = bare("x w, w n", w=nir.Linear(w), n=nir.IF(r=one, v_threshold=2 * one))
    program, x = compile_nir(graph, num_steps=T), spikes_in(rng)
    assert program.metadata["dt"] == 1.0
    assert program.metadata["assumptions"][0] == (
        "A step is 1 s: the graph names none, and with 0.0001 s the weights of n (IF, r = 1) vanish."
    )
    expected = simulate("IF", {"r": one, "v_threshold": 2 * one}, x @ w.T, dt=1.0)
    assert expected.mean() > 0.05
    np.testing.assert_array_equal(spikes_of(program, x), expected)
    # Weights that fit 1e-4 s keep it, and so does r = 1 / dt, as SpikingJelly writes it.
    for changed in ({"w": nir.Linear(1e4 * w)}, {"n": nir.IF(r=1e4 * one, v_threshold=2 * one)}):
        kept = compile_nir(bare("x w, w n", **{"w": nir.Linear(w), "n": graph.nodes["n"], **changed}), num_steps=T)
        assert kept.metadata["dt"] == 1e-4
        assert (spikes_of(kept, x) == expected).mean() > 0.99  # 1e4 * w is on no grid of 8 bits


@pytest.mark.parametrize("kind", ["LIF", "LI", "CubaLIF"])
@pytest.mark.parametrize(("dt", "says"), [(1.0, "time counts in steps"), (1e-6, "Norse 1.1's"), (1e-4, "snnTorch's")])
def test_time_constants_show_their_step(kind, dt, says):
    """tau = dt / (1 - beta), for decays from 0 to 0.9: 1 to 10 steps."""
    rng = rng_of(1)
    w, one = on_grid(rng, N, M), np.ones(N)
    tau = dt / (1 - np.linspace(0.5, 0.875, N))
    p = {"tau": tau, "r": tau / dt, "v_leak": 0 * one, "v_threshold": 2 * one}
    if kind == "CubaLIF":
        p = {
            "tau_mem": tau,
            "tau_syn": 2 * dt * one,
            "w_in": 2 * one,
            **{k: p[k] for k in ("r", "v_leak", "v_threshold")},
        }
    if kind == "LI":
        del p["v_threshold"]
    graph = bare("x w, w n", w=nir.Linear(w), n=getattr(nir, kind)(**p))
    program = compile_nir(graph, num_steps=T)
    assert program.metadata["dt"] == dt
    assert says in program.metadata["assumptions"][0]
    assert compile_nir(graph, num_steps=T, dt=dt).ops[1:] is not None  # as asked for, it is the same
    x = spikes_in(rng)
    for one_way, other in zip(
        run(program, x).variables.values(),
        run(compile_nir(graph, num_steps=T, dt=dt), x).variables.values(),
        strict=True,
    ):
        np.testing.assert_array_equal(one_way, other)


@pytest.mark.parametrize("kind", ["I", "LI"])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e5])
def test_values_keep_their_size(kind, size):
    """An integrator's unit follows its parameters: r of a millionth is no zero."""
    rng = rng_of(2)
    w, p = on_grid(rng, N, M), {"r": np.full(N, size)}
    if kind == "LI":
        p |= {"tau": np.full(N, 8e-4), "v_leak": np.zeros(N)}
    program = compile_nir(bare("x w, w n", w=nir.Linear(w), n=getattr(nir, kind)(**p)), num_steps=T)
    x = spikes_in(rng)
    variables = run(program, x).variables
    got = variables["n.v" if "n.v" in variables else "n.y"] * program.metadata["units"]["n"]
    expected = simulate(kind, p, x @ w.T, dt=1e-4)
    assert np.abs(got - expected).max() <= 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("size", [2.0**-20, 1.0, 2.0**20])
def test_scaled_thresholds_and_input_weights_change_nothing(size):
    """Threshold with its weights, and CubaLIF's w_in against its weights, in any unit."""
    rng = rng_of(3)
    w, theta, x, one = on_grid(rng, N, M), rng.uniform(0.2, 1, N), spikes_in(rng), np.ones(N)
    graph = bare("x w, w n", w=nir.Linear(size * w), n=nir.Threshold(threshold=size * theta))
    np.testing.assert_array_equal(spikes_of(compile_nir(graph, num_steps=T), x), x @ w.T > theta)
    p = {"tau_mem": 4e-4 * one, "tau_syn": 2e-4 * one, "r": 4 * one, "v_leak": 0 * one, "v_threshold": 2 * one}
    cuba = nir.CubaLIF(**p, w_in=2 * one / size)
    expected = simulate("CubaLIF", {**p, "w_in": 2 * one}, x @ w.T, dt=1e-4)
    got = spikes_of(compile_nir(bare("x w, w n", w=nir.Linear(size * w), n=cuba), num_steps=T), x)
    assert (got == expected).mean() > 0.999


def test_what_fits_no_one_convention_is_refused():
    one = np.ones(N)
    w, u = nir.Linear(np.ones((N, M))), nir.Linear(np.ones((N, N)) / 8)
    fast, slow = (nir.LIF(tau=tau * one, r=one, v_leak=0 * one, v_threshold=one) for tau in (2e-4, 5.0))
    with pytest.raises(
        CompileError, match=r"no convention fits \(0.0001 s not by b; 1 s not by a; 1e-06 s not by b\).*give dt"
    ):
        compile_nir(bare("x w, w a, a u, u b", w=w, a=fast, u=u, b=slow), num_steps=T)
    with pytest.raises(CompileError, match=r"time constants need one of 0.000109863..0.9 s; give dt"):
        compile_nir(
            bare("x w, w n", w=w, n=nir.LIF(tau=0.9 * one, r=one, v_leak=0 * one, v_threshold=one)), num_steps=T
        )
    mixed = bare("x w, w a, a u, u b", w=w, a=fast, u=u, b=nir.IF(r=one, v_threshold=9 * one))
    with pytest.raises(
        CompileError, match=r"b \(IF\) has r = 1, which means a dt of 1, where a has a time constant that"
    ):
        compile_nir(mixed, num_steps=T)
    with pytest.warns(CompileWarning, match="b: none of its neurons can fire within 60 steps"):  # as asked for
        assert compile_nir(mixed, num_steps=T, dt=1e-4).metadata["dt"] == 1e-4
    with pytest.raises(
        CompileError, match=r"a decay of -4 a step of 0.001 s; tau must be dt .* a dt of 2.44141e-08..0.0002 s fits"
    ):
        compile_nir(bare("x w, w a", w=w, a=fast), num_steps=T, dt=1e-3)


def test_a_delay_is_a_whole_number_of_the_chosen_steps():
    one = np.ones(N)
    nodes = {"w": nir.Linear(np.ones((N, M))), "d": nir.Delay(3 * one), "n": nir.IF(r=one, v_threshold=4 * one)}
    program = compile_nir(bare("x w, w d, d n", **nodes), num_steps=T)
    assert program.metadata["dt"] == 1.0
    assert [op.steps for op in program.ops if type(op).__name__ == "Delay"] == [3]


@pytest.mark.parametrize("cell", ["LIFBoxCell", "IAFCell"])
@torch.no_grad()
def test_norses_own_export(cell):
    """Norse 1.1 writes tau = dt / tau_mem_inv, its own dt 1e-3: a step of 1e-6, and shapes with the sample's batch."""
    torch.manual_seed(0)
    neuron = (
        norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=torch.tensor(125.0)))
        if cell == "LIFBoxCell"
        else norse.IAFCell()
    )
    net = norse.SequentialState(nn.Linear(M, N), neuron)
    net[0].weight.copy_(torch.from_numpy(on_grid(rng_of(4), N, M, scale=1 / 16 if cell == "LIFBoxCell" else 1 / 64)))
    net[0].bias.zero_()
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore", DeprecationWarning)
        graph = norse.to_nir(net, torch.zeros(1, M))
    assert graph.nodes["input"].input_type["input"].tolist() == [1, M]
    x, state, expected = spikes_in(rng_of(4)), None, []
    for step in torch.from_numpy(x).float():
        z, state = net(step, state)
        expected.append(z.detach().numpy() > 0)
    program = compile_nir(graph, num_steps=T)
    assert program.metadata["dt"] == {"LIFBoxCell": 1e-6, "IAFCell": 1.0}[cell]
    assert "0 takes [12] where input gives [1, 12]: axes of 1 count for nothing." in program.metadata["assumptions"]
    (name,) = [op.name for op in program.of_type(LIF)]
    assert np.mean(expected) > 0.05
    np.testing.assert_array_equal(spikes_of(program, x, name), np.array(expected))


# ---- decays next to 0 and 1


def test_the_error_of_a_decay_is_what_a_membrane_shows():
    for beta in (0.0, 0.3, 0.9999, 0.99993, 1.0):
        for steps in (1, 40, 700):
            v, rounded = np.zeros(2), np.array([beta, np.rint(beta * 4096) / 4096])
            for _ in range(steps):
                v = rounded * v + 1
            np.testing.assert_allclose(step_response(np.array([beta]), steps), v[0], rtol=1e-9)
            np.testing.assert_allclose(
                decay_error(np.array([beta]), steps), abs(v[1] / v[0] - 1), rtol=1e-6, atol=1e-12
            )


@pytest.mark.parametrize("beta", [1e-5, 0.9998, 0.9999, 0.99999, 1.0])
def test_slow_and_fast_leaks_compile_where_rounding_hardly_shows(beta):
    """0.9999 lies between 4095/4096 and 1: within 60 steps the nearest moves a membrane by 0.3 %, which is said."""
    rng = rng_of(5)
    w, leak = ternary(rng, N, M, scale=0.25), max(1 - beta, 2.0**-40)
    p = {
        "tau": np.full(N, 1e-3 / leak),
        "r": np.full(N, 1 / leak),
        "v_leak": np.zeros(N),
        "v_threshold": rng.uniform(1, 3, N),
    }
    program = compile_nir(graph_of("x w, w n", w=nir.Linear(w), n=nir.LIF(**p)), num_steps=T)
    assert program["n"].decay[0] == round(4096 * beta)
    said = [note for note in program.metadata["assumptions"] if "in Q0.12" in note]
    assert len(said) == (beta in (1e-5, 0.9999, 0.99999))
    if beta == 0.9999:
        assert said[0].endswith(
            "is a decay of 0.9999, in Q0.12 4096 of 4096: its membrane is up to 0.30% off within 60 steps."
        )
    x = spikes_in(rng)
    expected = simulate("LIF", p, x @ w.T)
    assert (spikes_of(program, x) == expected).mean() > 0.99


def test_a_leak_that_rounding_would_drop_is_refused():
    one = np.ones(1)
    lif = nir.LIF(tau=10 * one, r=1e4 * one, v_leak=0 * one, v_threshold=one)
    graph = graph_of("x w, w n", w=nir.Linear(np.ones((1, M))), n=lif)
    assert decay_error(np.array([0.9999]), 900)[0] < MOST_ERROR < decay_error(np.array([0.9999]), 1000)[0]
    compile_nir(graph, num_steps=900)
    with pytest.raises(
        CompileError,
        match=r"decay of 0.9999 .* rounds to 4096 of 4096: .* 5.1% within 1000 steps, .* num_steps up to 512",
    ):
        compile_nir(graph, num_steps=1000)
    # What compiled before compiles, and says how far it is off.
    lif.tau = 5 * one
    said = compile_nir(graph, num_steps=1000).metadata["assumptions"]
    assert any("is a decay of 0.9998, in Q0.12 4095 of 4096: its membrane is up to 2.1" in note for note in said)


# ---- axes of 1


def same_spikes(graph, plain, x):
    one, other = (compile_nir(each, num_steps=T) for each in (graph, plain))
    np.testing.assert_array_equal(spikes_of(one, x), spikes_of(other, x))
    return [note for note in one.metadata["assumptions"] if "axes of 1" in note]


def test_a_batch_axis_and_an_output_with_axes_of_1():
    rng, one = rng_of(6), np.ones(1)
    p = {"tau": 8e-3 * one, "r": 8 * one, "v_leak": 0 * one, "v_threshold": one}
    w, x = nir.Linear(on_grid(rng, 1, M)), spikes_in(rng)
    plain = graph_of("x w, w n, n out", w=w, n=nir.LIF(**p), out=nir.Output(np.array([1])))
    wide = graph_of(
        "x w, w n, n out", x=nir.Input(np.array([1, M])), w=w, n=nir.LIF(**p), out=nir.Output(np.array([1, 1, 1]))
    )
    assert same_spikes(wide, plain, x) == [
        "w takes [12] where x gives [1, 12]: axes of 1 count for nothing.",
        "out takes [1, 1, 1] where n gives [1]: axes of 1 count for nothing.",
    ]
    for shape in ([2, M], [M, 2]):
        with pytest.raises(CompileError, match="takes an input of shape"):
            compile_nir(graph_of("x w, w n", x=nir.Input(np.array(shape)), w=w, n=nir.LIF(**p)), num_steps=T)


def test_a_batch_axis_goes_through_convolutions_flatten_and_sums():
    """As sinabs writes them: neurons [1, C, H, W], a Flatten that counts the batch, two paths of other shapes."""
    rng = rng_of(7)
    kernel, u = on_grid(rng, 3, 2, 3, 3), on_grid(rng, N, 48, scale=1 / 128)
    skip, one, x = on_grid(rng, N, 32, scale=1 / 128), np.ones(N), spikes_in(rng, 0.3, 32)

    def graph(lead, flatten, skipped):
        big = np.ones((*lead, 3, 4, 4))
        return graph_of(
            "x c, c a, a f, f u, u n, x g, g s, s n",
            x=nir.Input(np.array([*lead, 2, 4, 4])), c=nir.Conv2d(None, kernel, 1, 1, 1, 1, np.zeros(3)),
            a=nir.IF(r=1e3 * big, v_threshold=2 * big), f=flatten, u=nir.Linear(u), g=skipped, s=nir.Linear(skip),
            n=nir.IF(r=1e3 * one, v_threshold=one),
        )  # fmt: skip

    plain = graph((), nir.Flatten(None, 0, -1), nir.Flatten(None, 0, -1))
    sinabs = {"input": np.array([0, 0, 0, 0])}
    for lead, flatten in (
        ((1,), nir.Flatten(None, 1, -1)),
        ((), nir.Flatten(sinabs, 1, -1)),
        ((1,), nir.Flatten(None, 0, -1)),
    ):
        same_spikes(graph(lead, flatten, flatten), plain, x)
    assert spikes_of(compile_nir(plain, num_steps=T), x).mean() > 0.05
    assert x.shape == (T, B, 32)


def test_one_channel_may_go_without_its_axis():
    rng = rng_of(8)
    conv, w = nir.Conv2d(None, on_grid(rng, 2, 1, 3, 3), 1, 0, 1, 1, np.zeros(2)), nir.Linear(on_grid(rng, N, 18))
    graphs = [
        graph_of(
            "x c, c f, f w, w n",
            x=nir.Input(np.array(shape)), c=conv, f=nir.Flatten(None, -3, -1), w=w,
            n=nir.IF(r=np.full(N, 1e3), v_threshold=np.full(N, 2.0)),
        )
        for shape in ([5, 5], [1, 5, 5])
    ]  # fmt: skip
    assert len(same_spikes(*graphs, spikes_in(rng, 0.3, 25))) == 1
