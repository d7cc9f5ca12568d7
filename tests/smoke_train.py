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
    import numpy as np

    import neuromorphic
    from pnbx_snn.data.catalog import load_split
    from pnbx_snn.training.config import load_config

    assert call("pnbx-snn", "--version").startswith(f"pnbx-snn {version('pnbx-snn')} (")
    assert call("pnbx-snn", "config", "digits") == " ".join((CONFIGS / "digits.toml").read_text().split())
    call("pnbx-snn", "train", "digits", "--set", "train.epochs=1")
    assert "test samples" in call("pnbx-snn", "eval", "runs/digits")
    call("neuromorphic", "compile", "runs/digits", "-o", "program.npz")
    program, config = neuromorphic.load("program.npz"), load_config("digits")
    images = load_split(config.data, "test").images[:20]
    assert len(images) == 20
    rng = np.random.default_rng(0)
    port = program.input
    np.save("inputs.npy", rng.integers(port.low, port.high + 1, (program.num_steps, 20, port.size)).astype(np.int32))
    call("neuromorphic", "run", "program.npz", "inputs.npy", "--executor", "native", "-o", "recording.npz")
    for executor in ("native", "torch"):
        shown = call("neuromorphic", "verify", "program.npz", "inputs.npy", "--executor", executor)
        assert f"{executor} against numpy: 0 of " in shown, shown


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        check()
    sys.stdout.write(f"Python {sys.version.split()[0]}: trained, compiled, run and verified\n")
