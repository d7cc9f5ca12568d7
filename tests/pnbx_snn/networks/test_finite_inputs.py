"""A NaN that reaches a neuron is below every threshold: it came out of PNBX as logits of 0 without a word."""

import pytest
import torch
from torch import nn

from pnbx_snn import PNBX, SpikingClassifier
from pnbx_snn.checks import check_finite
from pnbx_snn.errors import PnbxValueError
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.networks.event_encoder import EventEncoder


def pnbx(input_range="int8"):
    model = PNBX(in_features=6, num_classes=3, d_hidden=64, num_steps=5, input_range=input_range).eval()
    if input_range == "int8":
        model.calibrate(torch.rand(5, 6))
    return model


def classifier():
    model = SpikingClassifier(in_features=6, hidden=[8], num_classes=3, num_steps=5).eval()
    model.calibrate(torch.rand(5, 6))
    return model


ENTRIES = {
    "PNBX": (lambda x: pnbx()(x), (5, 2, 6)),
    "PNBX of spikes": (lambda x: pnbx("spikes")(x), (5, 2, 6)),
    "PNBX.classify": (lambda x: pnbx().classify(x), (2, 6)),
    "PNBX.stream": (lambda x: pnbx().stream(x), (2, 6)),
    "EventEncoder": (EventEncoder(BitLinear(6, 3), nn.BatchNorm1d(3)), (5, 2, 6)),
    "SpikingClassifier": (lambda x: classifier()(x), (5, 2, 6)),
    "SpikingClassifier.classify": (lambda x: classifier().classify(x), (2, 6)),
}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("entry", ENTRIES)
def test_an_input_that_is_not_finite_is_refused(entry, bad):
    run, shape = ENTRIES[entry]
    x = torch.rand(shape)
    run(x)
    x[(1, *[0] * (len(shape) - 1))] = bad
    with pytest.raises(
        PnbxValueError, match=r"(encoder|SpikingClassifier|encoding.direct): (input|x) must be finite, got"
    ):
        run(x)


def test_an_input_held_over_time_is_looked_at_once():
    held = torch.tensor([[1.0, float("nan")]]).expand(1000, 1, 2)
    with pytest.raises(PnbxValueError, match="got 1 value not finite"):
        check_finite("encoder", "input", held)
    check_finite("encoder", "input", torch.ones(()))
    check_finite("encoder", "input", torch.full((3,), float("nan"), device="meta"))  # has no values
