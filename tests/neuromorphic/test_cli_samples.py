"""The samples of a training run as a newcomer takes them: `compile RUN`, `inputs RUN`, `run PROGRAM RUN`, `verify`."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from neuromorphic import Program, run
from neuromorphic.cli import app
from neuromorphic.compiler import compile_run, run_samples
from pnbx_snn.training.config import make_config
from pnbx_snn.training.packed import pack_run
from pnbx_snn.training.run import train

RUN = Path(__file__).parents[1] / "golden" / "trained" / "everything"


def call(*arguments):
    """Run a command as on a terminal, where a warning is shown and ends nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Return what `compile` said, and the file it wrote."""
    path = tmp_path_factory.mktemp("compiled") / "program.npz"
    return call("compile", RUN, "--part", "test", "-o", path), path


def test_compile_says_what_to_type_next_and_it_works(compiled):
    done, path = compiled
    assert done.exit_code == 0
    hints = [line.removeprefix("next:").strip() for line in done.stdout.split("\n")[2:] if line]
    assert [hint.split()[1] for hint in hints] == ["info", "run", "verify", "targets"]
    assert hints[1] == f"neuromorphic run {path} {RUN}"
    for hint in (hints[0], hints[2]):  # run and targets have tests of their own
        assert call(*hint.split()[1:]).exit_code == 0, hint


def test_a_warning_is_one_line_without_the_line_of_code(compiled):
    lines = [line for line in compiled[0].stderr.splitlines() if not line.startswith("compiling ")]  # on a busy machine
    assert len(lines) == 1
    assert lines[0].startswith("warning: the program gives the network's label for ")


def test_run_takes_the_test_samples_of_a_run_and_says_the_accuracy_that_compile_measured(compiled):
    done = call("run", compiled[1], RUN)
    assert "360 test samples of " in done.stdout
    accuracy = Program.load(compiled[1]).metadata["agreement"]["accuracy_program"]
    assert f"accuracy: {100 * accuracy:.2f} % ({round(accuracy * 360)} of 360 samples)" in done.stdout
    facts = json.loads(call("run", compiled[1], RUN, "--samples", "10:11", "--json").stdout)
    one = run(Program.load(compiled[1]), run_samples(RUN, samples=slice(10, 11)).inputs)
    assert (facts["labels"], facts["samples"]) == (one.labels().tolist(), 1)
    assert "1 validation sample of" in call("run", compiled[1], RUN, "--part", "validation", "--samples", "0:1").stdout


def test_inputs_writes_what_run_takes(compiled, tmp_path):
    files = tmp_path / "x.npy", tmp_path / "y.npy"
    done = call("inputs", RUN, "--samples", "0:16", "-o", files[0], "--labels", files[1])
    assert f"{files[0]}: 16 test samples, [B, N] = [16, 64], real values" in done.stdout
    last = done.stdout.strip().splitlines()[-1]
    assert last == f"next: neuromorphic run program.npz {files[0]} --labels {files[1]}"
    of_files = call("run", compiled[1], files[0], "--labels", files[1], "--json")
    of_run = call("run", compiled[1], RUN, "--samples", "0:16", "--json")
    known = [json.loads(done.stdout) for done in (of_files, of_run)]
    for facts in known:
        del facts["us_per_step_and_sample"]
    assert known[0] == known[1]
    np.save(files[1], np.zeros(15))
    assert "labels must be whole numbers [16], one for each sample, got float64 [15]" in (
        call("run", compiled[1], files[0], "--labels", files[1]).stderr
    )


def test_a_slow_executor_takes_a_few_samples_and_says_how_many(compiled, monkeypatch):
    import neuromorphic.execution as execution

    numpy = execution.get_executor("numpy")
    told = {}

    def few(name):
        def execute(program, inputs, **_):
            told[name] = inputs.shape[1]
            return numpy(program, inputs)

        return execute

    monkeypatch.setattr(execution, "get_executor", few)
    done = call("verify", compiled[1], RUN, "--executor", "lava")
    assert f"the first 16 of 360 test samples of {RUN} (--samples a:b takes others, --samples : all)" in done.stdout
    assert told == {"numpy": 16, "lava": 16}
    call("verify", compiled[1], RUN, "--executor", "lava", "--samples", ":")
    assert told["lava"] == 360


def test_spikes_are_the_same_whichever_samples_are_read(tmp_path):
    """Spikes that are drawn are those on which the agreement was measured."""
    config = make_config({"model": {"hidden": [8], "num_steps": 3, "encoder": "rate"}, "train": {"epochs": 1}})
    folder = tmp_path / "run"
    train(config, folder)
    everything, some = run_samples(folder), run_samples(folder, samples=slice(5, 9))
    assert (some.inputs.shape, some.inputs.dtype) == ((3, 4, 64), np.uint8)
    np.testing.assert_array_equal(some.inputs, everything.inputs[:, 5:9])
    np.testing.assert_array_equal(some.labels, everything.labels[5:9])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = compile_run(folder, part="test")
    right = np.mean(run(program, everything.inputs).labels() == everything.labels)
    assert right == program.metadata["agreement"]["accuracy_program"]
    pack_run(folder, tmp_path / "packed.safetensors")
    packed = run_samples(tmp_path / "packed.safetensors", samples=slice(5, 9))
    np.testing.assert_array_equal(packed.inputs, some.inputs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compile", "nowhere"], "nowhere: no such file or folder"),
        (["compile", "."], ".: not a run: `pnbx-snn train` leaves a checkpoint.safetensors in its folder"),
        (["compile", "nowhere.nir"], "nowhere.nir: no such file or folder"),
        (["inputs", "nowhere"], "nowhere: no such file or folder"),
        (["run", "nowhere.npz", "nowhere.npy"], "nowhere.npz: no such file"),
        (["run", "PROGRAM", "nowhere"], "nowhere: no such file; INPUTS is a .npy file or the folder of a run"),
        (["verify", "PROGRAM", "."], ".: not a run: `pnbx-snn train` leaves"),
        (["compile", "PROGRAM"], "is already a program: neuromorphic info"),
    ],
)
def test_a_wrong_path_is_said_before_torch_is_imported(arguments, message, compiled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.__import__", _refusing(__import__))
    done = call(*[str(compiled[1]) if word == "PROGRAM" else word for word in arguments])
    assert done.exit_code == 1
    assert message in done.stderr


def _refusing(honest):
    def refuse(name, *rest, **named):
        assert name.split(".")[0] not in ("torch", "numba", "pnbx_snn"), name
        assert name != "neuromorphic.compiler", name
        return honest(name, *rest, **named)

    return refuse


def test_no_command_imports_torch_or_numba_until_it_needs_them():
    code = "import sys, neuromorphic.cli; sys.exit(' '.join({'torch', 'numba', 'pnbx_snn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (1, "")


def test_samples_that_are_not_there_are_one_message(compiled):
    done = call("run", compiled[1], RUN, "--samples", "400:500")
    assert (done.exit_code, "samples 400:500 of its test part are none; it has 360 samples" in done.stderr) == (1, True)
    assert call("run", compiled[1], RUN, "--data", "nowhere").exit_code == 2
    done = call("inputs", RUN, "-o", "x.npz")
    assert (done.exit_code, "arrays are written as .npy files, got x.npz" in done.stderr) == (2, True)


def test_the_old_name_of_part_is_refused_by_its_new_one():
    done = call("compile", RUN, "--on", "test")
    assert (done.exit_code, "it is called --part now: --part test" in done.stderr) == (2, True)
