"""The registry: an executor is one file and one line, and nothing is loaded before it is needed."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import neuromorphic
import pnbx_extras
from neuromorphic import run
from neuromorphic.errors import ExecutorError
from neuromorphic.executors import EXECUTORS, NAMES
from programs import small_inputs, small_program

PACKAGE = Path(neuromorphic.__file__).parent
TABLE = PACKAGE.parent / "docs" / "where_it_runs.md"

TOY = '''
"""An executor of its own, which has everything but a mind of its own."""

from neuromorphic.executors.entry import Entry, Option

ENTRIES = (
    Entry(
        name="toy",
        purpose="to be seen",
        module=__name__,
        options=(Option("colour", "--colour", str, "red or blue"),),
        devices=lambda: [("shelf", "wooden")],
        lacks=("Torus",),
    ),
)


def execute(program, inputs, *, colour="red", progress=None):
    from neuromorphic.executors.reference import execute
    from neuromorphic.recording import Recording

    recording = execute(program, inputs)
    return Recording(recording.variables, "toy", {**recording.metadata, "colour": colour})
'''

SEEN = """
import sys
from typer.testing import CliRunner
import neuromorphic.executors.lava.environment as environment
from neuromorphic.cli import app

environment.doctor = list
program, inputs = sys.argv[1:]
for arguments in (
    ["run", "--help"],
    ["doctor"],
    ["run", program, inputs, "--executor", "toy", "--colour", "blue"],
    ["verify", program, inputs, "--executor", "toy"],
    ["run", program, inputs, "--executor", "numpy", "--colour", "blue"],
):
    done = CliRunner().invoke(app, arguments, env={"TERM": "dumb"})
    print("==", done.exit_code, " ".join(done.output.replace("│", " ").split()))
"""


def python(code, *arguments, path=PACKAGE.parent):
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_executor_is_one_file_and_one_line(tmp_path):
    copy = tmp_path / "neuromorphic"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(pnbx_extras.__file__, tmp_path)
    (copy / "executors" / "toy.py").write_text(TOY)
    registry = copy / "executors" / "__init__.py"
    lines = registry.read_text().replace("ROOMS = (\n", 'ROOMS = (\n    "neuromorphic.executors.toy",\n')
    registry.write_text(lines)
    small_program().save(tmp_path / "p.npz")
    np.save(tmp_path / "x.npy", small_inputs())
    told = python(SEEN, tmp_path / "p.npz", tmp_path / "x.npy", path=tmp_path).split("== ")[1:]
    helped, doctor, ran, verified, refused = told
    assert "One of toy, numpy, lava" in helped
    assert "--colour <str> toy: red or blue." in helped
    assert "executor toy, --device shelf: wooden" in doctor
    assert ran.startswith("0 4 samples x 12 steps on toy")
    assert verified.startswith("0 toy against numpy: 0 of 672 spikes differ")
    assert refused.startswith("2 ")
    assert "--colour is for --executor toy, got --executor numpy" in refused


def test_an_operation_that_an_executor_lacks_is_refused_by_name(monkeypatch):
    entries = {**EXECUTORS, "native": replace(EXECUTORS["native"], lacks=("Torus", "LIF"))}
    monkeypatch.setattr("neuromorphic.execution.EXECUTORS", entries)
    with pytest.raises(ExecutorError, match=r"'native' lacks LIF \(of lif2\); run it on numpy, lava, torch, onnx"):
        run(small_program(), small_inputs(), "native")


def test_importing_takes_numpy_and_the_standard_library_only():
    code = "import sys, neuromorphic; print(*{name.partition('.')[0] for name in sys.modules})"
    allowed = {*sys.stdlib_module_names, "neuromorphic", "numpy"}
    before = set(python("import sys; print(*{name.partition('.')[0] for name in sys.modules})").split())
    assert set(python(code).split()) - allowed - before == set()


def test_without_torch_and_numba_programs_run_and_the_doctor_says_what_is_missing(tmp_path):
    small_program().save(tmp_path / "p.npz")
    np.save(tmp_path / "x.npy", small_inputs())
    hide = "import sys; sys.modules.update(dict.fromkeys(('torch', 'numba', 'onnx')))\n"
    told = python(hide + SEEN.replace('"toy"', '"numpy"'), tmp_path / "p.npz", tmp_path / "x.npy").split("== ")
    assert re.search("executors numpy(, xylosim)?: ready", told[2])  # which is not installed everywhere
    assert "executor torch: missing; pip install torch" in told[2]
    assert "executor native: missing; pip install numba" in told[2]
    assert f"executor openvino: missing; {pnbx_extras.install('onnx')}" in told[2]
    assert told[4].startswith("0 numpy against numpy: 0 of")


def test_the_table_in_the_documentation_is_the_registry():
    text = TABLE.read_text()
    rows = re.findall(r"^\| \[?`(\w+)`(?:\]\([\w./]+\))? \| (.*?) \| .* \| (.*?) \|$", text, re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == sorted(NAMES)
    for name, purpose, needs in rows:
        entry = EXECUTORS[name]
        assert purpose == entry.purpose
        assert all(each in needs for each in ([f"[{entry.extra}]"] if entry.extra else entry.needs))
