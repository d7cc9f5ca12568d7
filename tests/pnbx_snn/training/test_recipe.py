"""What a training can do to learn better: each option does what it says, costs nothing when off, and can be resumed."""

import math

import pytest
import torch
from torch import nn

from pnbx_snn.data.catalog import load_split
from pnbx_snn.data.split import Split
from pnbx_snn.layers import bitlinear, hippocampus
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.layers.ssm import SelectiveSSM
from pnbx_snn.networks.classifier import SpikingClassifier
from pnbx_snn.quantization import keep_ternary, use_weights, weights_in_use
from pnbx_snn.training.average import Average
from pnbx_snn.training.checkpoint import CHECKPOINT_NAME, load_checkpoint, load_run
from pnbx_snn.training.config import make_config
from pnbx_snn.training.distributed import Workers
from pnbx_snn.training.flips import FlipFreezer
from pnbx_snn.training.reestimate import reestimate
from pnbx_snn.training.run import evaluate, initial_model, train
from pnbx_snn.training.run_log import read_metrics
from pnbx_snn.training.trainer import Trainer

TINY = {
    "data": {"part": "train"},
    "model": {"hidden": [6], "num_steps": 2},
    "train": {"epochs": 3, "batch_size": 400, "threads": 1},
}


def tiny(section="train", **values):
    return make_config({**TINY, section: {**TINY.get(section, {}), **values}})


class Stop(Exception):  # noqa: N818
    """Ends a training from its progress callback."""


def train_and_resume(config, folder):
    """Train straight, and stopped after each epoch; return what the two checkpoints hold."""

    def stop(metrics):
        raise Stop

    train(config, folder / "straight")
    for epoch in range(config.train.epochs):
        with pytest.raises(Stop):
            train(config, folder / "resumed", progress=stop, resume=epoch > 0)
        torch.rand(7)
    return [(folder / run / CHECKPOINT_NAME).read_bytes() for run in ("straight", "resumed")]


OPTIONS = {"average": 0.9, "reestimate": 2, "float_share": 0.3, "freeze_flips": 0.001}
OFTEN = {"learning_rate": 0.05, "batch_size": 100}
"""So weights flip."""


def test_a_training_with_all_options_goes_on_to_the_same_bits(tmp_path):
    straight, resumed = train_and_resume(tiny(**OPTIONS, **OFTEN), tmp_path)
    assert straight == resumed
    assert read_metrics(tmp_path / "straight" / "metrics.jsonl")[-1]["frozen_weights"] > 0


# The average


def test_the_average_is_that_of_its_equation():
    generator = torch.Generator().manual_seed(0)
    model, path = nn.Linear(3, 2), torch.randn(40, 2, 3, generator=generator)
    with torch.no_grad():
        expected = model.weight.double().clone()
        average = Average(model, 0.9)
        for n, value in enumerate(path, start=1):
            model.weight.copy_(value)
            average.update(n)
            decay = min(0.9, (1 + n) / (10 + n))
            expected = decay * expected + (1 - decay) * value.double()
    average.put_in()
    assert torch.allclose(model.weight.double(), expected, atol=1e-6)
    average.take_out()
    assert torch.equal(model.weight, path[-1])


def test_the_average_is_what_a_run_measures_and_saves(tmp_path):
    config = tiny(average=0.9)
    result = train(config, tmp_path / "run")
    plain = train(tiny(), tmp_path / "plain")
    loaded = load_run(tmp_path / "run")[0]
    assert result.metrics["accuracy_validation"] == evaluate(loaded, load_split(config.data, "validation"))["accuracy"]
    # The training itself is the plain one: its last step left these weights.
    assert result.metrics["loss"] == plain.metrics["loss"]
    assert not torch.equal(result.model.readout.weight, plain.model.readout.weight)


def test_a_result_is_put_in_for_a_while(tmp_path):
    config = tiny(average=0.9)
    run = Trainer(initial_model(config), config, load_split(config.data, "train"), Workers())
    run.train_epoch(1)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    with run.result(1):
        changed = {name for name, tensor in run.model.state_dict().items() if not torch.equal(tensor, before[name])}
        run.save(tmp_path / "c", 1)
    assert {"layers.0.linear.weight", "layers.0.norm.running_mean", "readout.bias"} <= changed
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.model.state_dict().items())
    saved = initial_model(config)
    load_checkpoint(tmp_path / "c", saved)  # who uses the network needs nothing of the training
    assert {name for name, tensor in saved.state_dict().items() if not torch.equal(tensor, before[name])} == changed


# Batch norm measured anew


def test_statistics_are_the_mean_over_the_batches():
    generator = torch.Generator().manual_seed(0)
    model = SpikingClassifier(in_features=4, hidden=[5], num_classes=2, num_steps=1)
    batches = [torch.rand(8, 4, generator=generator) for _ in range(3)]
    model.calibrate(torch.cat(batches))
    model(model.encode(batches[0]))  # leaves other statistics
    norm, seen = model.layers[0].norm, []
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    reestimate(model, [(batch, None) for batch in batches])
    hook.remove()
    assert torch.allclose(norm.running_mean, torch.stack([x.mean(dim=0) for x in seen]).mean(dim=0), atol=1e-6)
    assert torch.allclose(norm.running_var, torch.stack([x.var(dim=0) for x in seen]).mean(dim=0), atol=1e-6)
    assert norm.momentum == 0.1
    assert model.training
    kept = norm.running_mean.clone()
    reestimate(model, [])
    assert torch.equal(norm.running_mean, kept)


def test_the_network_is_measured_on_samples_as_they_are():
    config = tiny(reestimate=1, max_shift=7, shift_share=1.0, batch_size=100)
    data = load_split(config.data, "train")
    one = Split(data.images[:1].expand(300, -1), data.labels[:1].expand(300))
    run = Trainer(initial_model(config), config, one, Workers())
    with run.result(config.train.epochs):
        pass
    linear, norm = run.model.layers[0].linear, run.model.layers[0].norm
    assert torch.allclose(norm.running_mean, linear(one.images[0]).detach(), atol=1e-5)


# Float first


def test_latent_weights_make_sums_as_large_as_ternary_ones():
    generator = torch.Generator().manual_seed(0)
    layer, x = BitLinear(400, 300), (torch.rand(200, 400, generator=generator) < 0.2).float()
    nn.init.normal_(layer.weight, generator=generator)
    ternary = layer(x).detach()
    use_weights(layer, "float")
    product = layer(x)
    _, scale = layer.rounded()
    assert torch.allclose(product, x @ (scale * layer.weight).T, atol=1e-5)
    assert product.square().mean().sqrt().item() == pytest.approx(ternary.square().mean().sqrt().item(), rel=0.02)
    (product * ternary).sum().backward()
    assert torch.allclose(layer.weight.grad, scale * (ternary.T @ x), rtol=1e-4, atol=1e-3)
    use_weights(layer, "ternary")
    assert torch.equal(layer(x), ternary)
    use_weights(layer, "float")
    layer.weight.data.zero_()
    assert not layer(x).any()


def test_no_kernel_for_ternary_weights_sees_latent_ones(monkeypatch):
    """Whatever the size, in training and where weights are kept: bits of ternary weights would be counted."""
    generator = torch.Generator().manual_seed(0)
    events = (torch.rand(3, 64, 16, generator=generator) < 0.3).float()
    for module in (bitlinear, hippocampus):
        monkeypatch.setattr(module, "faster_than_torch", lambda *_: True)
    for layer in (BitLinear(16, 8), SelectiveSSM(16, 8), hippocampus.Hippocampus(16, 4)):
        layer(events)  # the kernel takes it
        use_weights(layer, "float")
        monkeypatch.setattr(bitlinear, "ternary_products", None)
        monkeypatch.setattr(hippocampus, "ternary_products", None)
        y = layer(events)
        with keep_ternary(layer), torch.no_grad():
            kept = layer(events)
        assert torch.equal(*(z if isinstance(z, torch.Tensor) else z[0] for z in (y, kept)))
        monkeypatch.undo()
        for module in (bitlinear, hippocampus):
            monkeypatch.setattr(module, "faster_than_torch", lambda *_: True)


def test_weights_are_float_for_a_share_of_the_steps(tmp_path):
    config, kinds = tiny(float_share=0.5), []
    run = Trainer(initial_model(config), config, load_split(config.data, "train"), Workers())
    linear = run.model.layers[0].linear
    linear.register_forward_hook(lambda *_: kinds.append(weights_in_use(linear)))
    shown = [run.train_epoch(epoch)["weights"] for epoch in (1, 2, 3)]
    num_steps = 3 * run.num_batches
    assert kinds == ["float"] * (num_steps // 2) + ["ternary"] * (num_steps - num_steps // 2)
    assert shown == ["float", "ternary", "ternary"]
    assert "weights" not in Trainer(
        initial_model(tiny()), tiny(), load_split(config.data, "train"), Workers()
    ).train_epoch(1)


def test_latent_weights_learn_and_are_measured_as_they_are(tmp_path):
    config = tiny(float_share=1.0)
    result = train(config, tmp_path)
    validation = load_split(config.data, "validation")
    assert result.metrics["weights"] == "float"
    assert evaluate(result.model, validation)["accuracy"] == result.metrics["accuracy_validation"]
    loaded = load_run(tmp_path)[0]
    x = loaded.encode(validation.images)
    assert not torch.equal(loaded(x).logits, result.model(x).logits)  # ternary, as all networks that are loaded
    use_weights(loaded, "float")
    assert torch.equal(loaded(x).logits, result.model(x).logits)


# Weights that flip


def slow_freezer(path, threshold, first, last):
    """Do what the docstring of :class:`FlipFreezer` says to one matrix, weight by weight in plain numbers."""
    weights, known, frozen = path[0].clone(), {}, {}
    for step, moves in enumerate(path[1:], start=1):
        weights = weights + moves
        if step < first:
            continue
        gamma = weights.abs().mean()
        limit = threshold * (1 + 1.5 * (1 + math.cos(math.pi * (step - first) / (last - first))))
        for i in range(len(weights)):
            value = frozen.get(i, int((weights[i] / gamma).round().clamp(-1, 1)))
            before, moved, f, mean = known.get(i, (value, 0, 0.0, float(value)))
            change = (value > before) - (value < before)
            f, mean = 0.99 * f + 0.01 * (change * moved < 0), 0.99 * mean + 0.01 * value
            if f > limit and i not in frozen:
                frozen[i] = round(mean)
            known[i] = (frozen.get(i, value), change or moved, f, mean)
        for i, value in frozen.items():
            weights[i] = value * gamma
    return weights, frozen


def test_weights_that_flip_are_frozen_as_the_equations_say():
    generator = torch.Generator().manual_seed(0)
    path = torch.randn(61, 12, generator=generator, dtype=torch.float64) * 0.3
    layer = BitLinear(12, 1).double()
    with torch.no_grad():
        layer.weight.copy_(path[0])
        freezer = FlipFreezer(layer, 0.02, first=11, last=60)
        for step, moves in enumerate(path[1:], start=1):
            layer.weight.add_(moves)
            freezer.update(step)
    expected, frozen = slow_freezer(path, 0.02, 11, 60)
    assert 2 < len(frozen) < 12
    assert freezer.share() == len(frozen) / 12
    assert torch.allclose(layer.weight[0], expected)
    assert all(layer.ternary_weight()[0, i] == value for i, value in frozen.items())


def test_frozen_weights_stay_and_are_counted(tmp_path):
    config = tiny(freeze_flips=0.001, epochs=4, **OFTEN)
    run = Trainer(initial_model(config), config, load_split(config.data, "train"), Workers())
    shares = [run.train_epoch(epoch)["frozen_weights"] for epoch in (1, 2, 3)]
    name = "layers.0.linear"
    frozen, before = run.recipe.freezer.state()[f"{name}.frozen"].clone(), run.model.layers[0].linear.ternary_weight()
    shares.append(run.train_epoch(4)["frozen_weights"])
    after = run.model.layers[0].linear.ternary_weight()
    assert shares[0] == shares[1] == 0 < shares[2] < shares[3] < 1
    assert torch.equal(after[frozen], before[frozen])
    assert not torch.equal(after, before)
