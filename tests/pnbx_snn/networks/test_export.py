"""Whole networks traced by torch: exported, compiled, and on the device that has shapes only."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from pnbx_snn.networks.classifier import SpikingClassifier
from pnbx_snn.networks.pnbx import PNBX

SIZES = {"in_features": 16, "num_classes": 3, "d_hidden": 64, "d_ssm": 16, "d_rnn": 8, "rank": 4, "slots": 5}
VARIANTS = {
    "whole": {},
    "complex": {"ssm": "complex"},
    "delta rule": {"fast_weights": "delta"},
    "grid": {"quantize": True},
    "step": {"readout": "step"},
}


class Logits(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        if isinstance(self.model, PNBX):
            return self.model(x, keep_state=False).logits
        return self.model(x).logits


def network(name):
    torch.manual_seed(0)
    model = PNBX(num_steps=4, **SIZES, **VARIANTS[name])
    x = torch.rand(8, 16)
    model.calibrate(x)
    return Logits(model.eval()), model.encode(x).contiguous()


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_a_network_is_exported_and_loaded(name, tmp_path):
    model, x = network(name)
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "model.pt2")
    again = torch.export.load(tmp_path / "model.pt2").module()
    assert torch.equal(again(x), model(x))
    assert not torch.equal(again(x * 0.5), model(x))


COMPILED = """
import sys

import torch

from test_export import network

model, x = network(sys.argv[1])
compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
gradients = []
for run in (compiled, model):
    model.zero_grad()
    run(x).square().sum().backward()
    gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
assert len(gradients[0]) == len(gradients[1]) > 10
for got, expected in zip(*gradients, strict=True):
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)  # sums in another order
"""


@pytest.mark.parametrize("name", ["whole", "delta rule"])
def test_a_network_is_compiled_whole_and_learns(name):
    """In a process of its own: the type checks around every function here cannot be traced."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", COMPILED, name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_classifier_is_exported():
    torch.manual_seed(0)
    model = SpikingClassifier(in_features=9, hidden=(12,), num_classes=3, num_steps=5)
    x = torch.rand(6, 9)
    model.calibrate(x)
    model.eval()
    inputs = model.encode(x).contiguous()
    with torch.no_grad():
        exported = torch.export.export(Logits(model), (inputs,)).module()
        assert torch.equal(exported(inputs), Logits(model)(inputs))


@pytest.mark.parametrize("name", VARIANTS)
def test_shapes_alone(name):
    model = PNBX(num_steps=4, **SIZES, **VARIANTS[name]).to("meta")
    output = model(torch.empty(4, 8, 16, device="meta"))
    assert output.logits.shape == ((4, 8, 3) if name == "step" else (8, 3))
    assert output.state.blocks[0].hippocampus.E.shape == (8, 5, 64)
    output.logits.sum().backward()
    assert model.encoder.linear.weight.grad.shape == (64, 16)
