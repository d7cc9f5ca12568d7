"""NeuroBench's metrics: the package counts, and counts what our own slow counting says."""

import json
import sys

import pytest
import torch
from typer.testing import CliRunner

from pnbx_snn.cli import app
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.data.split import Split
from pnbx_snn.errors import PnbxError
from pnbx_snn.files.tensors import read_tensors
from pnbx_snn.layers.bitlinear import BitLinear, apply_all
from pnbx_snn.layers.hippocampus import Hippocampus
from pnbx_snn.metrics.counts import parameter_table
from pnbx_snn.metrics.neurobench import PackedNetwork, matrices_of, neurobench
from pnbx_snn.quantization import quantize_int8
from pnbx_snn.training.checkpoint import CHECKPOINT_NAME, CheckpointMeta, build_model, save_checkpoint
from pnbx_snn.training.config import make_config
from pnbx_snn.training.evaluate import evaluate

pytest.importorskip("neurobench", reason="pip install --no-deps neurobench")

SIZES = {
    "d_hidden": 64,
    "num_steps": 3,
    "d_ssm": 8,
    "d_rnn": 8,
    "rank": 4,
    "slots": 8,
    "tau_max": 8.0,
    "threshold": 0.5,
}
NUM_SAMPLES = 50


def split_of(num=NUM_SAMPLES):
    split = load_digits_split(part="validation")
    return Split(split.images[:num], split.labels[:num])


def network(sections):
    torch.manual_seed(3)
    model = build_model(make_config(sections))
    model.calibrate(split_of().images)
    return model.eval()


def ternary(module):
    return module.rounded()[0].detach().double()


def operations(inputs, module):
    """Count by the definition: a nonzero weight met by a nonzero input, inputs ``[..., K]``."""
    met = (inputs.flatten(0, -2) != 0).double().sum(dim=0)  # [K]
    return float(met @ (ternary(module) != 0).double().sum(dim=0))


def test_a_classifier_has_the_operations_that_we_count():
    model, split = network({"model": {"hidden": [32, 16], "num_steps": 4, "threshold": 0.1}}), split_of()
    split.images[:, ::5] *= 1e-3  # their codes are 0
    found = neurobench(model, split, batch_size=16)
    with torch.no_grad():
        _, (first, second) = model.classify(split.images)
    assert first.any()
    assert second.any()
    one, two = model.layers
    codes = quantize_int8(split.images, one.linear.input_scale)  # shown in all steps, multiplied once
    macs = operations(codes, one.linear) + operations(second.mean(dim=0), model.readout)
    counted = found["synaptic_operations"]
    assert counted["Effective_ACs"] == pytest.approx(operations(first, two.linear) / NUM_SAMPLES, rel=1e-12)
    assert counted["Effective_MACs"] == pytest.approx(macs / NUM_SAMPLES, rel=1e-12)
    assert counted["Dense"] == 64 * 32 + 4 * 32 * 16 + 16 * 10


def test_a_pnbx_network_has_the_operations_that_we_count():
    model, split = network({"pnbx": SIZES}), split_of()
    found = neurobench(model, split, batch_size=50)
    with torch.no_grad():
        _, (events, spikes) = model.classify(split.images)
        block = model.blocks[0]
        readers = [block.ssm.A, block.ssm.B, block.ssm.D, block.rnn.U, block.rnn.W, block.fast_weights.P]
        # What events meet: the projections, and the slots when they are asked.
        additions = sum(operations(events, module) for module in [*readers, block.hippocampus])
        codes = quantize_int8(split.images, model.encoder.linear.input_scale)
        _, alpha = block.hippocampus._ask(events)
        recalled = (alpha.flatten(0, 1) != 0).double().sum(dim=0) @ (ternary(block.hippocampus) != 0).double().sum(
            dim=1
        )
    counted = found["synaptic_operations"]
    assert events.any()
    assert counted["Effective_ACs"] == pytest.approx(additions / NUM_SAMPLES, rel=1e-12)
    others = (
        counted["Effective_MACs"]
        - float(operations(codes, model.encoder.linear) + operations(spikes.mean(dim=0), model.readout) + recalled)
        / NUM_SAMPLES
    )
    # What is left reads states that are never exactly 0: three steps of ssm.C, rnn.V and fast_weights.Q.
    dense = 3 * sum(int((ternary(m) != 0).sum()) for m in (block.ssm.C, block.rnn.V, block.fast_weights.Q))
    assert 0 < others <= dense
    assert counted["Dense"] == 64 * 64 + 3 * (64 * 8 * 8 + 64 * 4 * 2 + 2 * 8 * 64) + 64 * 10 - 3 * 64 * 8


def test_sparsity_and_accuracy_are_those_of_our_own_measurement():
    model, split = network({"pnbx": SIZES}), split_of()
    found, ours = neurobench(model, split), evaluate(model, split)
    assert found["accuracy"] == pytest.approx(ours["accuracy"], abs=1e-6)  # a mean in float32
    assert found["activation_sparsity"] == pytest.approx(1 - ours["firing_rate"], abs=1e-12)
    weights = torch.cat([ternary(module).flatten() for module in matrices_of(model).values()])
    assert found["connection_sparsity"] == pytest.approx((weights == 0).double().mean().item(), abs=5e-5)  # it rounds
    assert (found["n"], found["neurobench"]) == (NUM_SAMPLES, "2.3.0")


def test_the_weights_are_those_of_the_parameter_table():
    model = network({"pnbx": SIZES})
    parts = {row.part: row.by_gradient for row in parameter_table(model)}
    matrices = sum(ternary(module).numel() for module in matrices_of(model).values())
    vectors = sum(p.numel() for name, p in model.blocks[0].named_parameters() if p.ndim < 2 and "membrane" not in name)
    named = ("encoder", "ssm", "rnn", "fast_weights", "readout")
    assert matrices == sum(parts[name] for name in named) - vectors + 8 * 64  # a hippocampus changes by a rule


def test_the_footprint_is_that_of_the_packed_file(tmp_path):
    from pnbx_snn.training.packed import pack_run

    config = make_config({"pnbx": SIZES})
    model = network({"pnbx": SIZES})
    save_checkpoint(tmp_path / CHECKPOINT_NAME, model, meta=CheckpointMeta(config=config.model_dump()))
    pack_run(tmp_path, tmp_path / "packed.safetensors", coding="bits2")
    tensors = read_tensors(tmp_path / "packed.safetensors")[1]
    found = neurobench(model, split_of(4))
    assert found["footprint"] == sum(tensor.nbytes for tensor in tensors.values())
    assert found["footprint_float32"] == sum(tensor.nbytes for tensor in model.state_dict().values())
    assert sum(b.nbytes for b in PackedNetwork(model).buffers()) == found["footprint"]


def test_layers_with_hooks_are_called():
    layers = [BitLinear(512, 512), BitLinear(512, 256)]
    x = (torch.rand(256, 512) < 0.2).float()  # large enough for the products of several layers at once
    plain = apply_all(layers, x)
    seen = []
    layers[1].register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    for ours, theirs in zip(apply_all(layers, x), plain, strict=True):
        assert torch.equal(ours, theirs)
    assert seen == [x.shape]


def test_hooks_are_gone_afterwards():
    model = network({"pnbx": SIZES})
    neurobench(model, split_of(4))
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    assert isinstance(model.blocks[0].hippocampus, Hippocampus)


# What goes wrong


def test_what_cannot_be_measured_says_so(monkeypatch):
    with pytest.raises(PnbxError, match=r"a \[cnn\] has no ternary weights; neurobench.models.TorchModel takes it"):
        neurobench(build_model(make_config({"cnn": {"channels": 4}})), split_of(4))
    with pytest.raises(PnbxError, match="the loop of rnn = 'spiking' runs outside of layers"):
        neurobench(network({"pnbx": {**SIZES, "rnn": "spiking"}}), split_of(4))
    monkeypatch.setitem(sys.modules, "neurobench", None)
    with pytest.raises(PnbxError, match="NeuroBench is not installed .*: pip install --no-deps neurobench"):
        neurobench(network({"pnbx": SIZES}), split_of(4))


def test_a_metric_that_fails_is_no_zero(monkeypatch):
    """NeuroBench prints the error of a metric and goes on with 0."""
    from neurobench.metrics.workload import SynapticOperations

    monkeypatch.setattr(SynapticOperations, "compute", lambda self: 1 // 0)
    with pytest.raises(PnbxError, match="Error running workload metric 'SynapticOperations': .*zero"):
        neurobench(network({"pnbx": SIZES}), split_of(4))


def test_the_command(tmp_path):
    model, config = network({"pnbx": SIZES}), make_config({"pnbx": SIZES})
    save_checkpoint(tmp_path / CHECKPOINT_NAME, model, meta=CheckpointMeta(config=config.model_dump()))
    arguments = ["neurobench", str(tmp_path), "--part", "validation", "--samples", "9"]
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert found == {"part": "validation", **neurobench(model, split_of(9))}
    shown = CliRunner().invoke(app, arguments).stdout
    assert "synaptic operations a sample: additions" in shown
    assert f"{found['footprint']:,} bytes" in shown
