"""Torus messages: loop oracle, exactness, symmetry, conservation, the choice of sides, errors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.messages import TorusMessages, torus_messages


def oracle(spikes, rows, columns, kappa_shift):
    """Walk over every neuron and its eight neighbours; spikes [B, N]."""
    messages = np.zeros(spikes.shape)
    for b in range(len(spikes)):
        for r in range(rows):
            for c in range(columns):
                around = [(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
                total = sum(spikes[b, (i % rows) * columns + j % columns] for i, j in around)
                messages[b, r * columns + c] = 2.0**-kappa_shift / 8 * total
    return messages


def random_spikes(seed, *shape, dtype=torch.float32):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.3).to(dtype)


sides = st.integers(3, 7)
shifts = st.integers(0, 16)
dtypes = st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64])


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), sides, sides, shifts, dtypes)
def test_equals_the_sum_over_neighbours_exactly_in_every_dtype(seed, rows, columns, kappa_shift, dtype):
    spikes = random_spikes(seed, 2, rows * columns, dtype=dtype)
    messages = torus_messages(spikes, rows, columns, kappa_shift)
    assert messages.dtype == dtype
    assert np.array_equal(messages.double().numpy(), oracle(spikes.double().numpy(), rows, columns, kappa_shift))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), sides, sides, shifts, st.integers(-9, 9), st.integers(-9, 9))
def test_translation_equivariance_to_the_bit_for_any_values(seed, rows, columns, kappa_shift, down, right):
    values = torch.randn(2, rows, columns, generator=torch.Generator().manual_seed(seed))

    def messages(grid):
        return torus_messages(grid.flatten(-2), rows, columns, kappa_shift).unflatten(-1, (rows, columns))

    moved = messages(values.roll((down, right), (-2, -1)))
    assert torch.equal(moved, messages(values).roll((down, right), (-2, -1)))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), sides, sides, shifts)
def test_conservation_and_range(seed, rows, columns, kappa_shift):
    spikes = random_spikes(seed, 3, 2, rows * columns)
    messages = torus_messages(spikes, rows, columns, kappa_shift)
    kappa = 2.0**-kappa_shift
    assert torch.equal(messages.sum(-1), kappa * spikes.sum(-1))
    assert messages.min() >= 0
    assert messages.max() <= kappa
    assert torch.equal(
        torus_messages(torch.ones(rows * columns), rows, columns, kappa_shift).unique(), torch.tensor([kappa])
    )


def test_the_gradient_is_the_same_sum_over_the_gradients_of_the_neighbours():
    spikes = torch.randn(2, 20, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: torus_messages(z, 4, 5, 1), (spikes,))
    upstream = random_spikes(1, 2, 20, dtype=torch.float64)
    torus_messages(spikes, 4, 5, 1).backward(upstream)
    assert torch.equal(spikes.grad, torus_messages(upstream, 4, 5, 1))


def test_leading_axes_are_independent():
    spikes = random_spikes(2, 5, 3, 36)
    whole = TorusMessages(36)(spikes)
    assert all(torch.equal(TorusMessages(36)(spikes[t, b]), whole[t, b]) for t in range(5) for b in range(3))


@pytest.mark.parametrize(
    ("num_neurons", "expected"),
    # 256: 16 x 16 and 8 x 32 are equally near to 1:2, the squarer wins. 21 has one torus only.
    [
        (2048, (32, 64)),
        (512, (16, 32)),
        (72, (6, 12)),
        (128, (8, 16)),
        (256, (16, 16)),
        (100, (10, 10)),
        (9, (3, 3)),
        (21, (3, 7)),
    ],
)
def test_sides_are_nearest_to_one_by_two(num_neurons, expected):
    module = TorusMessages(num_neurons)
    assert (module.rows, module.columns) == expected


def test_the_class_is_the_function_and_has_nothing_to_learn():
    module = TorusMessages(48, rows=4, kappa_shift=2)
    assert repr(module) == "TorusMessages(48, rows=4, columns=12, kappa_shift=2)"
    assert (TorusMessages(48, columns=4).rows, TorusMessages(48, rows=12, columns=4).columns) == (12, 4)
    spikes = random_spikes(3, 2, 48)
    assert torch.equal(module(spikes), torus_messages(spikes, 4, 12, 2))
    assert not list(module.parameters())
    assert not module.state_dict()


@pytest.mark.parametrize(
    ("num_neurons", "named"),
    [(13, r"got 13; the nearest that are: 12 = 3 x 4, 15 = 3 x 5"), (8, r"got 8; the nearest that are: 9 = 3 x 3"),
     (-5, r"got -5; the nearest that are: 9 = 3 x 3"), (2 * 1021, r"got 2042; .*: 2041 = 13 x 157, 2043 = 9 x 227")],
)  # fmt: skip
def test_a_size_without_a_torus_is_refused_with_sizes_that_have_one(num_neurons, named):
    with pytest.raises(PnbxValueError, match=r"num_neurons must be rows \* columns with both at least 3, " + named):
        TorusMessages(num_neurons)


def test_errors(unchecked):
    for given_sides in ({"rows": 5}, {"rows": 4, "columns": 5}, {"columns": 0}):
        with pytest.raises(PnbxValueError, match=r"rows \* columns must be num_neurons = 24, got rows="):
            TorusMessages(24, **given_sides)
    with pytest.raises(PnbxValueError, match=r"rows and columns must be at least 3, .* got 2 and 12"):
        TorusMessages(24, rows=2)
    for kappa_shift in (-1, 17):
        with pytest.raises(PnbxValueError, match=rf"kappa_shift must be in 0 .. 16, got {kappa_shift}"):
            TorusMessages(24, kappa_shift=kappa_shift)
    with pytest.raises(ShapeError, match=r"spikes must be \[..., 24\] for 4 x 6 neurons, got shape \[2, 25\]"):
        TorusMessages(24)(torch.zeros(2, 25))
    with pytest.raises(PnbxTypeError, match=r"spikes must be floating point, got torch.int64"):
        TorusMessages(24)(torch.zeros(24, dtype=torch.int64))
