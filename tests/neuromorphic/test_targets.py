"""`neuromorphic targets`, and the registry of formats: a format is one file and one line."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import neuromorphic
import pnbx_extras
from neuromorphic import LIF, Dense, Input, Program, Readout
from neuromorphic.cli import app
from neuromorphic.errors import CompileError
from neuromorphic.executors import EXECUTORS
from neuromorphic.formats import FORMATS
from neuromorphic.ops import Delay
from neuromorphic.targets import formats_of, targets
from programs import small_program
from random_networks import random_network

PACKAGE = Path(neuromorphic.__file__).parent

TOY = '''
"""A format of its own, which holds programs of few operations."""

from typing import Literal

from neuromorphic.errors import CompileError
from neuromorphic.executors.entry import Option
from neuromorphic.formats.entry import Format

FORMATS = (
    Format(
        name="toy",
        purpose="to be seen",
        suffix=".toy",
        module=__name__,
        options=(Option("colour", "--colour", Literal["red", "blue"], "red (default) or blue"),),
    ),
)


def check(program):
    if len(program.ops) > 3:
        raise CompileError(f"{program.ops[3].name}: a toy holds three operations")


def write(program, path, *, colour="red"):
    check(program)
    path.write_text(colour)
    return f"all {colour}"
'''

SEEN = """
import sys
from typer.testing import CliRunner
from neuromorphic.cli import app

small, large = sys.argv[1:]
for arguments in (
    ["export", "--help"],
    ["export", small, "--to", "toy", "--colour", "blue"],
    ["export", small, "--to", "toy", "--colour", "green"],
    ["export", small, "--to", "toy", "--opset", "18"],
    ["export", large, "--to", "toy"],
    ["targets", small],
    ["targets", large],
):
    done = CliRunner().invoke(app, arguments, env={"TERM": "dumb", "COLUMNS": "200"})
    print("==", done.exit_code, " ".join(done.output.replace("│", " ").split()))
"""


def chain():
    """Return a chain that netx and Loihi's stock neurons hold."""
    one = np.ones(2, dtype=np.int32)
    fc = Dense("fc", "x", np.array([[1, 1, 0], [0, -1, 1]], dtype=np.int8))
    return Program((Input("x", 3), fc, LIF("lif", ("fc",), 4096 * one, 64 * one, 0 * one, shift=6)), num_steps=4)


def answers(program):
    return {target.name: target for target in targets(program)}


def test_a_format_is_one_file_and_one_line(tmp_path):
    copy = tmp_path / "neuromorphic"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(pnbx_extras.__file__, tmp_path)
    (copy / "formats" / "toy.py").write_text(TOY)
    registry = copy / "formats" / "__init__.py"
    registry.write_text(registry.read_text().replace("ROOMS = (\n", 'ROOMS = (\n    "neuromorphic.formats.toy",\n'))
    for name, program in (("small", chain()), ("large", small_program())):
        program.save(tmp_path / f"{name}.npz")
    done = subprocess.run(
        [sys.executable, "-P", "-c", SEEN, tmp_path / "small.npz", tmp_path / "large.npz"],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PNBX_LAVA_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    helped, written, green, opset, refused, small, large = done.stdout.split("== ")[1:]
    assert "The format: toy, nir, netx" in helped
    assert "toy: red (default) or blue" in helped
    assert "small.toy: all blue" in written
    assert (tmp_path / "small.toy").read_text() == "blue"
    assert green.startswith("2 ")
    assert "--opset is for --to onnx, got --to toy" in opset
    assert refused.startswith("1 error: lif2_synapses: a toy holds three operations")
    assert "export --to toy exactly to be seen" in small
    assert "export --to toy no lif2_synapses: a toy holds three operations" in large


def test_every_executor_and_format_is_asked():
    found = targets(chain())
    assert [target.name for target in found] == [*EXECUTORS, *FORMATS, "loihi"]
    assert {target.name: target.takes for target in found if target.takes != "exactly"} == {
        "nir": "not exactly",
        "xylosim": "no",
        "xylo": "no",
    }


def test_the_first_reason_is_given():
    found = answers(small_program())
    assert found["nir"].takes == "not exactly"
    assert found["nir"].reason.startswith("with --round-trip close: lif1: compiled back from NIR")
    assert found["netx"].reason == "input: netx takes spikes, 0 or 1, got -128..127"
    assert found["loihi"].reason == "lif1: no stock process: decay differs between neurons"


def test_what_targets_says_no_to_is_refused_with_that_reason(tmp_path, monkeypatch):
    """Over random programs of every operation: a format writes what it said yes to, and refuses with its reason."""
    monkeypatch.setattr("neuromorphic.targets.EXECUTORS", {})  # looking for Lava takes a second
    said = {"exactly": 0, "not exactly": 0, "no": 0}
    for seed in range(20):
        program = random_network(np.random.default_rng(seed))
        found = answers(program)
        for name, form in FORMATS.items():
            said[found[name].takes] += 1
            if found[name].takes == "exactly":
                assert form.load().write(program, tmp_path / f"p{form.suffix}")
            else:
                with pytest.raises(CompileError) as refused:
                    form.load().write(program, tmp_path / f"p{form.suffix}")
                assert str(refused.value) in found[name].reason
    assert all(said[takes] > 0 for takes in ("exactly", "no")), said


def test_an_executor_answers_for_its_operations_and_the_program_for_its_bounds(monkeypatch):
    def full(program):
        raise CompileError(f"{program.ops[-1].name}: no room")

    entries = {
        **EXECUTORS,
        "native": replace(EXECUTORS["native"], lacks=("Torus", "LIF")),
        "torch": replace(EXECUTORS["torch"], check=full, needs=("nowhere",)),
    }
    monkeypatch.setattr("neuromorphic.targets.EXECUTORS", entries)
    found = answers(chain())
    assert (found["native"].takes, found["native"].reason) == ("no", "lacks LIF (of lif)")
    assert (found["torch"].reason, found["torch"].missing) == ("lif: no room", "pip install nowhere")
    wide = replace(chain(), ops=(Input("x", 3, -32768, 32767), replace(chain()["fc"], shift=16), chain()["lif"]))
    assert answers(wide)["numpy"].takes == "no"
    assert answers(wide)["numpy"].reason.startswith("fc: ")


def test_a_package_that_is_missing_is_the_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    for name in [name for name in sys.modules if name.startswith("neuromorphic.executors.onnx.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "neuromorphic.formats.onnx.writing", raising=False)
    assert answers(chain())["onnx"].reason == f"--to onnx needs onnx: {pnbx_extras.install('onnx')}"


def test_a_program_that_no_emulated_board_holds_is_refused_with_its_bytes():
    neurons, one = 1200, np.ones(1, dtype=np.int32)
    ops = (
        Input("x", neurons),
        Delay("late", "x", neurons, 4096),
        Dense("fc", "late", np.ones((1, neurons), dtype=np.int8)),
        Readout("readout", ("fc",), bias=0 * one, shift=0),
    )
    answer = next(target for target in targets(Program(ops, num_steps=2)) if target.name == "qemu")
    assert answer.takes == "no"
    assert re.fullmatch(
        r"takes [45],\d{3},\d{3} bytes of static RAM, the largest board .* has 4,194,304", answer.reason
    )


def test_the_command(tmp_path):
    small_program().save(tmp_path / "p.npz")
    run = CliRunner().invoke
    told = " ".join(run(app, ["targets", str(tmp_path / "p.npz")]).output.split())
    assert "run --executor numpy │ exactly │ the definition" in told
    assert "export --to netx │ no │ input:" in told
    listed = json.loads(run(app, ["targets", str(tmp_path / "p.npz"), "--json"]).output)
    netx = next(row for row in listed if row["name"] == "netx")
    assert (netx["takes"], netx["reason"]) == ("no", "input: netx takes spikes, 0 or 1, got -128..127")
    assert [row["kind"] for row in listed][-1] == "chip"
    broken = run(app, ["targets", str(tmp_path / "nothing.npz")])
    assert broken.exit_code == 1
    assert "nothing.npz: no such file" in broken.output


def test_a_format_that_refuses_names_those_that_do_not(tmp_path):
    path = tmp_path / "program.npz"
    small_program().save(path)
    fitting = formats_of(small_program())
    assert "onnx" in fitting
    assert "netx" not in fitting
    done = CliRunner().invoke(app, ["export", str(path), "--to", "netx", "-o", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert done.stderr.strip().endswith(f". Formats that take {path}: {', '.join(fitting)}")
    done = CliRunner().invoke(app, ["export", str(path), "--to", "c", "-o", "/proc/none/c"])
    assert (done.exit_code, "Formats that take" in done.stderr) == (1, False)
