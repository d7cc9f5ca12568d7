"""The digits and their split, and shifted images."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from pnbx_snn.data.augment import shift_images
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.errors import PnbxValueError, ShapeError


def rows(part):
    split = load_digits_split(part=part)
    return [(*image, label) for image, label in zip(split.images.tolist(), split.labels.tolist(), strict=True)]


def test_parts_are_disjoint_and_together_all_digits():
    pixels, labels = load_digits(return_X_y=True)
    everything = sorted((*(image / 16), label) for image, label in zip(pixels, labels, strict=True))
    assert sorted(rows("train") + rows("validation") + rows("test")) == everything
    assert sorted(rows("train") + rows("validation")) == sorted(rows("train_all"))


def test_the_split_never_moves():
    digest = hashlib.sha256(np.array(rows("test"), dtype=np.float32).tobytes()).hexdigest()
    assert digest[:16] == "4ad916435ec0afc2"
    digest = hashlib.sha256(np.array(rows("validation"), dtype=np.float32).tobytes()).hexdigest()
    assert digest[:16] == "563d13c9dada9e28"


@pytest.mark.parametrize(("part", "count"), [("train", 1257), ("validation", 180), ("train_all", 1437), ("test", 360)])
def test_sizes_types_and_stratification(part, count):
    images, labels = load_digits_split(part=part)
    assert images.shape == (count, 64)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert images.min() == 0.0
    assert images.max() == 1.0
    shares = torch.bincount(load_digits_split(part="train_all").labels) / 1437
    assert (torch.bincount(labels) / count - shares).abs().max() < 1.5 / count


def test_unknown_part(unchecked):
    with pytest.raises(PnbxValueError, match="part must be 'train', 'validation', 'train_all' or 'test', got 'all'"):
        load_digits_split(part="all")


def shifted(image, down, right):
    """Pixel by pixel."""
    side = len(image)
    result = np.zeros_like(image)
    for i in range(side):
        for j in range(side):
            if 0 <= i - down < side and 0 <= j - right < side:
                result[i, j] = image[i - down, j - right]
    return result


@given(st.integers(0, 1000), st.integers(0, 4))
def test_each_image_is_one_of_the_possible_shifts(seed, max_shift):
    images = torch.rand(6, 25, generator=torch.Generator().manual_seed(seed)) + 0.1
    result = shift_images(images, 5, generator=torch.Generator().manual_seed(seed), max_shift=max_shift)
    reach = range(-max_shift, max_shift + 1)
    for before, after in zip(images.numpy(), result.numpy(), strict=True):
        possible = [shifted(before.reshape(5, 5), down, right) for down in reach for right in reach]
        assert any(np.array_equal(after.reshape(5, 5), candidate) for candidate in possible)


def test_all_shifts_are_equally_likely_and_probability_is_the_share_that_moves():
    image = torch.zeros(9000, 9)
    image[:, 4] = 1.0  # the centre: the pixel's place tells the shift
    moved = shift_images(image, 3, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(moved.mean(dim=0).numpy(), np.full(9, 1 / 9), atol=0.015)
    moved = shift_images(image, 3, generator=torch.Generator().manual_seed(0), probability=0.3)
    assert moved[:, 4].mean().item() == pytest.approx(0.7 + 0.3 / 9, abs=0.015)
    assert torch.equal(shift_images(image, 3, generator=torch.Generator(), probability=0.0), image)


def test_shift_uses_its_generator_and_leaves_the_input_alone():
    images = torch.rand(5, 64)
    before, state = images.clone(), torch.get_rng_state()
    one, same = (shift_images(images, 8, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, same)
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_shift_errors():
    images, generator = torch.rand(2, 64), torch.Generator()
    with pytest.raises(ShapeError, match=r"images must be \[B, 49\] for side=7, got \[2, 64\]"):
        shift_images(images, 7, generator=generator)
    with pytest.raises(PnbxValueError, match=r"max_shift must be in \[0, 8\), got 8"):
        shift_images(images, 8, generator=generator, max_shift=8)
    with pytest.raises(PnbxValueError, match=r"probability must be in \[0, 1\], got 1.1"):
        shift_images(images, 8, generator=generator, probability=1.1)
