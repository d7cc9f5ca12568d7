"""Finding and making a Python with Lava, with small scripts standing for interpreters: no network, no Lava.

The last test asks the real one.
"""

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from neuromorphic.errors import LavaNotFoundError
from neuromorphic.executors.lava import environment as interpreter
from neuromorphic.executors.lava.environment import STAMP, Finding, LavaPython, doctor, find_lava_python, setup_lava
from neuromorphic.executors.lava.worker.shim import hashable_dataclasses

ANSWER = json.dumps({"python": "3.10.9", "numpy": "1.26.4", "lava": "0.10.0", "shim": False})
LATER = json.dumps({"python": "3.12.1", "numpy": "2.4.0", "lava": "0.10.0", "shim": True})


def script(path, body):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{body}\n")
    path.chmod(0o755)
    return path


def working(path, answer=ANSWER):
    return script(path, f"echo '{answer}'")


def failing(path, text="ModuleNotFoundError: No module named 'lava'"):
    return script(path, f'echo "Traceback" >&2\necho "{text}" >&2\nexit 1')


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with nothing on it: empty PATH, own cache folder, a virtual environment, a Python without Lava."""
    for name in ("PNBX_LAVA_PYTHON", "PYENV_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(sys, "executable", str(failing(tmp_path / "venv" / "bin" / "python")))
    return tmp_path


def beside(machine):
    return machine / "venv" / "lava-env" / "bin" / "python"


def cached(machine):
    return machine / "cache" / "pnbx-snn" / "lava-env" / "bin" / "python"


def stamped(path):
    (path.parents[1] / STAMP).write_text("{}\n")
    return path


def test_every_place_is_looked_at_in_order(machine, monkeypatch):
    pyenv = machine / "pyenv"
    uv_python = working(machine / "uv" / "python3.10")
    places = [  # from the last to the first: each new one is preferred to those before it
        ("uv", uv_python, lambda: script(machine / "bin" / "uv", f'[ "$*" = "python find 3.10" ] && echo {uv_python}')),
        ("pyenv", pyenv / "versions/3.10.9/bin/python", lambda: monkeypatch.setenv("PYENV_ROOT", str(pyenv))),
        ("python3.10 on PATH", machine / "bin" / "python3.10", lambda: None),
        ("the present Python", Path(sys.executable), lambda: None),
        ("environment in the cache folder", cached(machine), lambda: stamped(cached(machine))),
        ("environment beside this one", beside(machine), lambda: stamped(beside(machine))),
        ("PNBX_LAVA_PYTHON", machine / "mine", lambda: monkeypatch.setenv("PNBX_LAVA_PYTHON", str(machine / "mine"))),
    ]
    for source, path, announce in places:
        working(path)
        announce()
        found = find_lava_python()
        assert found == LavaPython(path, "3.10.9", "0.10.0", "1.26.4", source, False)
        assert find_lava_python(uv_python).source == "the interpreter asked for"


def test_pyenv_is_asked_for_its_root_and_its_newest_version_is_taken(machine):
    script(machine / "bin" / "pyenv", f'[ "$1" = root ] && echo {machine / "elsewhere"}')
    failing(machine / "elsewhere/versions/3.10.2/bin/python")
    newest = working(machine / "elsewhere/versions/3.10.9/bin/python")
    working(machine / "elsewhere/versions/3.9.9/bin/python")
    assert find_lava_python().path == newest


def test_a_pyenv_shim_that_fails_is_passed_over(machine, monkeypatch):
    failing(machine / "bin" / "python3.10", "pyenv: python3.10: command not found")
    monkeypatch.setenv("PYENV_ROOT", str(machine / "pyenv"))
    good = working(machine / "pyenv/versions/3.10.9/bin/python")
    assert find_lava_python().path == good


def test_nothing_found_lists_every_place_with_its_reason(machine, monkeypatch):
    monkeypatch.setattr(interpreter, "PROBE_LIMIT_S", 0.5)
    failing(machine / "bin" / "python3.10", "pyenv: python3.10: command not found")
    working(cached(machine))  # without a stamp
    monkeypatch.setenv("PYENV_ROOT", str(machine / "pyenv"))
    script(machine / "pyenv/versions/3.10.8/bin/python", "sleep 20")
    script(machine / "pyenv/versions/3.10.7/bin/python", "echo hello")
    script(machine / "pyenv/versions/3.10.6/bin/python", "exit 4")
    (machine / "pyenv/versions/3.10.5/bin").mkdir(parents=True)
    (machine / "pyenv/versions/3.10.5/bin/python").write_text("not a program")
    with pytest.raises(LavaNotFoundError) as raised:
        find_lava_python()
    lines = str(raised.value).splitlines()
    assert lines == [
        "no Python with lava-nc was found. Tried:",
        f"  environment beside this one, {beside(machine)}: it does not exist",
        f"  environment in the cache folder, {cached(machine)}: it has an unfinished set-up",
        f"  the present Python, {sys.executable}: it says \"ModuleNotFoundError: No module named 'lava'\"",
        f"  python3.10 on PATH, {machine}/bin/python3.10: it says 'pyenv: python3.10: command not found'",
        f"  pyenv, {machine}/pyenv/versions/3.10.8/bin/python: it gave no answer within 0.5 s",
        f"  pyenv, {machine}/pyenv/versions/3.10.7/bin/python: it gave an unexpected answer: 'hello'",
        f"  pyenv, {machine}/pyenv/versions/3.10.6/bin/python: it ended with status 4",
        f"  pyenv, {machine}/pyenv/versions/3.10.5/bin/python: it cannot be run (Permission denied)",
        "Make one with `neuromorphic setup-lava`, or name one in the environment variable PNBX_LAVA_PYTHON.",
    ]


def test_an_interpreter_asked_for_is_never_passed_over(machine, monkeypatch):
    working(machine / "bin" / "python3.10")
    with pytest.raises(
        LavaNotFoundError, match="the interpreter asked for is /nowhere, and .* there: it does not exist"
    ):
        find_lava_python("/nowhere")
    monkeypatch.setenv("PNBX_LAVA_PYTHON", str(failing(machine / "broken")))
    with pytest.raises(LavaNotFoundError, match=r"PNBX_LAVA_PYTHON is .*/broken, and .* No module named 'lava'"):
        find_lava_python()
    assert find_lava_python("python3.10").path == machine / "bin" / "python3.10"  # a name is looked up on PATH


def test_the_packages_of_this_python_are_hidden_from_the_other(machine, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("VIRTUAL_ENV", "/somewhere")
    nosy = script(machine / "nosy", f"[ -z \"$PYTHONPATH$VIRTUAL_ENV\" ] && echo '{ANSWER}'")
    assert find_lava_python(nosy).path == nosy


def test_doctor_reports_all_of_it(machine):
    working(beside(machine), LATER)
    stamped(beside(machine))
    findings = doctor()
    assert findings[0] == Finding(
        "environment beside this one",
        beside(machine),
        True,
        "Python 3.12.1, lava-nc 0.10.0, NumPy 2.4.0, with the import shim",
    )
    assert [finding.usable for finding in findings] == [True, False, False, False]
    assert findings[-1].source == "setup-lava would build on"
    assert "no Python 3.10 or newer that can make an environment" in findings[-1].detail
    base_python(machine / "bin" / "python3.10", machine)
    assert doctor()[-1] == Finding(
        "setup-lava would build on", machine / "bin" / "python3.10", False, "Python 3.10.9 (python3.10 on PATH)"
    )


def base_python(path, machine, *, version="3.10.9", pip="exit 0", answer=ANSWER):
    """A Python that makes environments; their pip notes what it is asked for."""
    inner = machine / "inner"
    script(inner, f'echo "$@" >> {machine / "log"}\nif [ "$2" = pip ]; then {pip}; else echo \'{answer}\'; fi')
    return script(
        path,
        f'if [ "$1" = -c ]; then echo {version}; exit 0; fi\n'
        f'echo "$@" >> {machine / "log"}\n'
        'if [ "$3" = --clear ]; then rm -rf "$4"; fi\n'
        f'mkdir -p "$4/bin"; cp {inner} "$4/bin/python"; echo made > "$4/pyvenv.cfg"',
    )


def log_of(machine):
    return (machine / "log").read_text().splitlines()


def test_setup_builds_on_310_with_exact_versions_and_keeps_what_works(machine):
    base_python(machine / "bin" / "python3.10", machine)
    said = []
    made = setup_lava(progress=said.append)
    folder = machine / "venv" / "lava-env"
    venv, pip, probe = log_of(machine)
    assert made.path == beside(machine)
    assert find_lava_python().path == beside(machine)
    assert said == [
        f"making {folder} with Python 3.10.9 (python3.10 on PATH)",
        "installing " + " ".join(interpreter._PINS_310),
        "importing Lava",
    ]
    assert venv == f"-m venv --clear {folder}"
    assert pip.startswith("-m pip install ")
    assert "--no-deps lava-nc==0.10.0 numpy==1.26.4 scipy==" in pip
    assert all("==" in word for word in pip.split("--no-deps ")[1].split())
    assert probe.endswith("worker.py probe")
    said.clear()
    assert setup_lava(progress=said.append).path == beside(machine)
    assert said == [f"{folder} is there and works"]
    assert not [line for line in log_of(machine)[3:] if "pip" in line or "venv --clear" in line]


def test_setup_uses_the_shim_where_there_is_no_310(machine, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(base_python(machine / "py312", machine, version="3.12.1", answer=LATER)))
    made = setup_lava(target=machine / "here")
    assert made.shim
    assert made.path == machine / "here" / "bin" / "python"
    pips = [line for line in log_of(machine) if "pip install" in line]
    assert [line.split("off ")[1] for line in pips] == [
        "numpy scipy networkx asteval greenlet",
        "--no-deps --ignore-requires-python lava-nc==0.10.0",
    ]


def test_setup_takes_the_cache_folder_without_a_virtual_environment(machine, monkeypatch):
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    base_python(machine / "mine", machine)
    assert setup_lava(python=machine / "mine").path == cached(machine)


def test_a_failed_or_interrupted_setup_is_not_taken_for_a_good_one(machine):
    noise = "for i in 1 2 3; do echo line $i; done; echo 'ERROR: No matching distribution' >&2; exit 1"
    base_python(machine / "bin" / "python3.10", machine, pip=noise)
    with pytest.raises(LavaNotFoundError) as raised:
        setup_lava()
    assert str(raised.value).splitlines() == [
        "setup-lava: pip install failed with status 1; its last lines:",
        "  line 1",
        "  line 2",
        "  line 3",
        "  ERROR: No matching distribution",
    ]
    with pytest.raises(LavaNotFoundError, match="lava-env/bin/python: it has an unfinished set-up"):
        find_lava_python()
    base_python(machine / "bin" / "python3.10", machine)
    assert setup_lava().path == beside(machine)
    # A good one that has since broken is made anew.
    failing(beside(machine))
    assert setup_lava().lava_version == "0.10.0"


def test_setup_checks_what_it_made(machine):
    base_python(machine / "bin" / "python3.10", machine, answer="nothing")
    with pytest.raises(
        LavaNotFoundError, match="was made, but Lava cannot be used there: it gave an unexpected answer"
    ):
        setup_lava()
    assert not (machine / "venv" / "lava-env" / STAMP).exists()


def test_setup_refuses_what_it_must_not_touch_or_cannot_use(machine):
    base_python(machine / "bin" / "python3.10", machine)
    precious = machine / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("...")
    with pytest.raises(LavaNotFoundError, match="precious exists and is not a Python environment; name another target"):
        setup_lava(target=precious)
    assert (precious / "thesis.tex").exists()
    with pytest.raises(
        LavaNotFoundError, match=r"(?s)no Python 3.10 or newer .* the interpreter asked for, /nowhere: it"
    ):
        setup_lava(python="/nowhere")


def test_the_shim_lets_a_dataclass_be_a_default_and_is_gone_afterwards():
    original = dataclasses.dataclass

    def make():
        @dataclasses.dataclass
        class Inner:
            value: int = 0

        @dataclasses.dataclass(order=True)
        class Outer:
            inner: Inner = Inner()  # noqa: RUF009 - what Lava does

        return Inner, Outer

    with pytest.raises(ValueError, match="mutable default"):
        make()
    with hashable_dataclasses():
        inner, outer = make()
    assert outer().inner == inner()
    assert dataclasses.dataclass is original
    with pytest.raises(ZeroDivisionError), hashable_dataclasses():
        1 / 0  # noqa: B018 - an import may fail
    assert dataclasses.dataclass is original


@pytest.mark.lava
def test_the_real_one(lava_python):
    assert lava_python.lava_version == "0.10.0"
    assert lava_python.shim == (not lava_python.python_version.startswith("3.10."))
    assert any(finding.usable for finding in doctor())
