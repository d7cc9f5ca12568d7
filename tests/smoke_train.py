"""The install with the extra ``train``: a network is trained, compiled, run and verified.

    PYTHON tests/smoke_train.py

PYTHON is one of an environment that has the distribution with that extra. ``tests/check_wheel.py`` makes such.
"""

import subprocess
import sys
import tempfile
from contextlib import chdir
from importlib.metadata import version
from pathlib import Path

COMMANDS = Path(sys.executable).parent
CONFIGS = Path(__file__).resolve().parents[1] / "pnbx_snn" / "configs"


def call(command, *arguments):
    """Run one of the two commands; return what it printed."""
    done = subprocess.run([COMMANDS / command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} {arguments} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return " ".join(done.stdout.split())


def check():
    """Go the way of a newcomer, in an empty folder."""
    assert call("pnbx-snn", "--version").startswith(f"pnbx-snn {version('pnbx-snn')} (")
    assert call("pnbx-snn", "config", "digits") == " ".join((CONFIGS / "digits.toml").read_text().split())
    call("pnbx-snn", "train", "digits", "--set", "train.epochs=1")
    assert "360 test samples" in call("pnbx-snn", "eval", "runs/digits")
    call("pnbx-snn", "raster", "runs/digits", "-o", "raster.png")
    call("neuromorphic", "compile", "runs/digits", "-o", "program.npz")
    run = ("program.npz", "runs/digits", "--samples", "0:20")
    assert "20 samples" in call("neuromorphic", "run", *run, "--executor", "native", "-o", "recording.npz")
    for executor in ("native", "torch"):
        shown = call("neuromorphic", "verify", *run, "--executor", executor)
        assert f"{executor} against numpy: 0 of " in shown, shown


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        check()
    sys.stdout.write(f"Python {sys.version.split()[0]}: trained, compiled, run and verified\n")
