"""Rivals trained by ``pnbx-snn train``: of the size asked for, on samples that they can read, refused elsewhere."""

import re

import pytest
import torch
from torch import nn

from pnbx_snn.errors import ConfigError, PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.training.checkpoint import build_model, load_run
from pnbx_snn.training.config import load_config, make_config
from pnbx_snn.training.evaluate import evaluate
from pnbx_snn.training.packed import pack_run
from pnbx_snn.training.run import train
from pnbx_snn.training.tasks import load_split
from studies.rivals import GRU, Baseline, DiagonalStateSpaces, Transformer, count


@pytest.mark.parametrize(("name", "kind"), [("mnist_rows", "gru"), ("mnist_rows", "ssm"), ("fsdd", "gru")])
def test_the_example_configurations_have_the_parameters_of_pnbx(name, kind):
    ours = load_config(f"examples/configs/{name}.toml")
    theirs = load_config(f"examples/configs/{name}_baseline.toml", [f"baseline.kind={kind}"])
    assert theirs.baseline.parameters == count(build_model(ours))
    assert count(build_model(theirs)) == pytest.approx(theirs.baseline.parameters, rel=0.01)
    # The same samples, distortions, teacher and budget.
    assert (theirs.data, theirs.augment, theirs.distill) == (ours.data, ours.augment, ours.distill)
    keys = ("epochs", "batch_size", "weight_decay", "label_smoothing", "clip_norm")
    assert [getattr(theirs.train, key) for key in keys] == [getattr(ours.train, key) for key in keys]


def test_the_perceptron_of_the_example_is_the_documents():
    model = build_model(load_config("examples/configs/mnist_baseline.toml"))
    assert [layer.out_features for layer in model.net if isinstance(layer, nn.Linear)] == [1908, 1908, 10]
    assert count(model) == 5_159_242
    assert count(build_model(load_config("examples/configs/mnist_baseline.toml", ["baseline.kind=lenet5"]))) == 61_706


@pytest.mark.parametrize(("kind", "net"), [("gru", GRU), ("ssm", DiagonalStateSpaces), ("transformer", Transformer)])
def test_a_sequence_is_read_in_order_and_answered_with_the_mean(kind, net):
    torch.manual_seed(0)
    model = Baseline(kind, 5, 3, 4, parameters=30_000).eval()
    assert isinstance(model.net, net)
    assert count(model) == pytest.approx(30_000, rel=0.1)
    x = torch.rand(2, 5, 3)
    each = model.net(x.transpose(0, 1))[0]
    assert each.shape == (5, 2, 4)
    assert torch.equal(model(x), each.mean(dim=0))
    assert not torch.allclose(model(x), model(x.flip(1)), atol=1e-4)
    # Causal: a later step leaves the logits of those before as they were.
    other = torch.cat([x[:, :3], torch.rand(2, 2, 3)], dim=1)
    assert torch.allclose(model.net(other.transpose(0, 1))[0][:3], each[:3], atol=1e-6)


def test_dropout_is_there_in_training_alone():
    torch.manual_seed(0)
    x = torch.rand(4, 3, 6)
    for kind in ("mlp", "gru", "ssm", "transformer"):
        model = Baseline(kind, 3, 6, 4, parameters=2000, dropout=0.5)
        assert not torch.equal(model(x), model(x))
        model.eval()
        assert torch.equal(model(x), model(x))


def test_it_trains_resumes_and_is_loaded(tmp_path):
    config = make_config(
        {"baseline": {"parameters": 20_000}, "train": {"epochs": 8, "threads": 1, "learning_rate": 2e-3}}
    )
    result = train(config, tmp_path / "run")
    assert result.metrics["firing_rate"] is None
    model, saved = load_run(tmp_path / "run")
    assert saved == config
    measured = evaluate(model, load_split(config.data, "test"))
    assert measured["accuracy"] > 0.9  # the digits of scikit-learn
    assert measured["firing_rate"] is None
    with pytest.raises(PnbxTypeError, match=r"a \[baseline\] has no ternary weights to pack"):
        pack_run(tmp_path / "run", tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"data": {"name": "mnist"}, "baseline": {"kind": "gru"}},
            "'gru' reads sequences: data.name must be 'mnist_rows'",
        ),
        (
            {"baseline": {"kind": "lenet5"}},
            "reads images of 28 x 28: data.name must be 'mnist' or 'mnist_rows', got 'digits'",
        ),
        (
            {"data": {"name": "mnist"}, "baseline": {"kind": "lenet5", "parameters": 7}},
            "baseline.parameters must be 0 with kind = 'lenet5', got 7",
        ),
        ({"data": {"name": "shd"}, "baseline": {}}, "is sequences of spikes and needs [pnbx], got [baseline]"),
        (
            {"baseline": {"kind": "lstm"}},
            "baseline.kind must be 'mlp', 'lenet5', 'gru', 'ssm' or 'transformer', got 'lstm'",
        ),
        (
            {"baseline": {}, "cnn": {}},
            "only one of [model], [pnbx], [cnn] and [baseline] may be there, got [cnn] and [baseline]",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(values, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_config(values)


def test_errors(unchecked):
    with pytest.raises(PnbxValueError, match="kind must be one of mlp, lenet5, gru, ssm, transformer, got 'lstm'"):
        Baseline("lstm", 1, 784, 10)
    with pytest.raises(PnbxValueError, match=r"parameters must be 0 or more and dropout in \[0, 1\), got -1 and 0.0"):
        Baseline("mlp", 1, 784, 10, parameters=-1)
    with pytest.raises(PnbxValueError, match="lenet5 takes 784 values, 10 classes.*got 64, 10, 0, 0.0"):
        Baseline("lenet5", 1, 64, 10)
    with pytest.raises(ShapeError, match=r"a sample must be 5 steps of 3, got shape \[2, 4, 3\]"):
        Baseline("gru", 5, 3, 10, parameters=1000)(torch.rand(2, 4, 3))
    with pytest.raises(PnbxValueError, match="GRU: one of num_tokens and in_features must be given, got None and None"):
        GRU(num_classes=2, d_model=3, d_hidden=4)
    with pytest.raises(PnbxValueError, match="Transformer: num_classes must be given with in_features, got None"):
        Transformer(in_features=3, d_model=4, num_heads=2, num_layers=1, d_ff=4, num_positions=3)
    with pytest.raises(ShapeError, match=r"steps must be \[T, B, N\] with N = 3 and not empty, got shape \[5, 2\]"):
        GRU(in_features=3, num_classes=2, d_model=3, d_hidden=4)(torch.zeros(5, 2))
