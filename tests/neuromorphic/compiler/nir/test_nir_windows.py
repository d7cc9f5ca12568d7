"""Conv1d, Conv2d, SumPool2d, AvgPool2d and Delay are one operation each, in and out of NIR."""

import nir
import numpy as np
import pytest

from neuromorphic import Program, run
from neuromorphic.compiler import compile_nir, save_nir, to_nir
from neuromorphic.errors import CompileError
from neuromorphic.ops import LIF, Conv, Delay, Delays, Dense, Input, MaxPool, Readout, SpikePool, SumPool

T = 9


def lif(rng, name, *sources, size, shift=6):
    theta = rng.integers(20, 60, size).astype(np.int32) << shift
    zero = np.zeros(size, dtype=np.int32)
    return LIF(name, sources, np.full(size, 3072, np.int32), theta, zero, shift)


def per_channel(rng, name, *sources, shape, shift=6):
    """Neurons whose thresholds are the same in each channel."""
    theta = (rng.integers(2, 8, shape[0]).astype(np.int32) << shift).repeat(shape[1] * shape[2])
    zero = np.zeros(len(theta), dtype=np.int32)
    return LIF(name, sources, np.full(len(theta), 3072, np.int32), theta, zero, shift)


def weights(rng, *shape):
    return rng.choice([-1, 1, 1, 1], shape).astype(np.int8)


def image_program(rng, *, groups=1, kernel=(3, 3), **options):
    """Input, two convolutions and a pool between neurons, delays, and a read-out."""
    first = Conv("c1", "x", weights(rng, 4, 2 // groups, *kernel), (2, 7, 6), groups=groups, **options)
    a = per_channel(rng, "a", "c1", shape=first.output_shape)
    late = Delays("late", "a", rng.integers(0, 5, first.size).astype(np.int32))
    pool = SumPool("p", "late", first.output_shape, (2, 2), (2, 2))
    second = Conv("c2", "p", weights(rng, 3, 4, 1, 1), pool.output_shape)
    b = per_channel(rng, "b", "c2", shape=second.output_shape)
    out = Dense("w", "b", weights(rng, 3, second.size))
    end = Readout("y", ("w",), np.zeros(3, np.int32), shift=0)
    return Program((Input("x", 84), first, a, late, pool, second, b, out, end), num_steps=T)


def same(program, other, rng, *, nearly=False):
    """Compare spikes of two programs on random input; those of which one counts finer are nearly the same."""
    x = (rng.random((T, 4, program.input.size)) < 0.4).astype(np.int8)
    ours, theirs = run(program, x), run(other, x)
    names = [name for name in ours.variables if name.endswith("spikes")]
    assert names
    for name in names:
        equal = ours.variables[name] == theirs.variables[name]
        assert equal.all() or (nearly and equal.mean() > 0.99), name
        assert 0.001 < ours.variables[name].mean() < 0.999, name
    assert nearly or np.array_equal(ours.labels(), theirs.labels())


@pytest.mark.parametrize("form", ["portable", "integer"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": (1, 1)},
        {"groups": 2},
        {"kernel": (3, 1), "padding": (1, 0)},
        {"stride": (2, 1), "dilation": (1, 2)},
    ],
    ids=str,
)
def test_a_program_of_images_comes_back(form, options, tmp_path):
    rng = np.random.default_rng(3)
    program = image_program(rng, **options)
    graph = to_nir(program, round_trip="close", form=form)
    save_nir(graph, tmp_path / "graph.nir", form=form)
    back = compile_nir(tmp_path / "graph.nir", num_steps=T)
    assert {type(op) for op in back.ops} == {type(op) for op in program.ops}
    first = back.of_type(Conv)[0]
    ours = program["c1"]
    assert (first.groups, first.weights.shape, first.padding) == (ours.groups, ours.weights.shape, ours.padding)
    np.testing.assert_array_equal(back["late"].steps, program["late"].steps)
    same(program, back, rng, nearly=True)
    # What was compiled from NIR comes back in every integer.
    again = to_nir(back, form=form)
    twice = compile_nir(again, num_steps=T)
    same(back, twice, rng)


def test_rows_are_a_conv1d():
    rng = np.random.default_rng(1)
    conv = Conv("c", "x", weights(rng, 3, 2, 1, 3), (2, 1, 9), padding=(0, 1))
    program = Program((Input("x", 18), conv, per_channel(rng, "a", "c", shape=conv.output_shape)), num_steps=T)
    graph = to_nir(program, round_trip="close")
    assert type(graph.nodes["c"]).__name__ == "Conv1d"
    back = compile_nir(graph, num_steps=T)
    assert [type(op) for op in back.ops] == [Input, Conv, LIF]
    assert back.ops[1].weights.shape == (3, 2, 1, 3)


def test_delays_of_each_unit_are_one_operation():
    rng = np.random.default_rng(0)
    dt = 1e-3
    steps = np.array([0, 3, 1, 63])
    one = np.ones(4)
    nodes = {
        "x": nir.Input(np.array([4])), "d": nir.Delay(steps * dt), "w": nir.Linear(np.eye(4)),
        "n": nir.IF(r=one / dt, v_threshold=0.5 * one, v_reset=0 * one), "out": nir.Output(np.array([4])),
    }  # fmt: skip
    edges = [("x", "d"), ("d", "w"), ("w", "n"), ("n", "out")]
    program = compile_nir(nir.NIRGraph(nodes, edges, metadata={"dt": dt}), num_steps=80)
    assert [type(op) for op in program.ops] == [Input, Delays, Dense, LIF]
    x = (rng.random((80, 2, 4)) < 0.5).astype(np.int8)
    fired = run(program, x).variables["n.spikes"]
    for unit, late in enumerate(steps):
        np.testing.assert_array_equal(fired[late:, :, unit], x[: 80 - late, :, unit])
        assert not fired[:late, :, unit].any()
    nodes["d"] = nir.Delay(np.full(4, 3 * dt))
    program = compile_nir(nir.NIRGraph(nodes, edges, metadata={"dt": dt}), num_steps=80)
    assert [type(op) for op in program.ops] == [Input, Delay, Dense, LIF]


def test_what_nir_cannot_hold_is_refused_by_name():
    rng = np.random.default_rng(0)
    zero = np.zeros(4, np.int32)
    for pool, message in (
        (SpikePool, "p: a SpikePool has no node in NIR"),
        (MaxPool, "p: a MaxPool has no node in NIR"),
    ):
        ops = (
            Input("x", 16),
            pool("p", "x", (1, 4, 4), (2, 2), (2, 2)),
            Dense("w", "p", weights(rng, 4, 4)),
            Readout("y", ("w",), zero, 0),
        )
        with pytest.raises(CompileError, match=message):
            to_nir(Program(ops, num_steps=T))
    conv = Conv("c", "a", weights(rng, 2, 1, 2, 3), (1, 4, 4))
    ops = (Input("x", 5), Dense("w", "x", weights(rng, 16, 5)), lif(rng, "a", "w", size=16), conv)
    with pytest.raises(CompileError, match=r"a: reads \[1, 4, 4\] where w gives \[16\]; NIR can only flatten"):
        to_nir(Program((*ops, lif(rng, "b", "c", size=12)), num_steps=T))
    ops = (Input("x", 16), Conv("c", "x", weights(rng, 2, 1, 2, 3), (1, 4, 4)))
    with pytest.raises(CompileError, match=r"c: a kernel of \[2, 3\] cannot be exported"):
        to_nir(Program((*ops, lif(rng, "b", "c", size=12)), num_steps=T))
