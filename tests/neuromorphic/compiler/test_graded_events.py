"""Networks with graded events as programs: they fire alike, executors give the same bits, what has no place says so."""

import numpy as np
import pytest
import torch

import same
from neuromorphic.compiler import compile_model
from neuromorphic.compiler.nir.export import to_nir
from neuromorphic.errors import CompileError
from pnbx_snn import LIF, PNBX, SpikingClassifier
from pnbx_snn.networks.conv import SpikingConvNet
from pnbx_snn.neurons import graded


@pytest.fixture(autouse=True)
def _nothing_compiled(monkeypatch):
    """Run the networks in torch's operations: compiling loops for them would take most of the time."""
    monkeypatch.setattr(graded, "usable", lambda *given: False)


def pnbx(**options):
    sizes = {"d_hidden": 32, "d_ssm": 8, "d_rnn": 4, "rank": 4, "num_steps": 5, "threshold": 0.5, "quantize": True}
    return PNBX(in_features=6, num_classes=3, hippocampus="none", **{**sizes, **options})


NETWORKS = {
    "encoder": (lambda: pnbx(event_levels=4, beta_encoder=0.0), 6),
    "blocks": (lambda: pnbx(event_levels=3, graded_blocks=True, messages=False, reset="subtract", num_blocks=2), 6),
    "layers": (
        lambda: SpikingClassifier(
            in_features=6, hidden=[9, 8], num_classes=3, num_steps=5, threshold=0.2, reset="subtract", event_levels=4
        ),
        6,
    ),
    "images": (lambda: SpikingConvNet(6, 6, 3, channels=[4, 3], num_steps=3, threshold=0.2, event_levels=4), 36),
}


def trained(name):
    """A network whose norms have seen some samples, in evaluation mode, and those samples over the steps."""
    torch.manual_seed(3)
    make, features = NETWORKS[name]
    model, x = make(), torch.rand(12, features)
    model.calibrate(x)
    for _ in range(30 if name in ("layers", "images") else 0):
        model.classify(x)
    return model.eval(), model.encode(x)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_program_fires_as_its_network(name):
    model, x = trained(name)
    program = compile_model(model, num_steps=len(x))
    graded = [op for op in program.ops if type(op).__name__ == "GradedLIF"]
    assert {op.levels for op in graded} == {model.event_levels}
    recording = same.assert_equal(program, x.numpy(), "native")
    with torch.no_grad():
        expected = model(x).spikes
    found = recording.spikes()
    layers = [found[name] for name in found if not name.endswith("_rnn")]
    for ours, theirs in zip(layers, expected, strict=True):
        assert (ours == theirs.numpy()).mean() > 0.995
    assert max(int(found[op.name].max()) for op in graded) > 1
    labels = model(x).logits.argmax(dim=-1).numpy()
    assert np.mean(labels == recording.labels()) > 0.8


def test_pools_take_the_largest_event():
    model, x = trained("images")
    kinds = [type(op).__name__ for op in compile_model(model, num_steps=len(x)).ops]
    assert kinds.count("MaxPool") == 2
    assert "SpikePool" not in kinds


def test_what_has_no_place_is_refused():
    model, x = trained("encoder")
    with pytest.raises(CompileError, match=r"encoder: live glia move the thresholds of spikes, .* of 4 levels"):
        compile_model(model, num_steps=len(x), glia_period=2)
    with pytest.raises(CompileError, match=r"encoder: no node of NIR gives graded events, of 4 levels"):
        to_nir(model)
    layers, _ = trained("layers")
    with pytest.raises(CompileError, match=r"lif1: no node of NIR gives graded events, of 4 levels"):
        to_nir(layers)
    modules = torch.nn.Sequential(torch.nn.Linear(2, 2), LIF(0.5, levels=3))
    with pytest.raises(CompileError, match=r"no node of NIR gives graded events, got levels=3"):
        compile_model_of_modules(modules)


def compile_model_of_modules(modules):
    import neuromorphic

    return neuromorphic.compile(modules, torch.ones(3, 1, 2))
