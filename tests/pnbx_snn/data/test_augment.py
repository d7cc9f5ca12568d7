"""Affine and elastic distortion of images: against pixels computed one by one, and its bounds."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pnbx_snn.data import augment
from pnbx_snn.data.augment import affine_elastic
from pnbx_snn.errors import PnbxValueError, ShapeError


def random_images(seed, batch=3, side=9):
    return torch.rand(batch, side * side, generator=torch.Generator().manual_seed(seed))


def cubic(distance):
    """The bicubic kernel of torch, a = -0.75."""
    x = abs(distance)
    if x <= 1:
        return 1.25 * x**3 - 2.25 * x**2 + 1
    return -0.75 * x**3 + 3.75 * x**2 - 6 * x + 3 if x < 2 else 0.0


def interpolation(side):
    """Weight of each of the 5 knots at each pixel; the first and last knot continue over the edge."""
    weights = np.zeros((side, 5))
    for pixel in range(side):
        place = pixel * 4 / (side - 1)
        for knot in range(math.floor(place) - 1, math.floor(place) + 3):
            weights[pixel, min(max(knot, 0), 4)] += cubic(place - knot)
    return weights


def bilinear(image, x, y):
    value = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < len(image) and 0 <= column < len(image):
                value += image[row, column] * (1 - abs(x - column)) * (1 - abs(y - row))
    return value


def oracle(images, side, generator, strength):
    """Pixel by pixel, in pixels, from the equation; draws as the code does."""
    draws = (2 * torch.rand(5, len(images), generator=generator) - 1).double().numpy() * strength
    knots = torch.randn(len(images), 2, 5, 5, generator=generator).double().numpy()
    weights = interpolation(side)
    fields = np.einsum("ik,bdkl,jl->bdij", weights, knots, weights) / (weights**2).sum(axis=1).mean()
    middle = (side - 1) / 2
    results = np.zeros((len(images), side, side))
    for b, image in enumerate(images.double().reshape(-1, side, side).numpy()):
        angle, scale = draws[0, b] * np.pi / 12, 1 + 0.15 * draws[1, b]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        forward = scale * turn @ np.array([[1, 0.2 * draws[2, b]], [0, 1]])
        for i in range(side):
            for j in range(side):
                place = np.array([j - middle, i - middle]) - 2 * side / 28 * draws[3:, b]
                x, y = np.linalg.solve(forward, place) + 1.2 * side / 28 * strength * fields[b, :, i, j] + middle
                results[b, i, j] = bilinear(image, x, y)
    return results.reshape(len(images), -1)


@pytest.mark.parametrize(("side", "strength"), [(9, 1.0), (28, 0.6), (8, 0.1)])
def test_matches_the_equation_pixel_by_pixel(side, strength):
    images = random_images(1, side=side)
    result = affine_elastic(images, side, generator=torch.Generator().manual_seed(2), strength=strength)
    expected = oracle(images, side, torch.Generator().manual_seed(2), strength)
    # float32 places on a grid of `side` pixels: a few units in the last place of 28, times a slope of at most 1.
    np.testing.assert_allclose(result.numpy(), expected, atol=3e-5)
    assert np.abs(expected - images.numpy()).max() > 0.02


def test_shift_is_within_its_bounds_and_uniform(monkeypatch):
    monkeypatch.setattr(augment, "MAX_ANGLE", 0.0)
    monkeypatch.setattr(augment, "MAX_SCALE", 0.0)
    monkeypatch.setattr(augment, "MAX_SHEAR", 0.0)
    monkeypatch.setattr(augment, "ELASTIC_STD", 0.0)
    image = torch.zeros(28, 28)
    image[14, 10] = 1.0
    moved = affine_elastic(image.reshape(1, -1).expand(4000, -1), 28, generator=torch.Generator().manual_seed(0))
    moved = moved.reshape(-1, 28, 28)
    down = (moved.sum(dim=2) @ torch.arange(28.0)) - 14
    right = (moved.sum(dim=1) @ torch.arange(28.0)) - 10
    for shift in (down, right):
        assert shift.abs().max() <= 2.0 + 1e-4
        assert shift.mean().item() == pytest.approx(0.0, abs=0.08)  # 4.5 standard errors
        assert shift.std().item() == pytest.approx(2 / 3**0.5, abs=0.05)


def test_elastic_field_has_its_size_and_is_smooth():
    knots = torch.randn(2000, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    field = augment._elastic(knots, 28).reshape(2000, 2, 28, 28)
    assert field.square().mean().sqrt().item() == pytest.approx(1.0, abs=0.02)
    assert field.diff(dim=3).square().mean().sqrt() < 0.35  # white noise: 1.41


@given(st.integers(0, 1000), st.floats(0, 1), st.integers(1, 12))
def test_values_stay_in_the_unit_interval(seed, strength, side):
    images = (random_images(seed, side=side) > 0.3).float()
    result = affine_elastic(images, side, generator=torch.Generator().manual_seed(seed), strength=strength)
    assert result.shape == images.shape
    assert 0.0 <= result.min() <= result.max() <= 1.0


@pytest.mark.parametrize("side", [9, 13])
def test_rounding_does_not_leave_the_unit_interval(side):
    white = torch.ones(200, side * side)  # the four weights of a pixel may add up to a little over 1
    assert affine_elastic(white, side, generator=torch.Generator().manual_seed(0)).max() == 1.0


def test_strength_zero_is_the_identity_and_a_small_one_almost():
    images = random_images(0, batch=20, side=28)
    assert torch.equal(affine_elastic(images, 28, generator=torch.Generator(), strength=0.0), images)
    close = affine_elastic(images, 28, generator=torch.Generator(), strength=1e-5)
    # 1e-5 of at most 10 pixels, times a slope of at most 1 in each direction; and the edge fades by as much.
    np.testing.assert_allclose(close.numpy(), images.numpy(), atol=3e-4)


@given(st.integers(0, 1000))
def test_uses_its_generator_and_leaves_the_input_alone(seed):
    images = random_images(seed)
    before, state = images.clone(), torch.get_rng_state()
    one, same = (affine_elastic(images, 9, generator=torch.Generator().manual_seed(seed)) for _ in range(2))
    assert torch.equal(one, same)
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(one, affine_elastic(images, 9, generator=torch.Generator().manual_seed(seed + 1)))


def test_images_are_changed_each_on_its_own():
    images = random_images(0, batch=4)
    result = affine_elastic(images, 9, generator=torch.Generator().manual_seed(5))
    other = images.clone()
    other[1:] = 0.0
    changed = affine_elastic(other, 9, generator=torch.Generator().manual_seed(5))
    assert torch.equal(result[0], changed[0])
    same = affine_elastic(images[:1].expand(4, -1), 9, generator=torch.Generator().manual_seed(5))
    assert not torch.equal(same[0], same[1])


def test_empty_batch():
    assert affine_elastic(torch.zeros(0, 64), 8, generator=torch.Generator()).shape == (0, 64)


def test_errors():
    images, generator = random_images(0), torch.Generator()
    with pytest.raises(ShapeError, match=r"images must be \[B, 49\] for side=7, got \[3, 81\]"):
        affine_elastic(images, 7, generator=generator)
    for strength in (-0.1, 1.1, math.nan):
        with pytest.raises(PnbxValueError, match=rf"strength must be in \[0, 1\], got {strength}"):
            affine_elastic(images, 9, generator=generator, strength=strength)
    with pytest.raises(PnbxValueError, match=r"images must be in \[0, 1\], got values from .* to 255"):
        affine_elastic(torch.full((1, 81), 255.0), 9, generator=generator)
    with pytest.raises(PnbxValueError, match=r"images must be in \[0, 1\], got values from nan"):
        affine_elastic(torch.full((1, 81), math.nan), 9, generator=generator)
