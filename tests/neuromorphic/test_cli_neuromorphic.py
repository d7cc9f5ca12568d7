"""The `neuromorphic` command as a user meets it: output, JSON, exit codes, one clear message for each bad input."""

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from conv_nets import conv_network
from neuromorphic import Program, Recording, run
from neuromorphic.cli import app, main
from programs import small_inputs, small_program


@pytest.fixture
def files(tmp_path):
    small_program().save(tmp_path / "program.npz")
    np.save(tmp_path / "inputs.npy", small_inputs())
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def fails(capsys, monkeypatch, *arguments):
    """Run as the installed command does and return (exit code, standard error)."""
    monkeypatch.setattr(sys, "argv", ["neuromorphic", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err


def test_help_teaches_and_lists_the_commands():
    text = call("--help").output
    assert "A first round" in text
    assert all(name in text for name in ("setup-lava", "doctor", "compile", "info", "run", "verify"))
    assert "first divergence" in " ".join(call("verify", "--help").output.split())


def test_info_shows_operations_ranges_and_lava_processes(files):
    done = call("info", files / "program.npz", "--json")
    assert done.exit_code == 0
    facts = json.loads(done.output)
    assert [row["lava"] for row in facts["ops"]] == [
        "RingBuffer", "Dense", "ProgramOperation", "Dense", "ProgramOperation", "Dense", "ProgramOperation",
    ]  # fmt: skip
    assert facts["weight_bytes"] == 18 + 12 + 5
    assert facts["sha256"] == small_program().sha256
    table = call("info", files / "program.npz").output
    assert "own" in table
    assert "35 bytes of packed weights" in table


def test_info_shows_images_and_counts_shared_weights_once(tmp_path):
    program, _ = conv_network(0)
    program.save(tmp_path / "conv.npz")
    rows = {row["name"]: row for row in json.loads(call("info", tmp_path / "conv.npz", "--json").output)["ops"]}
    first = program["conv1"]
    assert rows["conv1"]["weight_bytes"] == -(-first.weights.size // 4)
    assert rows["conv1"]["synapses"] == first.fan_in().sum() > first.weights.size
    assert rows["pool"]["input_shape"] == rows["conv1"]["output_shape"] == list(first.output_shape)
    assert (rows["mean"]["lava"], rows["largest"]["lava_reason"]) == ("Conv", "Lava has no maximum over windows")
    table = "".join(call("info", tmp_path / "conv.npz").output.split())
    assert f"Conv{'x'.join(map(str, first.weights.shape))}ternary" in table


def test_run_leaves_the_recording_of_the_library(files):
    out = files / "r.npz"
    done = call("run", files / "program.npz", files / "inputs.npy", "-o", out, "--json")
    assert done.exit_code == 0
    expected = run(small_program(), small_inputs())
    facts = json.loads(done.output)
    assert facts["labels"] == expected.labels().tolist()
    assert (facts["samples"], facts["steps"]) == (4, 12)
    recording = Recording.load(out)
    assert all(np.array_equal(recording.variables[k], expected.variables[k]) for k in expected.variables)
    text = call("run", files / "program.npz", files / "inputs.npy").output
    assert "4 samples x 12 steps on numpy; firing rates: lif1 " in text


def test_samples_are_sliced(files):
    done = call("run", files / "program.npz", files / "inputs.npy", "--samples", "1:3", "--json")
    assert json.loads(done.output)["labels"] == run(small_program(), small_inputs()).labels()[1:3].tolist()
    assert call("run", files / "program.npz", files / "inputs.npy", "--samples", "1-3").exit_code == 2


def test_verify_passes_on_the_reference_itself(files):
    done = call("verify", files / "program.npz", files / "inputs.npy", "--executor", "numpy", "--json")
    assert done.exit_code == 0
    assert json.loads(done.output)["spikes_different"] == 0


def test_verify_exits_1_and_names_the_first_divergence(files, monkeypatch):
    """An executor that is wrong in one bit of one membrane is caught and located."""
    import neuromorphic.execution as execution

    honest = execution.get_executor

    def crooked(name):
        def execute(program, inputs, **options):
            recording = honest("numpy")(program, inputs)
            if name == "lava":
                variables = {key: array.copy() for key, array in recording.variables.items()}
                variables["lif2.v"][5, 2, 3] ^= 1
                return Recording(variables, "lava", recording.metadata)
            return recording

        return execute

    monkeypatch.setattr(execution, "get_executor", crooked)
    done = call("verify", files / "program.npz", files / "inputs.npy", "--executor", "lava")
    assert done.exit_code == 1
    assert "first divergence: op lif2, variable v, step 5, sample 2, neuron 3: expected" in done.output
    done = call("verify", files / "program.npz", files / "inputs.npy", "--executor", "lava", "--json")
    assert json.loads(done.output)["first_divergence"]["step"] == 5


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((12, 4, 8)), "inputs must be [T, B, 9] or [B, 9] with T, B >= 1, got [12, 4, 8]"),
        (np.full((4, 9), np.inf), "inputs hold NaN or infinity (36 values)"),
        (np.full((4, 9), 1000), "inputs must lie in -128..127, got 1000..1000"),
        (np.zeros((0, 9)), "got [0, 9]"),
        (np.array([["a"]]), "inputs must be integers or floats"),
    ],
)
def test_inputs_that_do_not_fit_are_one_message(files, inputs, message, capsys, monkeypatch):
    np.save(files / "bad.npy", inputs)
    code, text = fails(capsys, monkeypatch, "run", files / "program.npz", files / "bad.npy")
    assert code == 1
    assert message in text
    assert "Traceback" not in text


def test_files_that_cannot_be_read_are_one_message(files, capsys, monkeypatch):
    (files / "cut.npz").write_bytes((files / "program.npz").read_bytes()[:500])
    code, text = fails(capsys, monkeypatch, "info", files / "cut.npz")
    assert (code, "truncated or altered" in text) == (1, True)
    code, text = fails(capsys, monkeypatch, "run", files / "program.npz", files / "none.npy")
    assert (code, "none.npy: no such file" in text) == (1, True)
    code, text = fails(capsys, monkeypatch, "run", files / "program.npz", files / "program.npz")
    assert (code, "holds several arrays" in text) == (1, True)
    (files / "broken.npy").write_bytes(b"PK\x03\x04, and no zip file")
    code, text = fails(capsys, monkeypatch, "run", files / "program.npz", files / "broken.npy")
    assert (code, "holds several arrays" in text) == (1, True)
    (files / "cut.npy").write_bytes((files / "inputs.npy").read_bytes()[:-1])
    code, text = fails(capsys, monkeypatch, "run", files / "program.npz", files / "cut.npy")
    assert (code, "not a readable .npy array" in text) == (1, True)
    np.save(files / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    code, text = fails(capsys, monkeypatch, "run", files / "program.npz", files / "pickle.npy")
    assert (code, "without pickled objects" in text) == (1, True)


def test_a_full_disk_is_one_message(files, capsys, monkeypatch):
    code, text = fails(
        capsys, monkeypatch, "run", files / "program.npz", files / "inputs.npy", "-o", "/proc/none/recording.npz"
    )
    assert code == 1
    assert "cannot be written" in text


def test_an_unknown_executor_is_a_usage_error(files):
    done = call("run", files / "program.npz", files / "inputs.npy", "--executor", "loihi")
    assert done.exit_code == 2
    assert "must be one of numpy, lava" in " ".join(done.output.split())


def test_compiling_what_is_no_run_is_one_message(files, capsys, monkeypatch):
    code, text = fails(capsys, monkeypatch, "compile", files, "-o", files / "out.npz")
    assert code == 1
    assert text.startswith("error:")
    assert not (files / "out.npz").exists()


def test_the_installed_command_runs(files):
    done = subprocess.run(
        [sys.executable, "-m", "neuromorphic.cli", "info", str(files / "program.npz"), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["num_steps"] == 12


def test_a_program_survives_the_round_through_the_command_line(files):
    assert Program.load(files / "program.npz").sha256 == small_program().sha256


def test_options_of_an_executor_are_its_own(tmp_path):
    small_program().save(tmp_path / "p.npz")
    np.save(tmp_path / "x.npy", small_inputs())
    files = [str(tmp_path / "p.npz"), str(tmp_path / "x.npy")]
    for extra in (["--executor", "torch", "--device", "cpu"], ["--executor", "native", "--threads", "2"]):
        result = call("verify", *files, *extra)
        assert result.exit_code == 0, result.output
        assert "against numpy: 0 of" in result.output
    result = call("run", *files, "--executor", "numpy", "--device", "cpu")
    assert result.exit_code == 2
    text = " ".join(result.output.replace("│", " ").split())
    assert "--device is for --executor torch or onnxruntime or openvino, got --executor numpy" in text


def test_the_version_is_one_line():
    done = call("--version")
    assert done.exit_code == 0
    assert done.output.startswith("neuromorphic ")
    assert f"numpy {np.__version__}" in done.output
    assert len(done.output.splitlines()) == 1
