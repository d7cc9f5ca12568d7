"""The commands before anything is imported: Ctrl-C, and terminals that know ASCII only."""

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import pnbx_commands

ROOT = Path(pnbx_commands.__file__).parent
COMMANDS = ("neuromorphic", "pnbx_snn")


def start(command, *arguments, folder=None, **options):
    """Start a command as its script does; ``folder`` is looked at first."""
    code = f"import pnbx_commands, sys; sys.argv[0] = {command!r}; pnbx_commands.{command}()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*([folder] if folder else []), ROOT]))}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment | options.pop("env", {}),
        **options,
    )


def package(folder, command, cli):
    """Make a package of the command's name whose command line is this code."""
    (folder / command).mkdir()
    (folder / command / "__init__.py").touch()
    (folder / command / "cli.py").write_text(cli)
    return folder


def test_the_scripts_start_here():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"neuromorphic": "pnbx_commands:neuromorphic", "pnbx-snn": "pnbx_commands:pnbx_snn"}


STUBBORN = """
import time
print("importing", flush=True)
for _ in range(2):
    try:
        time.sleep(60)
    except BaseException as error:  # as where C code is initialised
        raise ImportError("something else") from error
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_during_import_is_one_line(command, tmp_path):
    process = start(command, folder=package(tmp_path, command, STUBBORN))
    assert process.stdout.readline() == b"importing\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert errors == b"interrupted before anything was started\n"
    assert process.returncode == 130


def test_ctrl_c_later_is_the_commands_business(tmp_path):
    cli = """
import time
def main():
    try:
        print("running", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("what is whole stays")
"""
    process = start("neuromorphic", folder=package(tmp_path, "neuromorphic", cli))
    assert process.stdout.readline() == b"running\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == (b"what is whole stays\n", b"")


def test_an_ignored_ctrl_c_stays_ignored(tmp_path):
    """As a script's job in the background has it."""
    cli = "import time\nprint('importing', flush=True)\ntime.sleep(1)\ndef main(): print('done')\n"
    ignore = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)  # noqa: E731
    process = start("neuromorphic", folder=package(tmp_path, "neuromorphic", cli), preexec_fn=ignore)
    assert process.stdout.readline() == b"importing\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == (b"done\n", b"")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_on_a_terminal_that_knows_ascii_only(command):
    done = start(command, "--help", env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    output, errors = done.communicate(timeout=250)
    assert (done.returncode, errors) == (0, b"")
    assert b"Usage" in output
    assert b"--help" in output
    assert (b" demo " in output) == (command == "pnbx_snn")


def test_a_name_of_a_file_that_is_no_text(tmp_path):
    """Bytes that are no UTF-8 come back as a question mark, not as a traceback."""
    path = os.fsencode(tmp_path) + b"/\xff.npz"
    Path(os.fsdecode(path)).write_bytes(b"none")
    done = start("neuromorphic", "info", path)
    output, errors = done.communicate(timeout=250)
    assert done.returncode == 1
    assert b"error:" in errors
    assert b"Traceback" not in output + errors
