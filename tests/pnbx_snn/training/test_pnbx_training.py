"""Training PNB-X networks and teachers: every option runs and is resumable, processes agree, mixed precision, CLI."""

import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from pnbx_snn.cli import app
from pnbx_snn.data.augment import drop_inputs
from pnbx_snn.data.catalog import augment, load_split
from pnbx_snn.errors import ConfigError, DataError, PnbxError
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.training.checkpoint import CHECKPOINT_NAME, load_run
from pnbx_snn.training.config import load_config, make_config, to_toml
from pnbx_snn.training.losses import distillation
from pnbx_snn.training.run import Workers, evaluate, train
from pnbx_snn.training.run_log import read_metrics
from pnbx_snn.training.settings import DataConfig

PNBX_TINY = {"d_hidden": 64, "num_steps": 3, "d_ssm": 8, "d_rnn": 8, "rank": 4, "slots": 8, "tau_max": 8.0}
FAST = {"epochs": 4, "batch_size": 128, "threads": 1, "learning_rate": 5e-3, "rate_weight": 0.0}


def tiny(**sections):
    base = {"pnbx": PNBX_TINY, "train": FAST}
    return make_config({name: {**base.get(name, {}), **sections.get(name, {})} for name in {**base, **sections}})


class Stop(Exception):  # noqa: N818
    """Ends a training from its progress callback."""


def test_it_learns_and_glia_holds_the_rate(tmp_path):
    config = tiny(train={"epochs": 12, "settle": 40})
    result = train(config, tmp_path / "run")
    assert result.metrics["accuracy_train"] > 0.85
    measured = evaluate(result.model, load_split(config.data, "train_all"))
    assert measured["firing_rate_layers"] == pytest.approx([0.188, 0.188], abs=0.01)
    assert isinstance(load_run(tmp_path / "run")[0], PNBX)
    assert [len(row["firing_rate_layers"]) for row in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [2] * 12


EVERYTHING = {
    "pnbx": {"noise_sigma": 0.2, "dropout": 0.2},
    "augment": {"strength": 0.5, "strength_end": 0.1, "input_dropout": 0.1},
    "train": {"settle": 3, "clip_norm": 1.0, "mixed_precision": "bf16"},
}


@pytest.mark.parametrize("sections", [{}, EVERYTHING], ids=["plain", "everything that draws"])
def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path, sections):
    config = tiny(**sections)

    def stop(metrics):
        raise Stop

    train(config, tmp_path / "straight")
    # The data may lie somewhere else when it goes on; the digits come with scikit-learn, whatever the folder.
    moved = replace(config, data=config.data.model_copy(update={"folder": "elsewhere"}))
    for config_then, resume in ((config, False), (moved, True)):
        with pytest.raises(Stop):
            train(config_then, tmp_path / "resumed", progress=stop, resume=resume)
        torch.rand(7)
    train(config, tmp_path / "resumed", resume=True)
    first, second = ((tmp_path / run / CHECKPOINT_NAME).read_bytes() for run in ("straight", "resumed"))
    assert first == second


@pytest.mark.parametrize(
    "options",
    [
        {"ssm": "complex", "rnn": "spiking", "fast_weights": "delta", "hippocampus": "persistent"},
        {"ssm": "real", "competition": "winner", "num_blocks": 2, "norm": "affine", "readout": "step"},
        {"ssm": "none", "rnn": "none", "fast_weights": "none", "hippocampus": "none", "glia": False, "messages": False},
    ],
)
def test_every_kind_of_part_trains(tmp_path, options):
    result = train(tiny(pnbx=options, train={"epochs": 2}), tmp_path)
    assert result.metrics["loss"] < 2.4
    assert torch.isfinite(torch.cat([p.flatten() for p in result.model.parameters()])).all()


# Teachers


def test_a_teacher_is_a_run_and_its_answers_count(tmp_path):
    teacher = make_config({"cnn": {"channels": 4}, "train": {**FAST, "epochs": 3}})
    assert train(teacher, tmp_path / "teacher").metrics["firing_rate"] is None
    losses = {}
    for weight in (0.0, 1.0):
        distill = {"teacher": str(tmp_path / "teacher"), "weight": weight}
        losses[weight] = train(tiny(distill=distill, train={"epochs": 1}), tmp_path / str(weight)).metrics["loss"]
    alone = train(tiny(train={"epochs": 1}), tmp_path / "alone").metrics["loss"]
    assert losses[0.0] == pytest.approx(alone, rel=1e-6)  # weight 0: the labels alone
    assert losses[1.0] != pytest.approx(alone, rel=1e-2)


def test_a_missing_teacher_is_one_clear_error(tmp_path):
    """The error has the command that trains it, by name where the package has such a configuration."""
    with pytest.raises(PnbxError, match="no trained run in nowhere; to train it: pnbx-snn train CONFIG --out nowhere$"):
        train(tiny(distill={"teacher": "nowhere"}), tmp_path)
    config = load_config("mnist_distilled", ["data.folder=my data", "distill.teacher=runs/mnist_teacher"])
    command = "pnbx-snn train mnist_teacher --data 'my data' --out runs/mnist_teacher"
    with pytest.raises(PnbxError, match=f"to train it: {command}$"):
        train(config, tmp_path)


def test_distillation_is_the_divergence():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(5, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    p, q = (torch.softmax(x / 3.0, dim=1) for x in (theirs, ours))
    expected = 9.0 * (p * (p.log() - q.log())).sum(dim=1).mean()
    assert distillation(ours, theirs, temperature=3.0).item() == pytest.approx(expected.item())
    assert distillation(ours, ours).item() == pytest.approx(0, abs=1e-12)
    with pytest.raises(PnbxError, match="temperature must be > 0, got 0"):
        distillation(ours, theirs, temperature=0.0)


# Precision (several processes: test_multi_process.py)


def test_half_precision_stays_near_full(tmp_path):
    losses = [
        train(tiny(train={"epochs": 3, "mixed_precision": kind}), tmp_path / kind).metrics["loss"]
        for kind in ("no", "bf16")
    ]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


@pytest.mark.parametrize(("instructions", "taken"), [({"avx2": True}, "no"), ({"avx512_bf16": True}, "bf16")])
def test_auto_takes_bf16_only_where_it_has_instructions(monkeypatch, instructions, taken):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    with Workers("auto") as workers:
        assert workers.mixed_precision == taken
        assert workers.accelerator.mixed_precision == taken


def test_fp16_without_a_gpu_says_so():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(PnbxError, match="'fp16' needs a GPU, and there is none; on a CPU take 'bf16'"):
        Workers("fp16")


# Data


def test_samples_without_a_folder_are_one_clear_error(monkeypatch):
    monkeypatch.delenv("PNBX_DATA", raising=False)
    with pytest.raises(DataError, match=r"--data DIR.*pnbx-snn download mnist --data DIR"):
        load_split(DataConfig(name="mnist_rows"), "train")


def test_dropped_inputs_are_the_same_in_every_step():
    x = torch.ones(4, 7, 30)
    dropped = drop_inputs(x, 0.5, generator=torch.Generator().manual_seed(0))
    assert bool((dropped == dropped[:, :1]).all())
    assert 0.3 < dropped.mean() < 0.7
    assert drop_inputs(x, 0.0, generator=torch.Generator()) is x


def test_rows_are_distorted_as_images():
    x = torch.rand(3, 28, 28, generator=torch.Generator().manual_seed(0))
    rows, images = (
        augment(x.reshape(shape), DataConfig(name=name), strength=0.7, generator=torch.Generator().manual_seed(1))
        for name, shape in (("mnist_rows", (3, 28, 28)), ("mnist", (3, 784)))
    )
    assert torch.equal(rows.flatten(1), images)
    assert not torch.equal(rows, x)


# Command line


def test_the_command_line_from_training_to_picture(tmp_path):
    (tmp_path / "c.toml").write_text(to_toml(tiny(train={"epochs": 1})))
    runner, run = CliRunner(), str(tmp_path / "run")
    assert runner.invoke(app, ["train", str(tmp_path / "c.toml"), "--out", run]).exit_code == 0
    measured = json.loads(runner.invoke(app, ["eval", run, "--json"]).stdout)
    assert (measured["n"], len(measured["firing_rate_layers"])) == (360, 2)
    assert runner.invoke(app, ["raster", run, "-o", str(tmp_path / "r.png")]).exit_code == 0
    assert (tmp_path / "r.png").stat().st_size > 10_000
    info = json.loads(runner.invoke(app, ["info", run, "--json"]).stdout)
    assert info["parameters"] == sum(p.numel() for p in load_run(run)[0].parameters())


def test_a_teacher_of_other_classes_is_refused(tmp_path, monkeypatch):
    train(make_config({"cnn": {"channels": 4}, "train": {**FAST, "epochs": 1}}), tmp_path / "teacher")
    monkeypatch.setattr(DataConfig, "num_classes", property(lambda self: 10 if self.folder == "" else 7))
    config = tiny(data={"folder": "x"}, distill={"teacher": str(tmp_path / "teacher")})
    with pytest.raises(ConfigError, match="must be that of the data, 7, and .* knows 10"):
        train(config, tmp_path / "run")
