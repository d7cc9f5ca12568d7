"""ShiftLIF: Python integers, steps and sequences, gradients against their formulas, shapes and errors."""

import math

import pytest
import torch
from torch import nn

from pnbx_snn import ShiftLIF, ShiftLIFCell, ShiftLIFState, integer_weights
from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError

NUM_STEPS = 40


def leaked(x, shift):
    part = x >> shift
    return x - (part if part else (x > 0) - (x < 0))


def sat16(x):
    return max(-32768, min(32767, x))


def oracle(current, synapse_shift, membrane_shift, threshold, bias, most):
    """One neuron in Python integers: spikes, currents, membranes."""
    i = v = 0
    found = []
    for arriving in current:
        i = leaked(sat16(i + arriving), synapse_shift)
        u = sat16(leaked(v, membrane_shift) + i + bias)
        n = min(max(u // threshold, 0), most)
        v = u - n * threshold
        found.append((n, i, v))
    return [list(values) for values in zip(*found, strict=True)]


def drawn(seed):
    """Random parameters of 5 neurons, and currents up to far beyond 16 bits."""
    g = torch.Generator().manual_seed(seed)

    def ints(low, high, *shape):
        return torch.randint(low, high + 1, shape, generator=g)

    size = [20, 900, 60_000][seed % 3]
    parameters = {"synapse_shift": ints(0, 15, 5), "membrane_shift": ints(0, 15, 5), "bias": ints(-300, 300, 5)}
    parameters |= {"threshold": ints(1, [3, 500, 32767][seed % 3], 5), "most_spikes": [31, 1, 20][seed // 3 % 3]}
    return parameters, ints(-size, size, NUM_STEPS, 2, 5).float()


@pytest.mark.parametrize("seed", range(12))
def test_equals_python_integers(seed):
    parameters, current = drawn(seed)
    spikes, states = ShiftLIF(**parameters).trace(current)
    for b in range(2):
        for n in range(5):
            one = [int(parameters[k][n]) for k in ("synapse_shift", "membrane_shift", "threshold", "bias")]
            expected = oracle([int(x) for x in current[:, b, n]], *one, parameters["most_spikes"])
            assert [x[:, b, n].tolist() for x in (spikes, *states)] == expected


@pytest.mark.parametrize("seed", range(3))
def test_a_sequence_equals_its_steps_and_two_halves(seed):
    parameters, current = drawn(seed)
    lif, cell = ShiftLIF(**parameters), ShiftLIFCell(**parameters)
    spikes, last = lif(current)
    state, steps = None, []
    for x in current:
        z, state = cell(x, state)
        steps.append(z)
    assert torch.equal(torch.stack(steps), spikes)
    first, between = lif(current[:17])
    second, end = lif(current[17:], between)
    assert torch.equal(torch.cat([first, second]), spikes)
    for a, b, c in zip(last, state, end, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


@pytest.mark.parametrize(
    ("u", "k", "n"), [(-50.0, 1, 0), (99.0, 1, 0), (100.0, 1, 1), (149.0, 1, 1), (151.0, 2, 1), (940.0, 4, 4)]
)
def test_a_spike_has_the_surrogate_of_the_nearest_threshold(u, k, n):
    # With synapse_shift 15 and a state of nothing, the current arrives less what leaks of it: 1, or a 2**-15 th.
    cell = ShiftLIFCell(15, 1, threshold=100, most_spikes=4)
    current = torch.tensor([[u + 1 if u > 0 else u]], requires_grad=True)
    spikes, state = cell(current)
    spikes.backward(retain_graph=True)
    x = (u + (0.5 if u > 0 else 1.5)) / 100 - k  # below zero one leaks as well
    slope = 1 / (1 + (math.pi * x) ** 2) / 100 * (1 - 2**-15)
    assert spikes.item() == n
    assert current.grad.item() == pytest.approx(slope, rel=1e-5)
    current.grad = None
    state.v.backward()  # v = u - n * threshold
    assert current.grad.item() == pytest.approx((1 - 2**-15) - 100 * slope, abs=1e-6)  # two numbers near 1 apart


def test_the_surrogate_can_be_chosen():
    cell = ShiftLIFCell(15, 1, threshold=100, spike_grad="straight_through_estimator")
    current = torch.tensor([[730.0]], requires_grad=True)
    cell(current)[0].backward()
    assert current.grad.item() == pytest.approx((1 - 2**-15) / 100)


def test_gradients_decay_as_states_do_and_stop_where_they_saturate():
    cell = ShiftLIFCell(2, 3, threshold=32767)
    current = torch.tensor([[1000.0]], requires_grad=True)
    _, state = cell(current)
    _, state = cell(torch.zeros(1, 1), state)
    state.i.backward()
    assert current.grad.item() == pytest.approx(0.75**2)
    far = torch.tensor([[1e5]], requires_grad=True)
    cell(far)[1].i.backward()
    assert far.grad.item() == 0


def test_thresholds_and_biases_are_learned_on_whole_numbers():
    cell = ShiftLIFCell(1, 2, threshold=100, bias=torch.tensor([5.0, -7.0]), learn_threshold=True, learn_bias=True)
    assert cell.bias.tolist() == [5, -7]
    optimizer = torch.optim.Adam(cell.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        spikes, _ = cell(torch.full((1, 2), 150.0))
        spikes.sum().backward()
        optimizer.step()
    assert cell.threshold.item() > 100  # fewer spikes
    assert (cell.bias < torch.tensor([5.0, -7.0])).all()
    assert torch.equal(cell.bias, cell.bias.round())
    assert cell.threshold == cell.threshold.round()


def test_weights_on_a_grid_train_by_their_latents():
    torch.manual_seed(0)
    layer = integer_weights(nn.Linear(3, 2, bias=False))
    latent = layer.parametrizations.weight.original
    with torch.no_grad():
        latent.copy_(torch.tensor([[2.0, -0.3, 0.001], [1.0, -1.0, 0.5]]))
    assert layer.weight.tolist() == [[127, -38, 0], [127, -127, 64]]
    layer(torch.ones(1, 3)).sum().backward()
    assert latent.grad.tolist() == [[0, 127, 127], [127, 127, 127]]  # nothing where it is clipped
    with pytest.raises(PnbxValueError, match="integer_weights: the layer must have no bias"):
        integer_weights(nn.Linear(3, 2))


def test_half_precision_goes_in_and_out():
    spikes, state = ShiftLIF(1, 2, threshold=10)(torch.full((2, 1, 1), 80.0, dtype=torch.bfloat16))
    assert spikes.dtype == torch.bfloat16
    assert state.v.dtype == torch.float32


def test_what_is_refused(unchecked):
    for changes, error, message in (
        ({"threshold": 0}, PnbxValueError, "threshold must be whole in 1..32767, got 0"),
        ({"threshold": 1.5}, PnbxValueError, "threshold must be whole in 1..32767, got 1.5"),
        ({"membrane_shift": 16}, PnbxValueError, "membrane_shift must be whole in 0..15, got 16"),
        ({"bias": 40000}, PnbxValueError, "bias must be whole in -32768..32767"),
        ({"most_spikes": 32}, PnbxValueError, "most_spikes must be in 1..31, got 32"),
        ({"bias": torch.zeros(2), "threshold": torch.ones(3)}, ShapeError, "one number of neurons"),
        ({"bias": torch.zeros(2, 2)}, ShapeError, r"bias must be a scalar or a vector \[N\]"),
    ):
        with pytest.raises(error, match=message):
            ShiftLIF(**{"synapse_shift": 1, "membrane_shift": 1, "threshold": 9, **changes})
    lif = ShiftLIF(1, torch.ones(3), threshold=9)
    with pytest.raises(ShapeError, match="parameters are for 3 neurons, current has 2"):
        lif(torch.zeros(4, 1, 2))
    with pytest.raises(ShapeError, match="state.v must be"):
        lif(torch.zeros(4, 1, 3), ShiftLIFState(torch.zeros(1, 3), torch.zeros(2, 3)))
    with pytest.raises(PnbxTypeError, match="must be floating point"):
        lif(torch.zeros(4, 1, 3, dtype=torch.int64))
