"""Firing rate and its penalty: against plain sums, gradients, errors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pnbx_snn.errors import PnbxValueError
from pnbx_snn.training.losses import firing_rate, rate_penalty


def random_spikes(seed, widths):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.rand(3, 2, width, generator=generator) < 0.3).double() for width in widths]


layers = st.builds(random_spikes, st.integers(0, 1000), st.lists(st.integers(1, 9), min_size=1, max_size=4))


@given(layers)
def test_firing_rate_weighs_layers_by_their_neurons(spikes):
    together = np.concatenate([layer.numpy().ravel() for layer in spikes])
    assert firing_rate(spikes) == pytest.approx(together.mean(), abs=1e-12)


@given(layers, st.floats(0, 1))
def test_penalty_and_its_gradient(spikes, target):
    for layer in spikes:
        layer.requires_grad_()
    penalty = rate_penalty(spikes, target=target)
    penalty.backward()
    means = [layer.detach().numpy().mean() for layer in spikes]
    assert penalty.item() == pytest.approx(np.mean([(mean - target) ** 2 for mean in means]), abs=1e-12)
    for layer, mean in zip(spikes, means, strict=True):
        slope = 2 * (mean - target) / layer.numel() / len(spikes)
        np.testing.assert_allclose(layer.grad.numpy(), np.full(layer.shape, slope), rtol=1e-12, atol=1e-15)


def test_penalty_is_zero_at_the_target_only():
    spikes = [torch.tensor([[[0.0, 1.0]]])]
    assert rate_penalty(spikes, target=0.5).item() == 0.0
    assert rate_penalty(spikes).item() == pytest.approx((0.5 - 0.188) ** 2)


def test_spikes_in_half_precision_are_counted_to_the_end():
    # 147,456 spikes: a sum in float16 overflows beyond 65,504.
    assert firing_rate([torch.ones(9, 128, 128, dtype=torch.float16)]) == 1.0


def test_errors():
    with pytest.raises(PnbxValueError, match=r"firing_rate: spikes must be at least one tensor, .* got shapes \[\]"):
        firing_rate([])
    with pytest.raises(PnbxValueError, match=r"rate_penalty: spikes .* none of them empty, got shapes \[\[0, 2, 3\]\]"):
        rate_penalty([torch.ones(0, 2, 3)])
    with pytest.raises(PnbxValueError, match=r"rate_penalty: target must be in \[0, 1\], got 1.5"):
        rate_penalty([torch.ones(1, 1, 1)], target=1.5)
