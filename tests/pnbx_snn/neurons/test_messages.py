"""Torus messages: loop oracle, exactness, symmetry, conservation, learned edges, the choice of sides, errors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.neurons.messages import NEIGHBOURS, TorusMessages, edge_gradient, torus_messages, transpose_edges
from pnbx_snn.quantization import keep_ternary


def oracle(spikes, rows, columns, kappa_shift, edges=None):
    """Walk over every neuron and its eight neighbours; spikes [B, N], edges [8, N] in reading order."""
    edges = np.ones((8, rows * columns)) if edges is None else edges
    messages = np.zeros(spikes.shape)
    for b in range(len(spikes)):
        for r in range(rows):
            for c in range(columns):
                around = [(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
                weights = edges[:, r * columns + c]
                total = sum(
                    w * spikes[b, (i % rows) * columns + j % columns] for w, (i, j) in zip(weights, around, strict=True)
                )
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


# Learned edges


def random_edges(seed, rows, columns, dtype=torch.float32):
    return torch.randint(-1, 2, (8, rows * columns), generator=torch.Generator().manual_seed(seed)).to(dtype)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), sides, sides, shifts, dtypes)
def test_edges_weigh_each_neighbour_exactly_in_every_dtype(seed, rows, columns, kappa_shift, dtype):
    spikes, edges = random_spikes(seed, 2, rows * columns, dtype=dtype), random_edges(seed, rows, columns)
    messages = torus_messages(spikes, rows, columns, kappa_shift, edges)
    assert messages.dtype == dtype
    expected = oracle(spikes.double().numpy(), rows, columns, kappa_shift, edges.numpy())
    assert np.array_equal(messages.double().numpy(), expected)
    assert abs(expected).max() <= 2.0**-kappa_shift


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), sides, sides, shifts, dtypes)
def test_edges_of_one_are_equal_edges_to_the_bit(seed, rows, columns, kappa_shift, dtype):
    size = rows * columns
    equal = TorusMessages(size, rows=rows, kappa_shift=kappa_shift)
    learned = TorusMessages(size, rows=rows, kappa_shift=kappa_shift, edges="ternary").to(dtype)
    spikes = random_spikes(seed, 3, 2, size, dtype=dtype)
    assert learned.weight.shape == (8, size)
    assert torch.equal(learned(spikes), equal(spikes))


def test_latent_edges_are_rounded_by_their_mean_and_not_scaled():
    module = TorusMessages(15, kappa_shift=2, edges="ternary").double()
    with torch.no_grad():
        module.weight.copy_(torch.randn(8, 15, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    latent = module.weight.detach().numpy()
    edges = np.clip(np.round(latent / np.abs(latent).mean()), -1, 1)
    assert {*np.unique(edges)} == {-1, 0, 1}
    spikes = random_spikes(4, 2, 15, dtype=torch.float64)
    expected = oracle(spikes.numpy(), 3, 5, 2, edges)
    assert np.array_equal(module(spikes).detach().numpy(), expected)
    with torch.no_grad():
        module.weight.mul_(0.3)
    assert np.array_equal(module(spikes).detach().numpy(), expected)
    with keep_ternary(module), torch.no_grad():
        module.weight.zero_()  # not seen inside
        assert np.array_equal(module(spikes).numpy(), expected)
    assert not module(spikes).any()


def test_the_gradient_goes_to_spikes_by_the_transpose_and_straight_through_to_latent_edges():
    spikes, edges, upstream = (
        torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()
        for seed, shape in enumerate([(3, 2, 20), (8, 20), (3, 2, 20)])
    )
    assert torch.autograd.gradcheck(lambda z, w: torus_messages(z, 4, 5, 1, w), (spikes, edges))
    torus_messages(spikes, 4, 5, 1, edges).backward(upstream.detach())
    with torch.no_grad():
        turned = transpose_edges(edges, 4, 5)
        assert torch.equal(transpose_edges(turned, 4, 5), edges)
        # Sums of eight products in another order.
        assert (torus_messages(upstream, 4, 5, 1, turned) - spikes.grad).abs().max() < 1e-14
        assert (edge_gradient(spikes, upstream, 4, 5, 1) - edges.grad).abs().max() < 1e-14
    module = TorusMessages(20, kappa_shift=1, edges="ternary").double()
    with torch.no_grad():
        module.weight.copy_(edges)
    module(spikes.detach()).backward(upstream.detach())
    of_edges = edge_gradient(spikes.detach(), upstream.detach(), 4, 5, 1)
    assert torch.allclose(module.weight.grad, of_edges / edges.abs().mean(), rtol=1e-12, atol=0)


def test_opposite_neighbours_have_opposite_numbers():
    assert all((-i, -j) == NEIGHBOURS[7 - k] for k, (i, j) in enumerate(NEIGHBOURS))
    assert sorted({*NEIGHBOURS, (0, 0)}) == [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]


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
    assert (
        repr(TorusMessages(9, edges="ternary")) == "TorusMessages(9, rows=3, columns=3, kappa_shift=4, edges='ternary')"
    )


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
    with pytest.raises(PnbxValueError, match="messages: edges must be one of equal, ternary, got 'learned'"):
        TorusMessages(24, edges="learned")
    with pytest.raises(ShapeError, match=r"edges must be \[8, 24\], got shape \[24, 8\]"):
        torus_messages(torch.zeros(2, 24), 4, 6, 0, torch.ones(24, 8))
    with pytest.raises(ShapeError, match=r"spikes must be \[..., 24\] for 4 x 6 neurons, got shape \[2, 25\]"):
        TorusMessages(24)(torch.zeros(2, 25))
    with pytest.raises(PnbxTypeError, match=r"spikes must be floating point, got torch.int64"):
        TorusMessages(24)(torch.zeros(24, dtype=torch.int64))
