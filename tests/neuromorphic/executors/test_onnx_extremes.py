"""Sums of 31 bits that cancel: a runtime that computes any of them in float32 is caught.

Random programs rarely go there. Each program here scales a current so that it nearly fills int32, and brings it back
with another one, a gate or the saturation of a state.
"""

import numpy as np
import pytest

from neuromorphic import LIF, Dense, Input, Program, Readout, prove, verify
from neuromorphic.executors.onnx.model import to_onnx
from neuromorphic.executors.onnx.onnxruntime import onnxruntime_runtime
from neuromorphic.executors.onnx.openvino import openvino_runtime
from neuromorphic.integers.numbers import DECAY_ONE, STATE_MAX
from neuromorphic.integers.resets import RESETS
from neuromorphic.ops import LI, FastWeights, Gate, GatedState, Multiply, Resonator, Scale, Slots
from steps import fast_weights_step

SINKS = ("lif", "li", "readout", "resonator", "gated", "multiply")
INPUTS = ((-32_768, 32_767), (-128, 127), (0, 1), (-1, 1), (0, 255))


def i32(values):
    return np.asarray(values).astype(np.int64).astype(np.int32)


def extreme_program(rng, sink):
    """Draw a program that ends in the sink."""
    low, high = INPUTS[int(rng.integers(len(INPUTS)))]
    size, width = int(rng.integers(8, 20)), int(rng.integers(2, 6))
    weights = rng.integers(-127, 128, (size, width)).astype(np.int8)
    peak = int(np.abs(weights.astype(np.int64)).sum(axis=1).max()) * max(-low, high)
    most = ((1 << 30) - 1) // peak
    factor = rng.integers(-most, most + 1, size)
    back = -factor + (rng.random(size) < 0.3)  # a current that leaves of the other one nothing, or what it scaled
    ops = [Input("x", width, low, high), Dense("fc", "x", weights), Scale("there", "fc", i32(factor), 0)]
    decay = i32(rng.choice([0, DECAY_ONE, 4095, 4001, 2048], size))
    bias = i32(rng.choice([0, 1, -1, STATE_MAX, -STATE_MAX, 12_345], size))
    if sink in ("lif", "li", "readout"):
        ops.append(Scale("back", "fc", i32(back), 0))
        sources = ("there", "back")
        theta = i32(rng.choice([0, 1, STATE_MAX, 77_777], size))
        ops.append(
            {
                "lif": lambda: LIF("s", sources, decay, theta, bias, shift=0, reset=str(rng.choice(list(RESETS)))),
                "li": lambda: LI("s", sources, decay=decay, bias=bias, shift=0),
                "readout": lambda: Readout("s", sources, bias, shift=0),
            }[sink]()
        )
    elif sink == "resonator":
        angle = rng.uniform(0, 2 * np.pi, size)
        ops.append(Resonator("s", "there", cosine=i32(4090 * np.cos(angle)), sine=i32(4090 * np.sin(angle))))
    else:
        signs = rng.choice([-1, 0, 1], (size, width)).astype(np.int8)
        ops += [Dense("fg", "x", signs), Gate("gate", "fg", i32(rng.integers(-3000, 3000, size)))]
        if sink == "gated":
            ops.append(GatedState("s", "there", "gate", size))
        else:
            ops.append(Multiply("m", "there", "gate", size, shift=int(rng.integers(0, 9))))
            ops.append(LI("s", ("m",), decay=decay, bias=bias, shift=0))
    program = Program(tuple(ops), num_steps=12)
    prove(program)
    return program, rng.integers(low, high + 1, (12, 8, width)).astype(np.int32)


def differing(executor, seeds):
    """Return how many values differ, and how many were not saturated."""
    wrong = inside = 0
    for seed in seeds:
        for place, sink in enumerate(SINKS):
            program, inputs = extreme_program(np.random.default_rng([seed, place]), sink)
            comparison, expected, _ = verify(program, inputs, executor, products=("int8", "float32")[seed % 2])
            wrong += comparison.spikes_different + comparison.states_different
            inside += sum(
                int((np.abs(a) < STATE_MAX).sum()) for a in expected.variables.values() if a.dtype == np.int32
            )
    return wrong, inside


@pytest.mark.parametrize("executor", ["onnxruntime", "openvino"])
def test_sums_of_31_bits_are_exact(executor):
    wrong, inside = differing(executor, (0, 1))
    assert wrong == 0
    assert inside > 5_000


@pytest.mark.parametrize("executor", ["onnxruntime", "openvino"])
def test_what_is_too_wide_for_one_product_is_cut(executor):
    rng, width, rank = np.random.default_rng(0), 40_000, 600
    weights = rng.integers(-127, 128, (2, width)).astype(np.int8)
    weights[0] = 127  # the largest sum there is
    wide = (
        Input("x", width, low=-128, high=127),
        Dense("fc", "x", weights),
        Readout("y", ("fc",), i32([0, 1]), shift=0),
    )
    x = rng.choice([-128, 127, 3], (2, 2, width))
    x[0, 0] = 127
    assert verify(Program(wide, num_steps=2), x, executor)[0].equal
    keys = Dense("fc", "x", rng.integers(-127, 128, (rank, 3)).astype(np.int8))
    fast = FastWeights("fast", "fc", size=rank, decay=DECAY_ONE, rate_bits=0, frac=22, rule="delta")
    program = Program((Input("x", 3, low=-128, high=127), keys, fast), num_steps=4)
    comparison, expected, _ = verify(program, rng.choice([-128, 127], (4, 1, 3)), executor)
    assert comparison.equal, str(comparison.first)
    assert np.abs(expected.variables["fast.F"]).max() > 1 << 20


@pytest.mark.parametrize("runtime", [onnxruntime_runtime, openvino_runtime])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_key_against_the_largest_read(sign, runtime):
    """A delta's read reaches 2**31 - 256; a key of 4,096 against it leaves int32, where it wrapped to the other sign.

    Keys can bring a matrix there, in more steps than a test may take, so the step is given the state.
    """
    size = 256
    ops = (Input("x", size, -1, 1), Scale("key", "x", i32(np.full(size, 4096))))
    program = Program((*ops, FastWeights("fast", "key", size, DECAY_ONE, 0, frac=12, rule="delta")), num_steps=1)
    assert prove(program)[-1].high == (1 << 31) - 256
    F = i32(np.full((1, size, size), sign * STATE_MAX))
    key, x = i32(np.full((1, size), 4096)), i32(np.full((1, size), -sign))
    model = to_onnx(program)
    given = {"x": x, "state.fast.F": F, "state.fast.key": key}
    got = runtime().compiled(model, {name: array.shape for name, array in given.items()})[0](given)
    options = {"decay": DECAY_ONE, "rate_bits": 0, "frac": 12, "rule": "delta"}
    expected = fast_weights_step(F, key, 4096 * x, **options)[1]
    np.testing.assert_array_equal(got["fast.F"].reshape(F.shape), expected)


@pytest.mark.parametrize("executor", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(("decay_bits", "rate_bits", "shift"), [(2, 1, 0), (12, 12, 22)])
def test_slots_full_to_the_brim(decay_bits, rate_bits, shift, executor):
    rng = np.random.default_rng(0)
    keys = rng.choice([-1, 0, 1], (9, 33)).astype(np.int8)
    slots = Slots(
        "slots", "x", keys=keys, gain=4096, shift=shift, decay_bits=decay_bits, rate_bits=rate_bits, plastic=True,
        fast=i32(rng.choice([0, 1, 1 << 22], (9, 33))),
    )  # fmt: skip
    program = Program((Input("x", 33), slots, Gate("gate", "slots", i32(np.zeros(33)))), num_steps=12)
    comparison, expected, _ = verify(program, rng.random((12, 4, 33)) < 0.5, executor)
    assert comparison.equal, str(comparison.first)
    assert len(np.unique(expected.variables["slots.winner"])) > 2
