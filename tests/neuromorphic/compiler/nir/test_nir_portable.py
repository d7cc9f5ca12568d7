"""Exported graphs as other tools read them: snnTorch, Norse and SpikingJelly change no spike."""

import copy

import nir
import numpy as np
import pytest
import torch
from test_nir_export import as_seen, classifier, input_of, vector, weights
from torch import nn

import pnbx_snn
from module_nets import norse_net, snntorch_net, spikes_in, tuned
from neuromorphic import LIF, Dense, Input, Program, Readout, run
from neuromorphic.compiler import compile_layers, compile_model, compile_nir, graph_of, save_nir, to_nir
from neuromorphic.compiler.nir.portable import portable
from neuromorphic.errors import CompileError
from neuromorphic.ops import LI, Delay, Scale
from nir_oracle import evaluate
from nir_readers import READERS

pytestmark = pytest.mark.filterwarnings("ignore:nirtorch.load is being deprecated:DeprecationWarning")

T = 40
ONE = {"r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}


def neurons_of(graph):
    return {name: node for name, node in graph.nodes.items() if type(node).__name__ in ("LIF", "CubaLIF", "IF")}


def until(graph, name):
    """Return a graph that ends in a population: with two Outputs, nirtorch's reader does not end."""
    before = {name}
    for _ in graph.nodes:
        before |= {source for source, target in graph.edges if target in before}
    kept = {n: node for n, node in graph.nodes.items() if n in before}
    edges = [edge for edge in graph.edges if set(edge) <= set(kept)]
    kept["output"] = nir.Output(kept[name].output_type["output"])
    return nir.NIRGraph(kept, [*edges, (name, "output")], metadata=graph.metadata)


# ---- a network, read by others


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("input_range", ["int8", "spikes"])
@pytest.mark.parametrize("primitive", ["leaky", "lif_box"])
def test_no_spike_of_a_network_is_changed(primitive, input_range, reader, tmp_path):
    model, inputs = classifier("zero", primitive, input_range)
    save_nir(to_nir(model), tmp_path / "net.nir")
    graph = nir.read(tmp_path / "net.nir")
    for node in neurons_of(graph).values():
        assert {field: np.unique(getattr(node, field)).tolist() for field in ONE} == {k: [v] for k, v in ONE.items()}
    with torch.no_grad():
        output = copy.deepcopy(model).double()(inputs.double())
    seen = as_seen(graph, inputs)
    for number, spikes in enumerate(output.spikes, start=1):
        assert 0.1 < spikes.mean() < 0.5
        np.testing.assert_array_equal(READERS[reader](until(graph, f"lif{number}"), seen), spikes.numpy())
    logits = READERS[reader](graph, seen).mean(axis=0)
    np.testing.assert_array_equal(logits.argmax(axis=1), output.logits.numpy().argmax(axis=1))


@pytest.mark.parametrize("reader", READERS)
def test_the_integer_form_is_read_by_none(reader):
    """Why the portable form is the default: two refuse the other, Norse leaves r out and gives other spikes."""
    model, inputs = classifier()
    graph = until(to_nir(model, form="integer"), "lif2")
    assert np.unique(graph.nodes["lif2"].r).size > 1
    with torch.no_grad():
        expected = copy.deepcopy(model).double()(inputs.double()).spikes[1].numpy()
    if reader == "Norse":
        assert (READERS[reader](graph, as_seen(graph, inputs)) != expected).sum() > 0.5 * expected.sum()
    else:
        with pytest.raises((AssertionError, ValueError), match="v_leak not supported|must be uniform"):
            READERS[reader](graph, as_seen(graph, inputs))


@pytest.mark.parametrize("reader", READERS)
def test_a_network_without_a_leak(reader):
    """An IF means three things to three readers, an LIF whose leak float32 does not show means one."""
    torch.manual_seed(1)
    layers = [(nn.Linear(12, 16), None, pnbx_snn.LIF(1.0, threshold=3.0)), (nn.Linear(16, 8), None, pnbx_snn.LIF(1.0))]
    inputs = (torch.rand(T, 8, 12) < 0.5).numpy().astype(np.int8)
    assert isinstance(to_nir(layers, form="integer").nodes["lif1"], nir.LIF | nir.IF)
    graph = to_nir(layers)
    assert [type(node) for node in neurons_of(graph).values()] == [nir.LIF, nir.LIF]
    expected = evaluate(to_nir(layers, form="integer"), inputs)["lif2"]
    assert 0.02 < expected.mean() < 0.5
    np.testing.assert_array_equal(READERS[reader](graph, inputs), expected)
    for form in ("portable", "integer"):
        program = compile_nir(to_nir(layers, form=form), num_steps=T)
        assert (program["lif1"].decay == 4096).all()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("kind", "net"), [("LIFBoxCell", norse_net("LIFBoxCell")), ("Leaky", snntorch_net("Leaky", "zero", False)),
                      ("Synaptic", snntorch_net("Synaptic", "zero", False))]
)  # fmt: skip
def test_networks_of_other_tools_in_a_file(kind, net, reader, tmp_path):
    """``graph_of`` and ``save_nir``: thresholds per neuron and all, also what came from another tool."""
    inputs = spikes_in()
    net = tuned(net, inputs)
    with torch.no_grad():
        theta = 0.7 + 0.6 * torch.rand(32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        if kind == "LIFBoxCell":
            net.net[1].p = net.net[1].p._replace(v_th=theta) if hasattr(net.net[1].p, "_replace") else net.net[1].p
        else:
            net.lif.threshold = nn.Parameter(theta)
        expected = net(inputs).numpy()
    save_nir(graph_of(net, inputs[:2], dt=1e-4), tmp_path / "net.nir")
    graph = nir.read(tmp_path / "net.nir")
    assert all(np.unique(node.v_threshold).tolist() == [1.0] for node in neurons_of(graph).values())
    name = next(iter(neurons_of(graph)))
    np.testing.assert_array_equal(evaluate(graph, inputs.numpy())[name], expected)
    got = READERS[reader](graph, inputs.numpy())  # in float32, where weights on a grid meet thresholds exactly
    assert (got != expected).mean() < 1e-3


# ---- a program, there and back


def programs():
    rng = np.random.default_rng(3)
    decay, theta = vector(3686, 16), rng.integers(150, 900, 16).astype(np.int32)
    first = (Input("x", 12), Dense("fc", "x", weights(rng, 16, 12), shift=1))
    bias = rng.integers(-20, 60, 16).astype(np.int32)
    readout = (Dense("out", "lif", weights(rng, 3, 16)), Readout("y", ("out",), vector(4, 3), shift=0))
    fine = (Dense("fine", "x", weights(rng, 16, 12)), LIF("lif", ("fc", "fine"), decay, theta, bias, shift=0))
    shared = (
        LIF("lif", ("fc",), decay, theta, bias, shift=1),
        LIF("other", ("fc",), vector(4096, 16), theta + 77, vector(0, 16), shift=1),
    )
    late = (
        Delay("late", "lif", 16, 1),
        Dense("back", "late", weights(rng, 16, 16) // 8),
        LIF("lif", ("fc", "back"), decay, theta, bias, shift=0),
    )
    scaled = (
        Scale("more", "x", rng.integers(1, 9, 12).astype(np.int32)),
        LI("li", ("more",), vector(4000, 12), vector(0, 12)),
    )
    made = {
        "one": (*first, LIF("lif", ("fc",), decay, theta, bias, shift=0), *readout),
        "two matrices": (*first, *fine, *readout),
        "shared matrix": (*first, *shared, *readout),
        "loop": (*first, *late, *readout),
        "values": (*first, LIF("lif", ("fc",), decay, theta, bias, shift=0), *scaled, *readout),
    }
    return {name: Program(ops, num_steps=T) for name, ops in made.items()}


@pytest.mark.parametrize("name", programs())
def test_a_program_comes_back_as_it_was(name):
    """Both forms compile back to the same program, threshold by threshold, each neuron in a unit of its own."""
    program = programs()[name]
    compiled = compile_nir(to_nir(program, round_trip="close", form="integer"), num_steps=T, weight_bits=8)
    inputs = (np.random.default_rng(0).random((T, 8, 12)) < 0.3).astype(np.int8)
    backs = [compile_nir(to_nir(compiled, form=form), num_steps=T) for form in ("integer", "portable")]
    expected, *got = (run(each, inputs).variables for each in (compiled, *backs))
    assert expected["lif.spikes"].mean() > 0.02
    for variables in got:
        for key in (key for key in expected if key.startswith(("lif", "other", "li."))):
            np.testing.assert_array_equal(variables[key], expected[key])
    one, other = (back["lif"] for back in backs)
    for field in ("threshold", "bias", "decay"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


@pytest.mark.parametrize("reader", READERS)
def test_a_program_read_by_others_differs_by_its_integers_alone(reader):
    """A program's leak rounds towards zero each step; other tools have real numbers: *measured* 0 to 9 of 25,265."""
    model, inputs = classifier()
    program = compile_model(model)
    graph = until(to_nir(program), "lif2")
    got, expected = READERS[reader](graph, as_seen(graph, inputs)), run(program, inputs.numpy()).spikes()["lif2"]
    assert (got != expected).sum() < 2e-3 * expected.sum()
    # Without a leak nothing rounds, and nothing differs.
    exact = Program(
        (
            Input("x", 12),
            Dense("fc", "x", weights(np.random.default_rng(0), 16, 12)),
            LIF("lif", ("fc",), vector(4096, 16), np.arange(300, 316, dtype=np.int32), vector(3, 16), shift=0),
        ),
        num_steps=T,
    )
    spikes = (np.random.default_rng(1).random((T, 8, 12)) < 0.3).astype(np.int8)
    got = READERS[reader](to_nir(exact, round_trip="close"), spikes)
    np.testing.assert_array_equal(got, run(exact, spikes).spikes()["lif"])


def test_the_fields_come_back_exactly():
    """Thresholds of 23 bits, which a rounding of 5e-7 would move."""
    theta = np.array([4194305, 4194304, 3, 8388000], dtype=np.int32)
    program = Program(
        (
            Input("x", 4),
            Dense("fc", "x", np.diag([127, 1, -3, 93]).astype(np.int8)),
            LIF("lif", ("fc",), vector(4090, 4), theta, np.array([4194300, 9, 1, -7], dtype=np.int32), shift=0),
        ),
        num_steps=5,
    )
    graphs = [to_nir(program, round_trip="close", form=form) for form in ("integer", "portable")]
    one, other = (compile_nir(graph, num_steps=5) for graph in graphs)
    for field in ("threshold", "bias", "decay", "shift"):
        np.testing.assert_array_equal(getattr(one["lif"], field), getattr(other["lif"], field))
    np.testing.assert_array_equal(one["lif_synapses"].weights, other["lif_synapses"].weights)


def test_what_another_hand_changes_counts():
    """Fields and weights of a portable graph mean what they say, unfolded ones beside them or not."""
    model, inputs = classifier()
    graph = to_nir(model)
    meaning = {key: int(compile_spikes(change(graph, key), inputs).sum()) for key in ("", "r", "theta", "leak", "bare")}
    other = {key: round(float(evaluate(change(graph, key), as_seen(graph, inputs))["lif1"].sum())) for key in meaning}
    assert meaning["bare"] == meaning[""]  # rows that integers hold exactly are found without the fields too
    assert len(set(meaning.values())) == 4
    for key, count in meaning.items():
        assert abs(count - other[key]) < 0.01 * other[key], key


def change(graph, key):
    graph = copy.deepcopy(graph)
    node = graph.nodes["lif1"]
    if key == "r":
        node.r = node.r * 1.5
    if key == "theta":
        node.v_threshold = node.v_threshold * 2
    if key == "leak":
        node.v_leak = node.v_leak + 0.3
    if key == "bare":
        node.metadata = {k: v for k, v in node.metadata.items() if not k.startswith("unfolded")}
    return graph


def compile_spikes(graph, inputs):
    return run(compile_nir(graph, num_steps=T, **input_of(graph)), inputs.numpy()).spikes()["lif1"]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"unfolded_r": np.ones(3)}, r"metadata unfolded_r must have shape \[40\], got \[3\]"),
        ({"unfolded_r": np.zeros(40)}, "metadata unfolded_r must not hold 0"),
        ({"unfolded_v_threshold": np.full(40, np.nan)}, "v_threshold holds NaN"),
        ({"unfolded_v_leak": "three"}, "v_leak must be numbers"),
    ],
)
def test_damaged_metadata_is_refused(metadata, message):
    model, _ = classifier()
    graph = to_nir(model)
    graph.nodes["lif1"].metadata |= metadata
    with pytest.raises(CompileError, match=message):
        compile_nir(graph, num_steps=T)


# ---- what the form cannot say, said


def notes_of(what, **options):
    return to_nir(what, round_trip="close", **options).metadata["notes"]


@pytest.mark.parametrize(
    ("reset", "words"),
    [
        ("subtract", "resets by subtraction, for which NIR has no field"),
        ("none", "resets never"),
        ("zero_delayed", "resets to zero a step late"),
        ("subtract_delayed", "resets by subtraction a step late"),
    ],
)
def test_resets_that_others_do_not_have(reset, words):
    program = programs()["one"]
    lif = program["lif"]
    ops = [
        LIF("lif", op.sources, lif.decay, lif.threshold, lif.bias, shift=0, reset=reset) if op is lif else op
        for op in program.ops
    ]
    assert f"lif: {words}" in notes_of(Program(tuple(ops), num_steps=T))
    assert "resets" not in notes_of(program)


def test_what_readers_leave_out_is_said():
    made = programs()
    assert "late: snnTorch and SpikingJelly read no Delay" in notes_of(made["loop"])
    assert "lif: reads several nodes, of which Norse's reader takes one" in notes_of(made["loop"])
    assert "lies in a loop" not in notes_of(made["loop"])  # a Delay is refused first
    assert "li: snnTorch and SpikingJelly read no LI" in notes_of(made["values"])
    assert "nodes are Outputs" in notes_of(made["shared matrix"])
    assert "several" not in notes_of(made["two matrices"])  # matrices from one source are added up
    assert "say so to Norse's" in notes_of(made["one"])
    assert "It therefore reads other decays" in notes_of(made["one"], dt=1e-3)
    layers = [(nn.Linear(4, 3), None, pnbx_snn.LIF(torch.tensor([0.5, 0.6, 0.7])))]
    assert "lif1: its neurons have several decays" in notes_of(layers)
    assert "lif1: keeps nothing of the step before" in notes_of([(nn.Linear(4, 3), None, pnbx_snn.LIF(0.0))])
    model, _ = classifier()
    assert "Inputs are whole numbers of" in notes_of(model)
    inputs = spikes_in()
    looped = portable(graph_of(tuned(snntorch_net("RLeaky-all", "zero", False), inputs), inputs[:2])).metadata["notes"]
    assert "lif: lies in a loop" in looped


def test_the_notes_about_readers_are_so():
    """Norse takes one of two sources and leaves an LI out, snnTorch one scale for several decays, without a word."""
    one, w = np.ones(2), np.array([[30.0, 0.0], [0.0, 30.0]])
    x = np.ones((3, 1, 2))
    ends = {"input": nir.Input(np.array([2])), "output": nir.Output(np.array([2]))}
    lif = {"tau": 1e-3 * one, "r": one, "v_leak": 0 * one, "v_threshold": one, "v_reset": 0 * one}

    def graph(edges, **nodes):
        pairs = [tuple(edge.split()) for edge in edges.split(",")]
        return nir.NIRGraph({**ends, **nodes}, pairs, metadata={"dt": 1e-4})

    two = graph("input a, input b, a n, b n, n output", a=nir.Linear(w), b=nir.Linear(w), n=nir.LIF(**lif))
    assert set(np.unique(READERS["Norse"](two, x))) != {0.0, 1.0}  # currents, no spikes
    np.testing.assert_array_equal(READERS["snnTorch"](two, x), READERS["SpikingJelly"](two, x))
    loop = graph("input a, a n, n b, b n, n output", a=nir.Linear(w), b=nir.Linear(-w / 2), n=nir.LIF(**lif))
    np.testing.assert_array_equal(READERS["Norse"](loop, x), evaluate(loop, x)["n"])
    assert (READERS["snnTorch"](loop, x) != evaluate(loop, x)["n"]).any()
    li = nir.LI(tau=1e-3 * one, r=one, v_leak=0 * one)
    values = graph("input a, a n, n output", a=nir.Linear(w), n=li)
    assert READERS["Norse"](values, x)[0, 0, 0] == 30.0  # an LI would give 3
    for reader in ("snnTorch", "SpikingJelly"):
        with pytest.raises(ValueError, match="Unknown node type"):
            READERS[reader](values, x)
    lif["tau"] = np.array([2e-4, 1e-3])
    decays = graph("input a, a n, n output", a=nir.Linear(w / 10), n=nir.LIF(**lif))
    expected = evaluate(decays, x)["n"]
    np.testing.assert_array_equal(READERS["Norse"](decays, x), expected)
    assert (READERS["snnTorch"](decays, x) != expected).any()
    with pytest.raises(ValueError, match="uniform"):
        READERS["SpikingJelly"](decays, x)


def test_the_rules_of_spikingjelly_are_its_own():
    """Where SpikingJelly is installed, its reader gives what the rules written down here give."""
    exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange", reason="SpikingJelly is not installed")
    model, inputs = classifier()
    graph = until(to_nir(model), "lif2")
    net, state, given = exchange.import_from_nir(copy.deepcopy(graph), dt=1e-4), None, []
    for x in torch.from_numpy(as_seen(graph, inputs)).float():
        y, state = net(x, state)
        given.append(y.detach().numpy())
    np.testing.assert_array_equal(np.array(given), READERS["SpikingJelly"](graph, as_seen(graph, inputs)))


def test_scales_that_no_weights_can_take_stay():
    """A neuron right behind the input, or a v_reset other than 0: as they were, and a note says so."""
    one = np.ones(2)
    lif = nir.LIF(tau=1e-3 * one, r=5 * one, v_leak=0 * one, v_threshold=2 * one, v_reset=0 * one)
    ends = {"input": nir.Input(np.array([2])), "output": nir.Output(np.array([2]))}
    graph = nir.NIRGraph({**ends, "n": lif}, [("input", "n"), ("n", "output")], metadata={"dt": 1e-4})
    made = portable(graph)
    assert made.nodes["n"] is lif
    assert "n: r, v_leak, v_threshold or v_reset could not move into weights" in made.metadata["notes"]
    assert portable(made) is made
    with pytest.raises(CompileError, match="form must be 'portable' or 'integer', got 'float'"):
        to_nir(programs()["one"], form="float")


@pytest.mark.parametrize("pool", [False, True])
def test_channels_of_convolutions(pool):
    """A factor per channel moves into a kernel, one for all through a pool; the meaning stays."""
    rng = np.random.default_rng(0)
    shape = (3, 2, 2) if pool else (3, 4, 4)
    per_channel = np.array([0.5, 1.0, 1.5])[:, None, None] * np.ones(shape)
    uniform, one = np.full(shape, 0.7), np.ones(shape)
    nodes = {
        "input": nir.Input(np.array([2, 4, 4])),
        "c": nir.Conv2d(None, rng.normal(0, 3, (3, 2, 3, 3)), 1, 1, 1, 1, rng.normal(0, 1, 3)),
        "p": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "n": nir.LIF(
            tau=1e-3 * one, r=2 * (uniform if pool else per_channel), v_leak=0 * one if pool else 0.4 * per_channel,
            v_threshold=uniform if pool else per_channel + 0.2, v_reset=0 * one,
        ),
        "output": nir.Output(np.array(shape)),
    }  # fmt: skip
    edges = [("input", "c"), ("c", "p"), ("p", "n"), ("n", "output")]
    if not pool:
        del nodes["p"]
        edges = [("input", "c"), ("c", "n"), ("n", "output")]
    graph = nir.NIRGraph(nodes, edges, metadata={"dt": 1e-4})
    made = portable(graph)
    assert np.unique(made.nodes["n"].v_threshold).tolist() == [1.0]
    x = (rng.random((T, 4, 2, 4, 4)) < 0.4).astype(np.float64)
    expected = evaluate(graph, x)["n"]
    assert 0.02 < expected.mean() < 0.9
    np.testing.assert_array_equal(evaluate(made, x)["n"], expected)
    flat = x.reshape(T, 4, 32).astype(np.int8)
    one_way, other = (run(compile_nir(g, num_steps=T), flat).spikes()["n"] for g in (graph, made))
    np.testing.assert_array_equal(one_way, other)


def test_layers_with_thresholds_of_their_own():
    """Each neuron in a unit of its own: the compiled program is the same from either form."""
    torch.manual_seed(0)
    layers = [(nn.Linear(12, 16), nn.BatchNorm1d(16).eval(), pnbx_snn.LIF(0.875, threshold=torch.linspace(0.1, 2, 16)))]
    layers[0][1].weight.data.uniform_(-2, 2)
    inputs = (torch.rand(T, 8, 12) < 0.5).numpy().astype(np.int8)
    got = [
        run(compile_nir(to_nir(layers, form=form), num_steps=T), inputs).spikes()["lif1"]
        for form in ("portable", "integer")
    ]
    np.testing.assert_array_equal(*got)
    assert (got[0] == run(compile_layers(layers, num_steps=T), inputs).spikes()["lif1"]).mean() > 0.99
