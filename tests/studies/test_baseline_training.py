"""Rivals trained by ``python -m studies.rivals``: of the size asked for, on samples they read, refused elsewhere."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from pnbx_snn.cli import app
from pnbx_snn.data.catalog import load_split
from pnbx_snn.errors import ConfigError, PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.training.checkpoint import build_model, load_run, planned_model
from pnbx_snn.training.config import load_config, make_config, to_toml
from pnbx_snn.training.evaluate import evaluate
from pnbx_snn.training.kinds import KINDS
from pnbx_snn.training.packed import pack_run
from pnbx_snn.training.run import train
from studies.rivals import GRU, Baseline, DiagonalStateSpaces, Transformer, count

MNIST = "studies/rivals/configs/mnist_baseline.toml"


@pytest.mark.parametrize("path", sorted(Path(MNIST).parent.glob("*.toml")), ids=lambda path: path.stem)
def test_every_configuration_loads_and_all_name_every_key(path):
    config = load_config(path)
    assert make_config(tomllib.loads(to_toml(config))) == config
    named = [tomllib.loads(file.read_text())["baseline"] for file in path.parent.glob("*.toml")]
    assert {key for keys in named for key in keys} == set(type(config.baseline).model_fields)


def test_a_billion_parameters_are_planned_without_memory():
    model = planned_model(make_config({"baseline": {"parameters": 10**9}}))
    assert count(model) > 10**8  # as wide as is tried
    held = [parameter.numel() for parameter in model.parameters() if not parameter.is_meta]
    assert sum(held) < 10**6  # biases alone: every matrix is a name and a shape


@pytest.mark.parametrize(("name", "kind"), [("mnist_rows", "gru"), ("mnist_rows", "ssm"), ("fsdd", "gru")])
def test_the_example_configurations_have_the_parameters_of_pnbx(name, kind):
    ours = load_config({"mnist_rows": "mnist_rows_distilled"}.get(name, name))
    theirs = load_config(f"studies/rivals/configs/{name}_baseline.toml", [f"baseline.kind={kind}"])
    assert theirs.baseline.parameters == count(build_model(ours))
    assert count(build_model(theirs)) == pytest.approx(theirs.baseline.parameters, rel=0.01)
    # The same samples, distortions, teacher and budget.
    assert (theirs.data, theirs.augment, theirs.distill) == (ours.data, ours.augment, ours.distill)
    keys = ("epochs", "batch_size", "weight_decay", "label_smoothing", "clip_norm")
    assert [getattr(theirs.train, key) for key in keys] == [getattr(ours.train, key) for key in keys]


def test_the_perceptron_of_the_example_is_the_documents():
    model = build_model(load_config(MNIST))
    assert [layer.out_features for layer in model.net if isinstance(layer, nn.Linear)] == [1908, 1908, 10]
    assert count(model) == 5_159_242
    assert count(build_model(load_config(MNIST, ["baseline.kind=lenet5"]))) == 61_706


@pytest.mark.parametrize(("kind", "net"), [("gru", GRU), ("ssm", DiagonalStateSpaces), ("transformer", Transformer)])
def test_a_sequence_is_read_in_order_and_answered_with_the_mean(kind, net):
    torch.manual_seed(0)
    model = Baseline(5, 3, 4, kind=kind, parameters=30_000).eval()
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
        model = Baseline(3, 6, 4, kind=kind, parameters=2000, dropout=0.5)
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
        (
            {"baseline": {"parameters": -1}},
            "baseline.parameters must be a whole number in [0, 1000000000], got -1",
        ),
        ({"baseline": {"num_layers": 65}}, "baseline.num_layers must be a whole number in [1, 64], got 65"),
        ({"baseline": {"dropout": 1.0}}, "baseline.dropout must be a number in [0, 1), got 1.0"),
        ({"data": {"name": "fsdd"}, "model": {}}, "is a sequence and needs [pnbx], [cnn] or [baseline], got [model]"),
        ({"data": {"name": "shd"}, "baseline": {}}, "is sequences of spikes and needs [pnbx], got [baseline]"),
        (
            {"baseline": {"kind": "lstm"}},
            "baseline.kind must be 'mlp', 'lenet5', 'gru', 'ssm' or 'transformer', got 'lstm'",
        ),
        (
            {"baseline": {}, "cnn": {}},
            "only one of [model], [pnbx], [cnn], [conv] and [baseline] may be there, got [cnn] and [baseline]",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(values, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_config(values)


def test_errors(unchecked):
    with pytest.raises(PnbxValueError, match="kind must be one of mlp, lenet5, gru, ssm, transformer, got 'lstm'"):
        Baseline(1, 784, 10, kind="lstm")
    with pytest.raises(PnbxValueError, match=r"parameters must be 0 or more and dropout in \[0, 1\), got -1 and 0.0"):
        Baseline(1, 784, 10, parameters=-1)
    with pytest.raises(PnbxValueError, match="lenet5 takes 784 values, 10 classes.*got 64, 10, 0, 0.0"):
        Baseline(1, 64, 10, kind="lenet5")
    with pytest.raises(ShapeError, match=r"a sample must be 5 steps of 3, got shape \[2, 4, 3\]"):
        Baseline(5, 3, 10, kind="gru", parameters=1000)(torch.rand(2, 4, 3))
    with pytest.raises(PnbxValueError, match="GRU: one of num_tokens and in_features must be given, got None and None"):
        GRU(num_classes=2, d_model=3, d_hidden=4)
    with pytest.raises(PnbxValueError, match="Transformer: num_classes must be given with in_features, got None"):
        Transformer(in_features=3, d_model=4, num_heads=2, num_layers=1, d_ff=4, num_positions=3)
    with pytest.raises(ShapeError, match=r"steps must be \[T, B, N\] with N = 3 and not empty, got shape \[5, 2\]"):
        GRU(in_features=3, num_classes=2, d_model=3, d_hidden=4)(torch.zeros(5, 2))


def test_the_command_line(tmp_path, monkeypatch):
    """The product's own command says which one has the rivals; that one trains, and reads what it trained."""
    config, run = tmp_path / "small.toml", str(tmp_path / "run")
    config.write_text("[baseline]\nparameters = 3000\n[train]\nepochs = 1\nthreads = 1\n")
    command = [sys.executable, "-m", "studies.rivals", "train", str(config), "--out", run]
    trained = subprocess.run(command, check=False, capture_output=True, text=True)
    assert f"Next: python -m studies.rivals eval {run}" in trained.stdout, trained.stderr
    rivals = CliRunner()
    assert "accuracy" in rivals.invoke(app, ["eval", run]).stdout
    drawn = rivals.invoke(app, ["raster", run, "-o", str(tmp_path / "x.png")])
    assert (drawn.exit_code, "a [baseline] has no spikes to draw" in drawn.stderr) == (2, True)
    monkeypatch.delitem(KINDS, "baseline")
    for arguments, place in (["train", str(config)], "small.toml"), (["eval", run], "checkpoint.safetensors"):
        refused = rivals.invoke(app, arguments)
        assert refused.exit_code == 2
        known = "networks here are [model], [pnbx], [cnn] and [conv]"
        assert f"{place}: unknown section [baseline], {known}" in refused.stderr
        assert "run `python -m studies.rivals` in its folder" in refused.stderr
