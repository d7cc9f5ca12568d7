"""Every kind of layer of a netx file: equal to loops over steps, and to Lava's own processes."""

import numpy as np
import pytest

import same
from netx_chains import CUBA, meaning, random_chain, write_chain
from neuromorphic import Program, run
from neuromorphic.errors import ExecutorError
from neuromorphic.executors import EXECUTORS
from neuromorphic.executors.lava.environment import WORKER
from neuromorphic.formats.netx import export_netx, read_netx
from neuromorphic.ops import LI, LIF, Conv, Delays, Delta
from stock_lava import run_stock

pytestmark = pytest.mark.usefixtures("netx_here")
T = 24
KINDS = {
    "conv": {},
    "pool": {"pools": True},
    "delay": {"delays": True},
    "encoder": {"encoder": True},
    "graded": {"graded": True},
    "graded, delay": {"graded": True, "delays": True},
}


def sent(program, recording):
    """Return what every layer of neurons sends, ``[T, N]``, of the first sample."""
    names = [f"{op.name}.{'delta' if isinstance(op, Delta) else 'spikes'}" for op in program.ops
             if isinstance(op, (LIF, Delta))]  # fmt: skip
    names += [name for name in recording.variables if name.endswith(".y")]
    found = [recording.variables[name][:, 0].astype(np.int64) for name in names]
    return [found[0] << 6, *found[1:]] if "delta0.delta" in names else found


def inputs_for(program, rng):
    low, high = (0, 1) if program.input.high == 1 else (-60, 60)
    x = rng.integers(low, high + 1, (T, program.input.size))
    if high == 60:  # a value that changes now and then
        x = x[np.maximum.accumulate(np.where(rng.random(T) < 0.4, np.arange(T), 0))]
    return x


def drawn(kind, seed, tmp_path, layer_steps):
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    layers = random_chain(rng, **KINDS[kind])
    path = write_chain(tmp_path / f"{seed}.net", layers)
    program = read_netx(path, num_steps=T, layer_steps=layer_steps)
    return layers, path, program, inputs_for(program, rng)


@pytest.mark.parametrize("layer_steps", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_chain_means_what_its_layers_mean(kind, layer_steps, tmp_path):
    events = 0
    for seed in range(6):
        layers, _, program, x = drawn(kind, seed, tmp_path, layer_steps)
        got = sent(program, run(program, x[:, np.newaxis]))
        wanted = meaning(layers, x, layer_steps)
        assert len(got) == len(wanted)
        for ours, theirs in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        events += sum(np.count_nonzero(theirs) for theirs in wanted[1:])
    assert events > 300


def test_the_chains_hold_every_operation(tmp_path):
    programs = [drawn(kind, seed, tmp_path, 0)[2] for kind in KINDS for seed in range(6)]
    kinds = {type(op) for program in programs for op in program.ops}
    assert {Conv, Delays, LI, LIF, Delta} <= kinds
    assert any(op.groups > 1 and op.dilation != (1, 1) for program in programs for op in program.of_type(Conv))


@pytest.mark.parametrize("kind", KINDS)
def test_a_chain_is_written_and_read_back(kind, tmp_path):
    for seed in range(4):
        _, _, program, x = drawn(kind, seed, tmp_path, 0)
        back = read_netx(export_netx(program, tmp_path / "back.net"), num_steps=T)
        for ours, theirs in zip(sent(program, run(program, x[:, np.newaxis])),
                                sent(back, run(back, x[:, np.newaxis])), strict=True):  # fmt: skip
            np.testing.assert_array_equal(ours, theirs)
        plain = [Program(each.ops, num_steps=T).sha256 for each in (program, back)]
        assert plain[0] == plain[1]


def test_weights_of_nine_bits_are_written_and_read_back(tmp_path):
    rng = np.random.default_rng(0)
    conv = {"type": "conv", "shape": [3, 4, 4], "weight": rng.integers(-256, 255, (3, 2, 3, 3)), "neuron": CUBA}
    dense = {"type": "dense", "shape": [5], "weight": rng.integers(-256, 255, (5, 48)), "neuron": CUBA}
    layers = [{"type": "input", "shape": [2, 6, 6]}, conv, {"type": "flatten", "shape": [48]}, dense]
    program = read_netx(write_chain(tmp_path / "n.net", layers), num_steps=T)
    assert [op.name for op in program.ops] == ["input", "conv1", "conv1_rest", "lif1", "fc2", "fc2_rest", "lif2"]
    back = read_netx(export_netx(program, tmp_path / "back.net"), num_steps=T)
    assert Program(back.ops, num_steps=T).sha256 == Program(program.ops, num_steps=T).sha256


def test_exponents_are_shifts(tmp_path):
    """As slayer computes: input and biases divided by a power of two, to the sixth bit behind the point."""
    weights, bias = np.full((2, 3), 6.0), np.array([5.0, -5.0])
    layer = {"type": "dense", "shape": [2], "weight": weights, "bias": bias}
    for exponents, shift, unit in (
        ({"weight_exp": [2.0]}, 4, 16),
        ({"weight_exp": [-3.0]}, 9, 512),
        ({"wgtExp": 2}, 8, 64),
    ):
        path = write_chain(tmp_path / "n.net", [layer | {"neuron": CUBA | exponents}])
        program = read_netx(path, num_steps=T)
        assert (program["lif1"].shift, program["lif1"].bias.tolist()) == (shift, [5 * unit, -5 * unit])
        assert "lif1: lava-dl leaves out its exponent" in program.metadata["assumptions"][0]


@pytest.mark.parametrize("executor", ["native", "torch", "onnxruntime", "openvino", "c"])
@pytest.mark.parametrize("kind", KINDS)
def test_executors_agree(kind, executor, tmp_path):
    _, _, program, x = drawn(kind, 0, tmp_path, 1)
    if {type(op).__name__ for op in program.ops} & set(EXECUTORS[executor].lacks):
        with pytest.raises(ExecutorError, match=f"executor '{executor}' lacks"):
            run(program, x[:, np.newaxis], executor)
        return
    same.assert_equal(program, x[:, np.newaxis], executor)


@pytest.mark.lava
@pytest.mark.parametrize("kind", ["conv", "encoder", "graded"])  # lava-dl reads no pools, and no delays of convolutions
def test_a_chain_equals_lavas_own_processes(kind, lava_python, tmp_path):
    for seed in range(3):
        _, path, program, x = drawn(kind, seed, tmp_path, 1)
        if kind == "encoder":  # an image, which is held
            x = np.broadcast_to(x[:1], x.shape)
        given = x[0] + 34 if kind == "encoder" else x
        there = run_stock(lava_python.path, WORKER, path, given, tmp_path / str(seed), num_steps=T)
        for ours, theirs in zip(sent(program, run(program, x[:, np.newaxis])), there, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.lava
def test_delays_equal_lavas_synapses(lava_python, tmp_path):
    """lava-dl delays what a neuron hears by as much; without biases the spikes are the same, that much later."""
    rng = np.random.default_rng(0)
    layers, before = [{"type": "input", "shape": [12]}], 12
    for size in (9, 7):
        weights = (2 * rng.integers(-20, 40, (size, before))).astype(np.float32)
        layers.append({"type": "dense", "shape": [size], "weight": weights, "delay": rng.integers(0, 6, size)})
        layers[-1]["neuron"] = CUBA | {"iDecay": 2000, "vThMant": 120}
        before = size
    path = write_chain(tmp_path / "n.net", layers)
    x = (rng.random((60, 12)) < 0.3).astype(int)
    program = read_netx(path, num_steps=60, layer_steps=1)
    there = run_stock(lava_python.path, WORKER, path, x, tmp_path / "stock", num_steps=60)
    for layer, ours, theirs in zip(layers[1:], sent(program, run(program, x[:, np.newaxis])), there, strict=True):
        late = np.zeros_like(ours)
        for unit, by in enumerate(layer["delay"]):
            late[by:, unit] = ours[: 60 - by, unit]
        assert theirs.sum() > 40
        np.testing.assert_array_equal(late, theirs)
