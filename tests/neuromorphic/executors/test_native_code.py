"""Object code of the native executor: only what a program needs, once, from a cache that nobody has to trust."""

import logging
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from neuromorphic.cli import app
from neuromorphic.errors import ExecutorError
from neuromorphic.executors.native import TernaryMatrix, arrays, bits_of, matrix, object_code, rows
from neuromorphic.executors.native.entries import ENTRIES
from programs import small_inputs, small_program

ROOT = Path(__file__).parents[3]
RUN = """
import sys
from neuromorphic import run
from programs import small_inputs, small_program
equal = run(small_program(), small_inputs(), "native").variables["readout.y"][-1]
assert (equal == run(small_program(), small_inputs()).variables["readout.y"][-1]).all()
print("numba" in sys.modules)
"""


def start(code, cache, **options):
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}"
    environment = {**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(cache), **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-c", code], text=True, env=environment, timeout=250, **{"capture_output": True, **options}
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, in a process that has loaded nothing."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(object_code, "_loaded", {})
    matrix._compiled.cache_clear()
    return tmp_path / "neuromorphic"


def test_layers_of_lif_compile_no_other_operation_and_a_second_process_nothing(tmp_path):
    """On a terminal, the first says so in one line."""
    ours, theirs = pty.openpty()
    first = start(RUN, tmp_path, capture_output=False, stdout=subprocess.PIPE, stderr=theirs)
    assert first.stdout == "True\n"
    assert os.read(ours, 1000) == f"neuromorphic: {object_code.SAID}\r\n".encode()
    files = {path.name.split("-")[1]: path.stat() for path in (tmp_path / "neuromorphic").iterdir()}
    assert set(files) == {"run_steps", "ternary_values", "ternary_few", "neurons", "readout"}
    second = start(RUN, tmp_path)
    assert (second.stdout, second.stderr) == ("False\n", "")  # numba was not even imported
    after = {path.name.split("-")[1]: path.stat() for path in (tmp_path / "neuromorphic").iterdir()}
    assert {name: found.st_mtime_ns for name, found in after.items()} == {
        name: found.st_mtime_ns for name, found in files.items()
    }


def test_what_is_compiled_is_said_once(cache, caplog, capfd, monkeypatch):
    caplog.set_level(logging.INFO)
    object_code.addresses_of(["multiply", "gated"])
    assert [record.getMessage() for record in caplog.records] == [object_code.SAID]
    assert {path.name.split("-")[1] for path in cache.iterdir()} == {"multiply", "gated"}
    monkeypatch.setattr(object_code, "_loaded", {})
    object_code.addresses_of(["multiply", "gated"])
    assert len(caplog.records) == 1
    assert capfd.readouterr().err == ""  # no terminal


def test_the_command_says_so_in_a_pipe(tmp_path, monkeypatch):
    stored = object_code._stored
    monkeypatch.setattr(object_code, "_loaded", {})
    monkeypatch.setattr(object_code, "_stored", lambda name: None if name == "readout" else stored(name))
    small_program().save(tmp_path / "program.npz")
    np.save(tmp_path / "x.npy", small_inputs())
    arguments = ["run", str(tmp_path / "program.npz"), str(tmp_path / "x.npy"), "--executor", "native"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines().count(object_code.SAID) == 1
    assert object_code.SAID not in CliRunner().invoke(app, arguments).output  # it is loaded now


def test_without_a_place_for_a_cache_it_compiles(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(object_code, "_loaded", {})
    assert object_code.address_of("multiply") != 0
    assert object_code._stored("multiply") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:3],
        lambda content: b"",
        lambda content: content[:40] + b"?" + content[41:],
        lambda content: object_code._hashed("gated", content[32:]) + content[32:],  # of another operation
    ],
    ids=["half", "three bytes", "empty", "altered", "another"],
)
def test_damaged_code_is_compiled_anew(damage, cache, monkeypatch):
    monkeypatch.setattr(object_code, "_compile", lambda names: dict.fromkeys(names, b"new"))
    monkeypatch.setattr(object_code, "_load", lambda codes: object_code._loaded.update(dict.fromkeys(codes, 7)))
    object_code._store("multiply", b"code" * 100)
    assert object_code._stored("multiply") == b"code" * 100
    (path,) = cache.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert object_code._stored("multiply") is None
    assert object_code.address_of("multiply") == 7


@pytest.mark.skipif(os.name == "nt", reason="rights of POSIX")
def test_code_that_others_could_have_written_is_not_loaded(cache, monkeypatch):
    object_code._store("multiply", b"code")
    (path,) = cache.iterdir()
    path.chmod(0o666)
    assert object_code._stored("multiply") is None
    path.chmod(0o644)
    assert object_code._stored("multiply") == b"code"
    found = os.stat_result((0o100644, *[1] * 3, 12345, *[1] * 5))
    assert not object_code._trusted(found)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert object_code._trusted(found)


@pytest.mark.usefixtures("cache")
def test_code_is_of_one_processor_and_of_these_sources(monkeypatch):
    object_code._store("multiply", b"code")
    monkeypatch.setattr(object_code, "_stamp", lambda: b"other sources")
    assert object_code._stored("multiply") is None
    monkeypatch.undo()
    before = object_code._machine()
    for name, other in (("NAME", "i486"), ("FEATURES", "+none")):
        object_code._machine.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(object_code.processor, name, other)
            assert object_code._machine() != before
        object_code._machine.cache_clear()
    assert object_code._machine() == before


def test_every_kind_of_row_has_its_code():
    alone = {"run_steps", "times_spikes", "times_values"}
    assert set(rows.ENTRIES.values()) == set(ENTRIES) - alone
    assert set(rows.ENTRIES) == set(range(rows.DELAY_READ, rows.GRADED_NEURONS + 1))


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
@pytest.mark.parametrize("dtype", [np.int32, np.uint64])
def test_where_an_array_says_what_it_is(shape, dtype):
    array = np.zeros(shape, dtype=dtype)
    for one in (array, array[..., :1] if shape else array, np.broadcast_to(array, (2, *shape))):
        assert arrays.as_expected(one)
    assert len(set(arrays.TYPES)) == 3


def test_numba_that_may_not_compile(tmp_path):
    done = start(RUN, tmp_path, env={"NUMBA_DISABLE_JIT": "1"})
    assert done.stderr.splitlines()[-1] == (
        "neuromorphic.errors.ExecutorError: native: numba compiles nothing, since NUMBA_DISABLE_JIT is set; without it "
        "this executor runs, and the numpy executor gives the same numbers"
    )


def test_numba_is_missing_when_something_must_be_compiled(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "neuromorphic.executors.native.compiled", None)
    monkeypatch.setitem(sys.modules, "neuromorphic.executors.native.entries", None)
    with pytest.raises(ExecutorError, match="executor 'native' needs "):
        TernaryMatrix(np.ones((2, 3), dtype=np.int8)).times_spikes(bits_of(np.ones((1, 3), dtype=bool)))
    assert not cache.exists()
