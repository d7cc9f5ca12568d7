import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.image
import pytest
from typer.testing import CliRunner

from pnbx_snn import cli
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.kernels.cpu import compiled
from pnbx_snn.training import run as training_run
from pnbx_snn.training.checkpoint import CHECKPOINT_NAME, load_run, read_meta
from pnbx_snn.training.config import load_config
from pnbx_snn.training.evaluate import evaluate
from pnbx_snn.training.run_log import read_metrics

ROOT = Path(cli.__file__).parents[2]
CONFIG = "[data]\npart = 'train'\n[model]\nhidden = [9, 5]\nnum_steps = 3\n[train]\nepochs = 2\nthreads = 1\n"


def pnbx(*arguments, code: int = 0):
    result = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(cli.app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def error(*arguments, code: int = 1) -> str:
    """Run a command that must fail with one message on standard error and nothing on standard output."""
    result = pnbx(*arguments, code=code)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.strip()


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def run(config_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    result = pnbx("train", config_file, "--out", folder)
    assert "Trained 2 epochs: accuracy " in result.stdout
    assert f"Next: pnbx-snn eval {folder}" in result.stdout
    assert re.search(r"epoch 2 of 2: acc \S+ % val \S+ % loss \S+ rate \S+ %\n", result.stderr)
    return folder


# The commands.


def test_help_teaches():
    assert "pnbx-snn train digits" in pnbx("--help").stdout
    for command in ("train", "eval", "raster", "training", "info"):
        assert f"pnbx-snn {command} " in pnbx(command, "--help").stdout


def test_train_takes_overrides_and_is_quiet(config_file, tmp_path):
    result = pnbx(
        "train", config_file, "--out", tmp_path, "--quiet", "--set", "train.epochs=1", "--set", "model.reset=none"
    )
    assert result.output == ""
    config = load_config(tmp_path / "config.toml")
    assert (config.train.epochs, config.model.reset, config.model.hidden) == (1, "none", (9, 5))


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("quiet", [False, True])
def test_a_quiet_training_compiles_without_a_word(quiet, terminal, config_file, tmp_path, monkeypatch):
    def compile_first(*arguments, **options):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
        compiled.say_compiling.cache_clear()
        compiled.say_compiling()
        return train(*arguments, **options)

    train = training_run.train
    monkeypatch.setattr(training_run, "train", compile_first)
    options = ["--quiet"] if quiet else []
    result = pnbx("train", config_file, "--out", tmp_path, "--set", "train.epochs=1", *options)
    assert result.output.count(compiled.SAID) == (0 if quiet else 1)


def test_a_quiet_training_says_errors(tmp_path):
    assert "no such file" in error("train", tmp_path / "none.toml", "--quiet", code=2)


def test_the_default_folder_has_the_name_of_the_file(config_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pnbx("train", config_file, "--quiet", "--set", "train.epochs=1")
    assert (tmp_path / "runs" / "tiny" / CHECKPOINT_NAME).is_file()


def test_resuming_a_finished_run(config_file, run):
    before = (run / CHECKPOINT_NAME).read_bytes()
    assert "Nothing to do: all 2 epochs are trained." in pnbx("train", config_file, "--out", run, "--resume").stdout
    assert (run / CHECKPOINT_NAME).read_bytes() == before


def test_eval_measures_what_evaluate_measures(run):
    expected = evaluate(load_run(run)[0], load_digits_split(part="test"))
    result = json.loads(pnbx("eval", run, "--json").stdout)
    assert result == {"part": "test", "seen_in_training": False, **expected}
    table = pnbx("eval", run).stdout
    assert "360 test" in table
    assert f"{expected['accuracy']:.2%}" in table
    assert "layer 2" in table


def test_eval_says_what_was_seen_in_training(run, config_file, tmp_path):
    assert json.loads(pnbx("eval", run, "--part", "validation", "--json").stdout)["seen_in_training"] is False
    pnbx("train", config_file, "--out", tmp_path, "--quiet", "--set", "data.part=train_all", "--set", "train.epochs=1")
    result = pnbx("eval", tmp_path, "--part", "validation")
    assert "trained on data.part='train_all', the validation images among them" in result.stderr
    assert json.loads(pnbx("eval", tmp_path, "--part", "validation", "--json").stdout)["seen_in_training"] is True
    assert json.loads(pnbx("eval", tmp_path, "--part", "test", "--json").stdout)["seen_in_training"] is False


@pytest.mark.parametrize(
    "arguments", [["raster", "--sample", "3"], ["raster", "--part", "validation"], ["training"]], ids=" ".join
)
def test_pictures(run, tmp_path, arguments):
    picture = tmp_path / "picture.png"
    command, *options = arguments
    assert f"wrote {picture}" in pnbx(command, run, *options, "-o", picture).stdout
    pixels = matplotlib.image.imread(picture)
    assert pixels.shape[0] > 200
    assert pixels.shape[1] > 500
    assert pixels.std() > 0.01  # something is drawn


@pytest.mark.parametrize("network", ["[model]", '[pnbx]\nrnn = "spiking"'])
def test_info_counts_a_configuration(tmp_path, network):
    """Both ended in a RuntimeError: their neurons look at their settings while they are built."""
    (tmp_path / "config.toml").write_text(network)
    assert json.loads(pnbx("info", tmp_path / "config.toml", "--json").stdout)["parameters"] > 10_000


def test_info_counts_parameters_and_weights(run):
    result = json.loads(pnbx("info", run, "--json").stdout)
    parts = {part["name"]: part for part in result["parts"]}
    assert {name: part["parameters"] for name, part in parts.items()} == {
        "layers.0.linear": 64 * 9,
        "layers.0.norm": 18,
        "layers.1.linear": 45,
        "layers.1.norm": 10,
        "readout": 60,
    }
    assert {name: part.get("weight_bytes") for name, part in parts.items()} == {
        "layers.0.linear": 144,
        "layers.0.norm": None,
        "layers.1.linear": 12,  # 45 weights: eleven bytes and a quarter
        "layers.1.norm": None,
        "readout": 13,
    }
    model, _ = load_run(run)
    assert result["parameters"] == sum(parameter.numel() for parameter in model.parameters()) == 709
    assert result["weight_bytes"] == 144 + 12 + 13
    assert parts["readout"]["gamma"] == model.readout.gamma().item()
    zeros = [(linear.ternary_weight() == 0).sum().item() for linear in (model.layers[0].linear, model.readout)]
    assert [parts["layers.0.linear"]["zeros"], parts["readout"]["zeros"]] == zeros
    assert 0.2 < result["zero_fraction"] < 0.6
    assert (result["epoch"], result["step"], result["config"]["model"]["hidden"]) == (2, 38, [9, 5])
    table = pnbx("info", run).stdout
    assert "epoch 2" in table
    assert "169 (2 bits each)" in table
    assert "[train] epochs=2" in table


def test_learned_neurons_are_counted(config_file, tmp_path):
    pnbx(
        "train", config_file, "--out", tmp_path, "--quiet", "--set", "model.learn_beta=true", "--set", "train.epochs=1"
    )
    parts = {part["name"]: part["parameters"] for part in json.loads(pnbx("info", tmp_path, "--json").stdout)["parts"]}
    assert parts["layers.0.neuron.cell"] == 9


# What a user can do wrong: 2 for usage and configuration, 1 for everything else, one message each.


def test_usage_errors(run, tmp_path):
    assert "Missing argument" in pnbx("train", code=2).stderr
    assert "No such command" in pnbx("trian", code=2).stderr
    assert "No such option" in pnbx("eval", run, "--jsno", code=2).stderr
    assert "'tset' is not one of 'test', 'validation'" in pnbx("eval", run, "--part", "tset", code=2).stderr
    message = error("raster", run, "--sample", 360, "-o", tmp_path / "a.png", code=2)
    assert message == "error: --sample must be in [0, 359] for --part test, got 360"
    assert "-o must end in one of " in error("raster", run, "-o", tmp_path / "a.xyz", code=2)
    assert "-o must end in one of " in error("training", run, "-o", tmp_path / "a", code=2)
    assert list(tmp_path.iterdir()) == []


def test_configuration_errors(config_file, tmp_path):
    out = ["--out", tmp_path / "run"]
    message = error("train", config_file, *out, "--set", "train.epoch=3", code=2)
    assert message == "error: --set train.epoch=3: unknown key train.epoch, the nearest known one is train.epochs"
    assert "missing.toml: no such file" in error("train", tmp_path / "missing.toml", *out, code=2)
    bad = tmp_path / "bad.toml"
    bad.write_text("[model]\nbeta = = 1\n")
    assert error("train", bad, *out, code=2) == f"error: {bad}: is no TOML: Invalid value (at line 2, column 8)"
    bad.write_text("[modle]\n")
    assert "unknown section [modle], the nearest known one is [model]" in error("train", bad, *out, code=2)
    assert not (tmp_path / "run").exists()


def test_runs_that_are_none(config_file, tmp_path):
    missing = tmp_path / "missing"
    for command in (["eval"], ["info"], ["raster", "-o", tmp_path / "a.png"]):
        assert f"missing: no such run; `pnbx-snn train CONFIG --out {missing}` makes one" in error(
            command[0], missing, *command[1:]
        )
        assert f"{tmp_path}/{CHECKPOINT_NAME}: no such file; " in error(command[0], tmp_path, *command[1:])
    assert "metrics.jsonl: no such file" in error("training", tmp_path, "-o", tmp_path / "a.png")
    assert "missing: no such folder, so there is nothing to resume" in error(
        "train", config_file, "--out", missing, "--resume"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_neither_overwritten_nor_continued_as_another(config_file, run):
    before = (run / CHECKPOINT_NAME).read_bytes()
    assert "holds a checkpoint already (epoch 2); resume it (--resume" in error("train", config_file, "--out", run)
    changed = ["train", config_file, "--out", run, "--resume", "--set", "train.epochs=3"]
    assert "got train.epochs: saved 2, now 3" in error(*changed, code=2)
    assert (run / CHECKPOINT_NAME).read_bytes() == before


def test_damaged_checkpoints(run, tmp_path):
    content = (run / CHECKPOINT_NAME).read_bytes()
    for damaged, message in ((content[:-5], "is cut short"), (content[:-1] + b"?", "is altered"), (b"", "is empty")):
        (tmp_path / CHECKPOINT_NAME).write_bytes(damaged)
        assert message in error("eval", tmp_path)


def test_pictures_that_cannot_be_written(run, tmp_path):
    message = error("training", run, "-o", tmp_path / "missing" / "a.png")
    assert f"a.png: cannot be written: {tmp_path}/missing is no folder" in message


# The real thing, in processes of its own.


# Whoever runs the tests in the background of a script has SIGINT ignored, and children inherit that.
LISTENING = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from pnbx_snn.cli import main; main()"
)


def start(*arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_stopped_trainings_say_how_to_go_on(config_file, tmp_path):
    signals = {"by ctrl-c": (signal.SIGINT, "interrupted", 130), "by sigterm": (signal.SIGTERM, "terminated", 143)}
    children = {
        name: start("-c", LISTENING, "train", config_file, "--set", "train.epochs=100000", "--out", tmp_path / name)
        for name in signals
    }
    for name, (number, word, code) in signals.items():
        run, child = tmp_path / name, children[name]
        deadline = time.monotonic() + 100
        while not (run / CHECKPOINT_NAME).exists():
            assert child.poll() is None, child.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.send_signal(number)
        stdout, stderr = child.communicate(timeout=60)
        assert (child.returncode, stdout) == (code, "")
        epoch = read_meta(run / CHECKPOINT_NAME).epoch
        message, command = stderr.strip().splitlines()[-2:]
        assert message == f"{word}: epoch {epoch} is saved in {run}. To go on:"
        assert "Traceback" not in stderr
        load_run(run)
        assert len(read_metrics(run / "metrics.jsonl")) in (epoch, epoch + 1)
        # The command that it prints is understood. (It would go on for 100,000 epochs, so another configuration asks.)
        words = shlex.split(command)
        assert words[0] == "pnbx-snn"
        assert error(*words[1:], "--set", "train.seed=1", code=2).endswith("got train.seed: saved 0, now 1")


def test_stopping_before_the_first_checkpoint(config_file, tmp_path, monkeypatch):
    monkeypatch.setattr(training_run, "train", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    result = pnbx("train", config_file, "--out", tmp_path, "--quiet", code=143)
    assert result.stderr.startswith("terminated: no epoch is saved yet. To go on:")
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_module_runs_as_a_command(tmp_path):
    child = start("-m", "pnbx_snn.cli", "info", tmp_path)
    stdout, stderr = child.communicate(timeout=100)
    assert (child.returncode, stdout) == (1, "")
    assert (
        stderr
        == f"error: {tmp_path}/{CHECKPOINT_NAME}: no such file; `pnbx-snn train` writes it into the folder of a run\n"
    )
