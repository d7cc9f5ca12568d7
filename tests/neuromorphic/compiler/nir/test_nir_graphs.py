"""NIR graphs as programs: each node against its equations in float64, chains, loops, delays, sub-graphs."""

import os
from pathlib import Path

import nir
import numpy as np
import pytest
import snntorch
import torch
from torch import nn

from neuromorphic import Program, prove, run
from neuromorphic.compiler import compile_nir
from neuromorphic.compiler.nir.signals import Signals
from neuromorphic.compiler.nir.wiring import Wiring
from neuromorphic.compiler.weight_integers import integers_of
from neuromorphic.errors import CompileError
from neuromorphic.ops import LI, LIF, Delay, Delays, Dense, Readout, Scale, SumPool
from nir_nets import DT, B, M, N, T, graph_of, on_grid, one_lif, parameters, rng_of, simulate, spikes_in, ternary


def got(program, inputs, name):
    """Spikes of a population, or its state in real units."""
    variables = run(program, inputs).variables
    if f"{name}.spikes" in variables:
        return variables[f"{name}.spikes"].astype(bool)
    key = f"{name}.v" if f"{name}.v" in variables else f"{name}.y"
    return variables[key] * program.metadata["units"][name]


def assert_near(kind, actual, expected, least=0.99):
    if actual.dtype == bool:
        assert 0.02 < expected.mean() < 0.7
        assert (actual == expected).mean() >= least
    else:
        assert np.abs(actual - expected).max() <= 0.02 * np.abs(expected).max(), kind


# One population after weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["grid", "any", "ternary"])
@pytest.mark.parametrize("kind", ["I", "LI", "IF", "LIF", "CubaLI", "CubaLIF", "Threshold"])
def test_a_population_follows_its_equations(kind, weights):
    rng = rng_of(len(kind))
    w = {"grid": on_grid, "any": lambda r, *s: r.normal(0, 0.4, s), "ternary": ternary}[weights](rng, N, M)
    b, p = rng.normal(0, 0.05, N), parameters(rng, kind)
    program = compile_nir(
        graph_of("x w, w n, n out", w=nir.Affine(w, b), n=getattr(nir, kind)(**p), out=nir.Output(np.array([N]))),
        num_steps=T,
    )
    x = spikes_in(rng)
    assert_near(kind, got(program, x, "n"), simulate(kind, p, x @ w.T + b), 0.985 if weights == "any" else 0.995)
    assert not any(isinstance(op, Readout) for op in program.ops)
    assert isinstance(program.ops[-1], LI if kind in ("I", "LI", "CubaLI") else LIF)


@pytest.mark.parametrize("kind", ["IF", "LIF", "Threshold"])
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.75])
def test_ternary_weights_and_exact_decays_are_exact(kind, beta):
    for seed in range(5):
        rng = rng_of(seed)
        w = ternary(rng, N, M, scale=0.3)
        p = {
            "IF": {"r": np.full(N, 1 / DT), "v_threshold": rng.uniform(0.5, 2, N)},
            "LIF": {"tau": np.full(N, DT / (1 - beta)), "v_leak": np.zeros(N), "v_threshold": rng.uniform(0.5, 2, N)},
            "Threshold": {"threshold": rng.uniform(-0.5, 1, N)},
        }[kind]
        if kind == "LIF":
            p["r"] = np.full(N, 1 / (1 - beta))
        program = compile_nir(graph_of("x w, w n", w=nir.Linear(w), n=getattr(nir, kind)(**p)), num_steps=T)
        x = spikes_in(rng)
        expected = simulate(kind, p, x @ w.T)
        assert program["n_synapses"].is_ternary
        np.testing.assert_array_equal(got(program, x, "n"), expected)
        assert expected.any()


def test_numbers_that_float32_left_beside_a_tie_are_the_tie():
    """snnTorch's export divides in float32; a membrane of exactly the threshold must stay silent."""
    beta, one = np.float32(0.9), np.ones(1, dtype=np.float32)
    tau = np.float32(1e-4) / (1 - beta) * one
    lif = nir.LIF(tau=tau, r=tau / np.float32(1e-4), v_leak=0 * one, v_threshold=one)
    program = compile_nir(nir.NIRGraph.from_list(nir.Linear(np.array([[1.0]])), lif), num_steps=2)
    assert int(program["lif"].threshold[0]) == 1 << program["lif"].shift
    assert not got(program, np.ones((1, 1, 1), dtype=np.int8), "lif").any()


@pytest.mark.parametrize("seed", range(3))
def test_signs_of_r_and_dead_inputs(seed):
    rng = rng_of(seed)
    w, p = on_grid(rng, N, M), parameters(rng, "LIF")
    p["r"] = p["r"] * rng.choice([-1, 1], N)
    p["r"][0], w[1] = 0.0, 0.0
    program = compile_nir(graph_of("x w, w n", w=nir.Linear(w), n=nir.LIF(**p)), num_steps=T)
    x = spikes_in(rng)
    assert_near("LIF", got(program, x, "n"), simulate("LIF", p, x @ w.T), 0.995)


@pytest.mark.parametrize("leak", [0.3, -0.4])
def test_a_reset_to_the_leak_counts_from_it(leak):
    rng = rng_of(3)
    w, p = on_grid(rng, N, M), parameters(rng, "LIF")
    p["v_leak"] = p["v_reset"] = np.full(N, leak)
    program = compile_nir(graph_of("x w, w n", w=nir.Linear(w), n=nir.LIF(**p)), num_steps=T)
    x = spikes_in(rng)
    expected = simulate("LIF", {**p, "v_leak": 0.0, "v_reset": 0.0, "v_threshold": p["v_threshold"] - leak}, x @ w.T)
    assert_near("LIF", got(program, x, "n"), expected, 0.995)
    assert "voltages are counted from v_leak" in " ".join(program.metadata["assumptions"])


@pytest.mark.parametrize(
    ("mechanism", "delay", "ours"),
    [
        ("zero", False, "zero"),
        ("zero", True, "zero_delayed"),
        ("subtract", False, "subtract_snntorch"),
        ("subtract", True, "subtract_delayed"),
        ("none", False, "none"),
        ("none", True, "none"),
    ],
)
@torch.no_grad()
def test_resets_from_metadata_are_snntorchs(mechanism, delay, ours, tmp_path):
    rng, beta = rng_of(5), 0.875
    w = on_grid(rng, N, M)
    one = np.ones(N)
    meta = {"reset_mechanism": mechanism, "reset_delay": delay, "primitive": "leaky"}
    lif = nir.LIF(tau=DT / (1 - beta) * one, r=one / (1 - beta), v_leak=0 * one, v_threshold=one, metadata=meta)
    nir.write(tmp_path / "g.nir", graph_of("x w, w n", w=nir.Linear(w), n=lif))
    program = compile_nir(tmp_path / "g.nir", num_steps=T)
    assert program["n"].reset == ours
    neuron = snntorch.Leaky(beta=beta, reset_mechanism=mechanism, reset_delay=delay)
    x, mem, expected = spikes_in(rng), torch.zeros(B, N, dtype=torch.float64), []
    for current in torch.from_numpy(x @ w.T):
        spikes, mem = neuron(current, mem)
        expected.append(spikes.numpy() > 0)
    assert_near("LIF", got(program, x, "n"), np.array(expected), 0.998)
    for changed, named in (({"primitive": "lif_box"}, "subtract"), ({"primitive": None}, "subtract")):
        node = nir.LIF(**{f: getattr(lif, f) for f in ("tau", "r", "v_leak", "v_threshold")})
        node.metadata = {k: v for k, v in {**meta, **changed}.items() if v is not None}
        other = compile_nir(graph_of("x w, w n", w=nir.Linear(w), n=node), num_steps=T)["n"].reset
        assert other == (named if ours == "subtract_snntorch" else ours)


# Chains, several sources, values -------------------------------------------------------------------------------------


def layers_2d(rng):
    """A chain of nodes and the same in torch."""
    conv = nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2).double()
    same = nn.Conv2d(4, 3, (3, 4), padding="same").double()
    linear = nn.Linear(3 * 2 * 5, N).double()
    chain = nn.Sequential(conv, same, nn.AvgPool2d(2), nn.Flatten(), linear)
    arrays = {m: (m.weight.detach().numpy(), m.bias.detach().numpy()) for m in (conv, same, linear)}
    nodes = {
        "c": nir.Conv2d((8, 8), arrays[conv][0], (2, 1), (1, 2), (1, 2), 2, arrays[conv][1]),
        "s": nir.Conv2d(None, arrays[same][0], 1, "same", 1, 1, arrays[same][1]),
        "p": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "f": nir.Flatten(None, 0, -1),
        "w": nir.Affine(*arrays[linear]),
    }
    return chain, nodes, "x c, c s, s p, p f, f w, w n"


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
def test_a_chain_is_one_matrix_equal_to_torchs():
    torch.manual_seed(0)
    rng = rng_of(0)
    chain, nodes, edges = layers_2d(rng)
    p = {"r": np.full(N, 5.0), "tau": np.full(N, 5e-3), "v_leak": np.zeros(N), "v_threshold": np.full(N, 0.8)}
    graph = graph_of(edges, x=nir.Input(np.array([2, 8, 8])), n=nir.LIF(**p), **nodes)
    signal = Signals(Wiring(graph, DT)).reaching("n")
    x = spikes_in(rng, 0.5, 2 * 8 * 8)
    with torch.no_grad():
        expected = chain(torch.from_numpy(x.reshape(T * B, 2, 8, 8)).double()).numpy().reshape(T, B, N)
    [(source, path)] = signal.terms  # a convolution behind a convolution is multiplied out
    assert (source, path.steps, path.weights.ndim) == ("x", 0, 2)
    np.testing.assert_allclose(x @ path.weights.T + signal.offset, expected, atol=1e-12)
    program = compile_nir(graph, num_steps=T)
    assert [type(op) for op in program.ops[1:]] == [Dense, LIF]
    p["v_threshold"] = np.maximum(3 * expected.mean((0, 1)), 0.05)
    graph.nodes["n"] = nir.LIF(**p)
    spikes = got(compile_nir(graph, num_steps=T), x, "n")
    assert_near("LIF", spikes, simulate("LIF", p, expected), 0.98)
    rounded = integers(path.weights, own_units=True)  # what is left is the rounding of 8 bits
    assert_near("LIF", spikes, simulate("LIF", p, x @ rounded.T + signal.offset), 0.998)


@pytest.mark.parametrize("padding", [0, 2, "valid", "same"])
def test_conv1d_and_sum_pool(padding):
    rng = rng_of(1)
    stride = 1 if padding == "same" else 2
    conv = nn.Conv1d(2, 3, 3, stride=stride, padding=padding, dilation=2).double()
    weight, bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    node = nir.Conv1d(10, weight, stride, padding, 2, 1, bias)
    x = torch.from_numpy(rng.random((4, 2, 10)))
    expected = conv(x).detach().numpy()
    graph = graph_of("x c, c n", x=nir.Input(np.array([2, 10])), c=node, n=nir.I(r=np.ones(expected.shape[1:])))
    signal = Signals(Wiring(graph, DT)).reaching("n")
    [(_, path)] = signal.terms
    assert path.weights.shape == (3, 2, 1, 3)
    actual = given_by(path, x.numpy().reshape(4, -1)) + signal.offset
    np.testing.assert_allclose(actual.reshape(expected.shape), expected, atol=1e-12)
    pool = nir.SumPool2d(np.array([2, 3]), np.array([2, 1]), np.array([0, 1]))
    y = torch.from_numpy(rng.random((4, 2, 6, 5)))
    sums = 6 * nn.functional.avg_pool2d(y, (2, 3), (2, 1), (0, 1)).numpy()
    graph = graph_of("x p, p n", x=nir.Input(np.array([2, 6, 5])), p=pool, n=nir.I(r=np.ones(sums.shape[1:])))
    [(_, path)] = Signals(Wiring(graph, DT)).reaching("n").terms
    assert path.weights.tolist() == [1.0, 1.0]  # of each channel: only the pool sums
    np.testing.assert_allclose(given_by(path, y.numpy().reshape(4, -1)).reshape(sums.shape), sums, atol=1e-12)
    program = compile_nir(graph, num_steps=3)
    assert [type(op) for op in program.ops[1:]] == [SumPool, LI]


def given_by(path, x):
    """What a path makes of values ``[B, N]``, by torch."""
    image, layout = torch.from_numpy(x), path.layout

    def pooled(image, window):
        pool = nn.functional.avg_pool2d
        return pool(image.unflatten(1, (-1, *window.size)), window.kernel, window.stride, window.padding) * window.area

    for window in layout.before:
        image = pooled(image, window).flatten(1)
    if layout.conv is None:
        count = image.shape[1] // len(path.weights)
        return (image.unflatten(1, (-1, count)) * torch.from_numpy(path.weights)[:, None]).flatten(1).numpy()
    conv = layout.conv
    where = {"stride": conv.stride, "padding": conv.padding, "dilation": conv.dilation, "groups": conv.groups}
    image = image.unflatten(1, (-1, *conv.size))
    image = nn.functional.conv2d(image, torch.from_numpy(path.weights), **where).flatten(1)
    for window in layout.after:
        image = pooled(image, window).flatten(1)
    return image.numpy()


def planes(weights, *, own_units=False, bits=None):
    return integers_of([weights], [1.0], ["n"], own_units=own_units, bits=bits)[0]


def integers(weights, **options):
    """Weights as they come back from integers."""
    return sum(plane.weights * plane.unit[:, None] for plane in planes(weights, **options))


def test_weights_of_15_bits_are_two_matrices():
    rng = rng_of(4)
    weights = rng.normal(0, 0.3, (N, M))
    coarse, fine = planes(weights, bits=15)
    assert (coarse.unit == 128 * fine.unit).all()
    assert np.abs(integers(weights, bits=15) - weights).max() <= fine.unit.max() / 2
    assert np.abs(weights).max() / fine.unit.max() > 8128
    for bound in (127.0, -127.0, 126.999, 0.5 + 1 / 256):
        assert abs(integers(np.array([[bound, 1.0]]), bits=15)[0, 0] - bound) <= 1 / 256
    assert [len(planes(w, bits=15)) for w in (on_grid(rng, N, M), ternary(rng, N, M, scale=0.3))] == [1, 1]


@pytest.mark.parametrize("kind", ["LIF", "CubaLIF"])
def test_a_recurrent_network_needs_15_bits(kind):
    """What 8 bits lose comes back through the loop; 15 bits keep nearly every spike, and are taken unasked."""
    equal = {8: [], 15: [], None: []}
    for seed in range(4):
        rng = rng_of(seed)
        w, u, p = rng.normal(0, 0.4, (N, M)), rng.normal(0, 0.4, (N, N)), parameters(rng, kind)
        graph = graph_of("x w, w n, n u, u n", w=nir.Linear(w), u=nir.Linear(u), n=getattr(nir, kind)(**p))
        x = spikes_in(rng)
        expected = simulate(kind, p, x @ w.T, recurrent=u)
        assert 0.01 < expected.mean() < 0.7
        for bits, fractions in equal.items():
            program = compile_nir(graph, num_steps=T, weight_bits=bits)
            fractions.append((got(program, x, "n") == expected).mean())
    assert 1 - np.mean(equal[15]) < 0.2 * (1 - np.mean(equal[8]))
    assert np.mean(equal[15]) > 0.995
    assert equal[None] == equal[15]


def test_a_row_that_8_bits_would_silence_has_15():
    """A weight of 60 among 0.1s: in its 127th part the others are 0, and the neuron would never fire."""
    rng, p = rng_of(7), parameters(rng_of(7), "LIF")
    w = rng.uniform(0.05, 0.15, (N, M))
    w[0, 0] = 60.0
    p["v_threshold"] = np.full(N, 0.2)
    graph = graph_of("x w, w n", w=nir.Linear(w), n=nir.LIF(**p))
    x = spikes_in(rng, 0.5)
    x[:, :, 0] = 0
    expected = simulate("LIF", p, x @ w.T)
    assert expected[:, :, 0].mean() > 0.02
    spikes = {bits: got(compile_nir(graph, num_steps=T, weight_bits=bits), x, "n")[:, :, 0] for bits in (8, None)}
    assert not spikes[8].any()
    assert (spikes[None] == expected[:, :, 0]).mean() > 0.99


def test_values_have_15_bits_too():
    rng = rng_of(5)
    p, q = parameters(rng, "LI"), parameters(rng, "LIF")
    w, u = on_grid(rng, N, M), rng.normal(0, 0.4, (N, N))
    graph = graph_of("x w, w a, a u, u n", w=nir.Linear(w), a=nir.LI(**p), u=nir.Linear(u), n=nir.LIF(**q))
    x = spikes_in(rng, 0.5)
    expected = simulate("LIF", q, simulate("LI", p, x @ w.T) @ u.T)
    eight, fifteen = (
        (got(compile_nir(graph, num_steps=T, weight_bits=bits), x, "n") == expected).mean() for bits in (8, 15)
    )
    assert fifteen > max(eight, 0.998)


def test_a_reset_can_be_assumed():
    rng, one = rng_of(6), np.ones(N)
    w = on_grid(rng, N, M)
    p = {"tau": 8 * DT * one, "r": 8 * one, "v_leak": 0 * one, "v_threshold": one}
    program = compile_nir(graph_of("x w, w n", w=nir.Linear(w), n=nir.LIF(**p)), num_steps=T, reset="subtract")
    assert program["n"].reset == "subtract"
    assert (
        "n: resets by subtraction in the same step; its metadata names no other reset."
        in (program.metadata["assumptions"])
    )
    says = nir.LIF(**p, metadata={"reset_mechanism": "zero"})
    assert (
        compile_nir(graph_of("x w, w n", w=nir.Linear(w), n=says), num_steps=T, reset="subtract")["n"].reset == "zero"
    )
    for options, message in (
        ({"reset": "half"}, "reset must be 'zero' or 'subtract', got 'half'"),
        ({"weight_bits": 9}, "weight_bits must be 8 or 15 or None, got 9"),
    ):
        with pytest.raises(CompileError, match=message):
            compile_nir(graph_of("x w, w n", w=nir.Linear(w), n=says), num_steps=T, **options)


def test_sources_of_different_scales_share_a_unit():
    """Ternary with an odd scale, 8 bits, one to one; from the input and from neurons."""
    rng = rng_of(2)
    p, q = parameters(rng, "LIF"), parameters(rng, "LIF", M)
    w, u, s = ternary(rng, N, M, scale=0.37), on_grid(rng, N, M, scale=1 / 256), rng.uniform(0.2, 0.6, M)
    graph = graph_of(
        "x s, s a, x w, a u, w n, u n",
        s=nir.Scale(s), a=nir.LIF(**q), w=nir.Linear(w), u=nir.Linear(u), n=nir.LIF(**p),
    )  # fmt: skip
    program = compile_nir(graph, num_steps=T)
    x = spikes_in(rng, 0.5)
    first = simulate("LIF", q, x * s)
    assert_near("LIF", got(program, x, "a"), first, 0.995)
    spikes = got(program, x, "a")
    assert_near("LIF", got(program, x, "n"), simulate("LIF", p, x @ w.T + spikes @ u.T), 0.99)
    assert isinstance(program["a_synapses"], Scale)
    # Powers of two need no factor: shifts alone.
    graph.nodes["w"] = nir.Linear(ternary(rng, N, M, scale=0.5))
    assert [type(op) for op in compile_nir(graph, num_steps=T).ops] == [
        type(program.input), Scale, LIF, Dense, Dense, LIF,
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["LI", "I", "CubaLI"])
def test_values_go_on_through_weights(kind):
    rng = rng_of(4)
    w, u, skip = on_grid(rng, N, M), rng.normal(0, 0.15, (N, N)), on_grid(rng, N, M, scale=1 / 128)
    p, q = parameters(rng, kind), parameters(rng, "LIF")
    if kind == "I":
        p["r"] = p["r"] / 20
    for edges in ("x w, w a, a u, u n, x skip, skip n", "x w, w a, a n"):
        nodes = {"w": nir.Linear(w), "a": getattr(nir, kind)(**p), "n": nir.LIF(**q)}
        if "skip" in edges:
            nodes |= {"u": nir.Linear(u), "skip": nir.Linear(skip)}
        program = compile_nir(graph_of(edges, **nodes), num_steps=T)
        x = spikes_in(rng)
        values = simulate(kind, p, x @ w.T)
        current = values @ u.T + x @ skip.T if "skip" in edges else values
        assert_near("LIF", got(program, x, "n"), simulate("LIF", q, current), 0.985)


def test_graded_inputs_have_a_scale_and_a_range():
    rng = rng_of(6)
    w, p = on_grid(rng, N, M), parameters(rng, "LIF")
    graph = graph_of("x w, w n", w=nir.Linear(w), n=nir.LIF(**p))
    x = rng.normal(0, 0.4, (T, B, M)).astype(np.float32)
    program = compile_nir(graph, num_steps=T, input_scale=1 / 100)
    assert (program.input.low, program.input.high, program.input.scale) == (-128, 127, 0.01)
    assert_near("LIF", got(program, x, "n"), simulate("LIF", p, np.rint(x * 100).clip(-128, 127) / 100 @ w.T), 0.995)
    program = compile_nir(graph, num_steps=T, input_scale=1 / 100, input_range=(0, 255))
    assert (program.input.low, program.input.high) == (0, 255)
    graph.metadata |= {"input_scale": 0.5, "input_low": np.int64(-7), "input_high": np.int64(9)}
    program = compile_nir(graph, num_steps=T)
    assert (program.input.low, program.input.high, program.input.scale) == (-7, 9, 0.5)
    assert compile_nir(graph, num_steps=T, input_scale=0.1).input.high == 127


@pytest.mark.parametrize("kind", ["LIF", "LI"])
def test_a_linear_end_is_a_running_sum(kind):
    rng = rng_of(7)
    w, u, b = on_grid(rng, N, M), on_grid(rng, 3, N), rng.normal(0, 0.3, 3)
    p = parameters(rng, kind)
    graph = graph_of(
        "x w, w a, a u, u out",
        w=nir.Linear(w), a=getattr(nir, kind)(**p), u=nir.Affine(u, b), out=nir.Output(np.array([3])),
    )  # fmt: skip
    program = compile_nir(graph, num_steps=T)
    x = spikes_in(rng)
    hidden = got(program, x, "a")
    expected = np.cumsum(hidden @ u.T + b, axis=0)
    assert isinstance(program["out"], Readout)
    np.testing.assert_allclose(got(program, x, "out"), expected, atol=3e-3 * np.abs(expected).max())
    np.testing.assert_array_equal(run(program, x).labels(), got(program, x, "out")[-1].argmax(axis=1))


# Loops, delays, sub-graphs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["IF", "LIF", "CubaLIF"])
def test_a_loop_acts_one_step_later(kind):
    rng = rng_of(8)
    w, u, p = on_grid(rng, N, M), on_grid(rng, N, N, scale=1 / 256), parameters(rng, kind)
    graph = graph_of("x w, w n, n u, u n", w=nir.Linear(w), n=getattr(nir, kind)(**p), u=nir.Linear(u))
    program = compile_nir(graph, num_steps=T)
    x = spikes_in(rng)
    assert_near(kind, got(program, x, "n"), simulate(kind, p, x @ w.T, recurrent=u), 0.97)
    assert [op.steps for op in program.of_type(Delay)] == [1]
    assert "u -> n closes a loop: it acts one step later." in program.metadata["assumptions"]
    assert len(prove(program)) == len(program.ops) - 2


def test_a_loop_in_exact_numbers_is_exact():
    for seed in range(5):
        rng = rng_of(seed)
        w, u = ternary(rng, N, M, scale=0.5), ternary(rng, N, N, scale=0.25)
        p = {"r": np.full(N, 1 / DT), "v_threshold": rng.uniform(0.5, 2, N)}
        graph = graph_of("x w, w n, n u, u n", w=nir.Linear(w), n=nir.IF(**p), u=nir.Linear(u))
        x = spikes_in(rng)
        expected = simulate("IF", p, x @ w.T, recurrent=u)
        np.testing.assert_array_equal(got(compile_nir(graph, num_steps=T), x, "n"), expected)


def test_a_loop_over_two_populations():
    rng = rng_of(9)
    w, u, back = ternary(rng, N, M, scale=0.5), ternary(rng, N, N, scale=0.5), ternary(rng, N, N, scale=0.25)
    p, q = ({"r": np.full(N, 1 / DT), "v_threshold": rng.uniform(0.5, 2, N)} for _ in range(2))
    graph = graph_of(
        "x w, w a, a u, u b, b back, back a",
        w=nir.Linear(w), a=nir.IF(**p), u=nir.Linear(u), b=nir.IF(**q), back=nir.Linear(back),
    )  # fmt: skip
    x = spikes_in(rng)
    va, vb, zb, expected = np.zeros((B, N)), np.zeros((B, N)), np.zeros((B, N)), []
    for t in range(T):
        va = va + x[t] @ w.T + zb @ back.T
        za = va > p["v_threshold"]
        va = np.where(za, 0, va)
        vb = vb + za @ u.T
        zb = vb > q["v_threshold"]
        vb = np.where(zb, 0, vb)
        expected.append((za, zb))
    program = compile_nir(graph, num_steps=T)
    for place, name in enumerate("ab"):
        np.testing.assert_array_equal(got(program, x, name), np.array(expected)[:, place])
    assert np.array(expected)[:, 1].any()


def sub_graph(lif, u):
    nodes = {"input": nir.Input(np.array([N])), "lif": lif, "w_rec": nir.Linear(u), "output": nir.Output(np.array([N]))}
    return nir.NIRGraph(nodes, [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")])


def test_a_sub_graph_is_its_nodes(tmp_path):
    """As snnTorch exports RLeaky: the loop inside, names joined."""
    rng = rng_of(10)
    w, u, p = on_grid(rng, N, M), on_grid(rng, N, N, scale=1 / 256), parameters(rng, "LIF")
    flat = graph_of("x w, w n, n u, u n", w=nir.Linear(w), n=nir.LIF(**p), u=nir.Linear(u))
    inner = sub_graph(nir.LIF(**p), u)
    outer = nir.NIRGraph(
        {"x": nir.Input(np.array([M])), "w": nir.Linear(w), "rnn.1": inner, "out": nir.Output(np.array([N]))},
        [("x", "w"), ("w", "rnn.1"), ("rnn.1", "out")],
        metadata={"dt": DT},
    )
    nir.write(tmp_path / "g.nir", outer)
    x = spikes_in(rng)
    expected = got(compile_nir(flat, num_steps=T), x, "n")
    for graph in (outer, tmp_path / "g.nir"):
        program = compile_nir(graph, num_steps=T)
        np.testing.assert_array_equal(got(program, x, "rnn_1_lif"), expected)
    deep = nir.NIRGraph(
        {"input": nir.Input(np.array([N])), "a": inner, "output": nir.Output(np.array([N]))},
        [("input", "a"), ("a", "output")],
    )
    outer.nodes["rnn.1"] = deep
    np.testing.assert_array_equal(got(compile_nir(outer, num_steps=T), x, "rnn_1_a_lif"), expected)


@pytest.mark.parametrize("before", [True, False])
def test_a_delay_shifts_events(before):
    """Before the weights and after them: the same, since weights are linear."""
    rng = rng_of(11)
    w, p = ternary(rng, N, M), {"r": np.full(N, 1 / DT), "v_threshold": rng.uniform(0.5, 2, N)}
    steps = rng.integers(0, 4, M if before else N)
    steps[:4] = [0, 1, 2, 3]
    delay = nir.Delay((steps * DT).astype(np.float32))
    edges = "x d, d w, w n" if before else "x w, w d, d n"
    program = compile_nir(graph_of(edges, w=nir.Linear(w), d=delay, n=nir.IF(**p)), num_steps=T)
    x = spikes_in(rng)

    def late(array):
        out = np.zeros_like(array)
        for column, s in enumerate(steps):
            out[s:, :, column] = array[: T - s, :, column]
        return out

    current = late(x) @ w.T if before else late(x @ w.T)
    np.testing.assert_array_equal(got(program, x, "n"), simulate("IF", p, current))
    if before:  # one length for each unit that is read
        [late] = program.of_type(Delays)
        np.testing.assert_array_equal(late.steps, np.where((w != 0).any(axis=0), steps, 0))
    else:  # a unit is read at several
        assert sorted(op.steps for op in program.of_type(Delay)) == [1, 2, 3]


def test_a_loop_with_a_delay_needs_no_other():
    rng = rng_of(12)
    w, u = ternary(rng, N, M, scale=0.5), ternary(rng, N, N, scale=0.25)
    p = {"r": np.full(N, 1 / DT), "v_threshold": rng.uniform(0.5, 2, N)}
    nodes = {"w": nir.Linear(w), "n": nir.IF(**p), "u": nir.Linear(u)}
    x = spikes_in(rng)
    expected = simulate("IF", p, x @ w.T, recurrent=u)
    for edges in ("x w, w n, n d, d u, u n", "x w, w n, n u, u d, d n"):
        program = compile_nir(graph_of(edges, d=nir.Delay(np.full(N, DT)), **nodes), num_steps=T)
        np.testing.assert_array_equal(got(program, x, "n"), expected)
        assert not any("closes a loop" in text for text in program.metadata["assumptions"])
    program = compile_nir(graph_of(edges, d=nir.Delay(np.full(N, 3 * DT)), **nodes), num_steps=T)
    assert [op.steps for op in program.of_type(Delay)] == [3]
    # A chain that only a delay feeds: everything after it stands in order.
    graph = graph_of("x w, w n, n d, d u, u m", d=nir.Delay(np.full(N, 2 * DT)), m=nir.IF(**p), **nodes)
    assert [op.name for op in compile_nir(graph, num_steps=T).of_type(LIF)] == ["n", "m"]


# What is said ---------------------------------------------------------------------------------------------------------


def test_the_step_is_the_callers_the_graphs_or_snntorchs():
    graph = graph_of("x w, w n", w=nir.Linear(np.ones((1, M))), n=one_lif())
    assert compile_nir(graph, num_steps=T, dt=2e-3).metadata["dt"] == 2e-3
    program = compile_nir(graph, num_steps=T)
    assert program.metadata["dt"] == DT
    assert program.metadata["source"] == "nir"
    assert program.metadata["versions"]["nir"] == nir.version
    assert program.metadata["assumptions"][0] == "A step is 0.001 s: the graph's own."
    assert "n: resets to zero in the same step; its metadata names no other reset." in program.metadata["assumptions"]
    graph.metadata = {}
    program = compile_nir(graph, num_steps=T)
    assert program.metadata["dt"] == 1e-4
    assert program.metadata["assumptions"][0] == "A step is 0.0001 s: snnTorch's, for the graph names none."


def test_single_numbers_stand_for_every_neuron():
    number = np.array(1.0)
    lif = nir.LIF(tau=number * 8 * DT, r=number, v_leak=number * 0, v_threshold=number)
    program = compile_nir(graph_of("x w, w n", w=nir.Linear(np.ones((3, M))), n=lif), num_steps=1)
    assert program["n"].size == 3
    assert "single numbers" in " ".join(program.metadata["assumptions"])


def test_the_papers_neuron_and_the_chips():
    """The parameters that the NIR paper's converter computes, and its recording of a Loihi 2 (see test_chip_trace)."""
    folder = Path(os.environ.get("PNBX_DATA", "")) / "loihi"
    if not os.environ.get("PNBX_DATA") or not folder.is_dir():
        pytest.skip("PNBX_DATA names no folder with loihi/lif_lava_loihi_fixed.csv")
    rows = np.loadtxt(folder / "lif_lava_loihi_fixed.csv", delimiter=",").astype(np.int32)
    # dv = 163, weight 10, threshold 25: a decay of (4096 - 163) / 4096; a spike moves the membrane by 10 of 25.
    p = {"tau": 4096 / 163 * 1e-4 * np.ones(1), "r": 4096 / 163 * np.ones(1), "v_leak": np.zeros(1)}
    p["v_threshold"] = 25 * np.ones(1)
    graph = nir.NIRGraph.from_list(nir.Linear(np.array([[10.0]])), nir.LIF(**p))
    program, x = compile_nir(graph, num_steps=1000), rows[:, :1, np.newaxis]
    spikes = got(program, x, "lif")
    np.testing.assert_array_equal(spikes, simulate("LIF", p, 10.0 * x, dt=1e-4))
    assert np.flatnonzero(spikes).tolist() == [450, 500, 710, 760]
    # The chip rounds at 6 fractional bits of a weight of 10, which moves two of them by ten steps.
    lif = program["lif"]
    assert lif.decay.tolist() == [4096 - 163]
    assert lif.threshold[0] * 10 == 25 << lif.shift
    coarse = LIF("lif", lif.sources, lif.decay, np.array([25 << 6], dtype=np.int32), lif.bias, shift=6)
    chip = Program((program.input, Dense(lif.sources[0], "input", np.array([[10]], dtype=np.int8)), coarse), 1000)
    spikes = run(chip, x).variables["lif.spikes"]
    assert np.flatnonzero(spikes).tolist() == [460, 510, 710, 760]  # the chip is one step late: its synapse takes one
    assert np.flatnonzero(rows[:, 2]).tolist() == [461, 511, 711, 761]
    program = compile_nir(folder / "lif_norse.nir", num_steps=1000)
    assert int(program["1"].decay[0]) == round(4096 * 0.96)
    spikes = got(program, x, "1")
    expected = simulate("LIF", {"tau": 0.0025, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.1}, x, dt=1e-4)
    assert np.flatnonzero(spikes).tolist() == np.flatnonzero(expected).tolist()
