"""Ternary weights and int8 inputs: values against NumPy, straight-through gradients, properties, errors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pnbx_snn.errors import PnbxValueError
from pnbx_snn.quantization import EPS, quantize_int8, ternarize


def floats(low, high):
    return st.floats(low, high, allow_subnormal=False)


matrices = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=floats(-4, 4))
SCALES = st.sampled_from(["absmean", "median"])


def oracle_ternarize(weight, scale):
    """The equation, entry by entry."""
    magnitudes = sorted(abs(w) for w in weight.flat)
    middle = magnitudes[(len(magnitudes) - 1) // 2]  # the lower of the two middle values
    gamma = max(sum(magnitudes) / len(magnitudes) if scale == "absmean" else middle, EPS)
    ternary = np.zeros(weight.shape)
    for index, w in np.ndenumerate(weight):
        ternary[index] = min(max(np.rint(w / gamma), -1), 1)
    return ternary, gamma


@given(matrices, SCALES)
def test_ternarize_equals_numpy(weight, scale):
    ternary, gamma = ternarize(torch.tensor(weight), scale=scale)
    expected, expected_gamma = oracle_ternarize(weight, scale)
    # A sum in another order moves gamma by an ulp or so, which matters on a rounding border only.
    assert gamma.item() == pytest.approx(expected_gamma, rel=1e-14)
    border = np.isclose(np.abs(weight), expected_gamma / 2, rtol=1e-12)
    assert np.array_equal(ternary.numpy()[~border], expected[~border])


@given(matrices, SCALES, st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
def test_ternary_values_are_exactly_ternary_and_keep_sign_and_dtype(weight, scale, dtype):
    weight = torch.tensor(weight).to(dtype)
    ternary, gamma = ternarize(weight, scale=scale)
    assert ternary.dtype == gamma.dtype == dtype
    assert set(ternary.flatten().tolist()) <= {-1.0, 0.0, 1.0}
    assert bool((ternary * weight >= 0).all())
    assert gamma.item() > 0
    assert not gamma.requires_grad


@given(matrices, SCALES, st.integers(-3, 3))
def test_ternary_weights_do_not_depend_on_the_unit(weight, scale, exponent):
    weight = np.where(np.abs(weight) < 1e-3, 0.0, weight)
    one, two = (ternarize(torch.tensor(w), scale=scale) for w in (weight, weight * 2.0**exponent))
    assert torch.equal(one[0], two[0])
    if one[1] > EPS < two[1]:
        assert two[1].item() == one[1].item() * 2.0**exponent


@pytest.mark.parametrize("scale", ["absmean", "median"])
def test_zero_matrix_gives_zeros_and_can_still_learn(scale):
    weight = torch.zeros(3, 4, requires_grad=True)
    ternary, gamma = ternarize(weight, scale=scale)
    assert torch.equal(ternary, torch.zeros(3, 4))
    assert gamma.item() == pytest.approx(EPS)
    (gamma * ternary).sum().backward()
    torch.testing.assert_close(weight.grad, torch.ones(3, 4))


def test_half_precision_zero_matrix_is_not_nan():
    ternary, gamma = ternarize(torch.zeros(2, 2, dtype=torch.float16))
    assert gamma.item() > 0
    assert torch.equal(ternary, torch.zeros(2, 2, dtype=torch.float16))


def test_weight_of_half_the_scale_is_zero():
    weight = torch.tensor([0.5, -0.5, 1.0, 2.0])  # mean 1, so the border is 0.5
    assert ternarize(weight)[0].tolist() == [0.0, 0.0, 1.0, 1.0]


def test_median_ignores_an_outlier():
    weight = torch.tensor([1.0, -1.0, 1.0, -1.0, 100.0])
    assert ternarize(weight, scale="absmean")[0].tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]
    assert ternarize(weight, scale="median")[0].tolist() == [1.0, -1.0, 1.0, -1.0, 1.0]


@given(matrices, SCALES)
def test_ternary_gradient_is_straight_through(weight, scale):
    latent = torch.tensor(weight, requires_grad=True)
    ternary, gamma = ternarize(latent, scale=scale)
    upstream = torch.arange(1.0, latent.numel() + 1, dtype=torch.float64).reshape(latent.shape)
    (gamma * ternary * upstream).sum().backward()
    # d(gamma W~)/dW = 1, clipped or not; gamma is a constant.
    torch.testing.assert_close(latent.grad, upstream, rtol=1e-12, atol=0)


def test_ternarize_errors(unchecked):
    with pytest.raises(PnbxValueError, match=r"ternarize: scale must be 'absmean' or 'median', got 'max'"):
        ternarize(torch.ones(2, 2), scale="max")
    with pytest.raises(PnbxValueError, match=r"ternarize: weight must have at least one entry, got shape \(0, 3\)"):
        ternarize(torch.ones(0, 3))


@given(hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(-50, 50, width=32)), st.floats(0.01, 2.0))
def test_int8_equals_numpy_bit_for_bit(x, scale):
    scale = np.float32(scale)
    codes = quantize_int8(torch.tensor(x), torch.tensor(scale))
    assert np.array_equal(codes.numpy(), np.clip(np.rint(x / scale), -128, 127))


def test_int8_rounds_half_to_even_and_saturates():
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.4, 200.0, -128.5, -200.0])
    assert quantize_int8(x, 1.0).tolist() == [0, 2, 2, 0, -2, 126, 127, 127, -128, -128]


@given(hnp.arrays(np.float64, st.integers(1, 20), elements=floats(-100, 100)), st.floats(0.1, 1.0))
def test_int8_gradient_is_one_step_inside_and_zero_outside(x, scale):
    values = torch.tensor(x, requires_grad=True)
    quantize_int8(values, torch.tensor(scale, dtype=torch.float64)).sum().backward()
    inside = (x / scale >= -128) & (x / scale <= 127)
    np.testing.assert_array_equal(values.grad.numpy(), np.where(inside, 1 / scale, 0.0))


@pytest.mark.parametrize("scale", [0.0, -0.1, float("nan"), float("inf")])
def test_int8_scale_errors(scale):
    with pytest.raises(PnbxValueError, match=rf"quantize_int8: scale must be positive and finite, got {scale}"):
        quantize_int8(torch.ones(2), scale)
