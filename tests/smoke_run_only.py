"""The base install: programs run, are verified and exported, and what needs an extra is one line that says so.

    PYTHON tests/smoke_run_only.py

PYTHON is one of an environment that has the distribution without any extra. ``tests/check_wheel.py`` makes such.
"""

import importlib
import io
import pkgutil
import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import chdir
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent / "golden"
COMMANDS = Path(sys.executable).parent
ABSENT = ("torch", "snntorch", "norse", "matplotlib", "onnx", "openvino", "nir", "h5py", "tonic", "pytest")
NEED_EXTRAS = (
    "neuromorphic.compiler",
    "neuromorphic.executors.torch.",
    "neuromorphic.executors.onnx.",
    "neuromorphic.executors.lava.worker.",
    "neuromorphic.files.hdf5_reader",
    "neuromorphic.formats.onnx.writing",
)


def call(command, *arguments, code=0):
    """Run one of the two commands; return what it printed, in one line."""
    done = subprocess.run([COMMANDS / command, *arguments], capture_output=True, text=True, check=False)
    shown = done.stdout + done.stderr
    assert "Traceback" not in shown, shown
    assert done.returncode == code, f"{command} {arguments} ended with {done.returncode}: {shown}"
    return " ".join(shown.split())


def refused(extra, command, *arguments):
    """Run a command that needs an extra: one line says what is missing and how it is installed from here."""
    shown = call(command, *arguments, code=1)
    assert shown.startswith("error: "), shown
    assert f"[{extra}]" in shown, shown
    assert "pip install " in shown, shown


def check_imports():
    """Import every module that needs no extra."""
    import neuromorphic
    import pnbx_plot  # noqa: F401

    assert [name for name in ABSENT if find_spec(name)] == []
    for module in pkgutil.walk_packages(neuromorphic.__path__, "neuromorphic.", onerror=lambda _: None):
        if not module.name.startswith(NEED_EXTRAS) and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("pnbx_snn", "neuromorphic.compiler"):
        done = subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, text=True, check=False)
        last = done.stderr.splitlines()[-1]
        assert "MissingPackageError" in last, done.stderr
        assert "[train]" in last, last


def check_golden():
    """Run a trained program on two executors: every recorded value is the one of ``tests/golden``."""
    import numpy as np

    from neuromorphic import Recording

    program = GOLDEN / "programs" / "demo.npz"
    with tarfile.open(GOLDEN / "arrays.tar.xz") as archive:
        members = [member for member in archive if member.name.startswith("demo/")]
        arrays = {
            member.name[5:-4]: np.load(io.BytesIO(archive.extractfile(member).read()), allow_pickle=False)
            for member in members
        }
    np.save("inputs.npy", arrays.pop("inputs"))
    for executor in ("numpy", "native"):
        call("neuromorphic", "run", program, "inputs.npy", "--executor", executor, "-o", f"{executor}.npz")
        recorded = Recording.load(f"{executor}.npz").variables
        assert list(recorded) == list(arrays)
        for name, expected in arrays.items():
            np.testing.assert_array_equal(recorded[name], expected, err_msg=f"{executor}: {name}")
    shown = call("neuromorphic", "verify", program, "inputs.npy", "--executor", "native")
    assert "native against numpy: 0 of 6144 spikes differ" in shown, shown
    return program


def check_commands(program):
    """Ask every command for something, of what is here and of what is not."""
    shown = call("neuromorphic", "--version")
    assert shown.startswith(f"neuromorphic {version('pnbx-snn')} ("), shown
    assert shown.endswith("no torch)"), shown
    shown = call("neuromorphic", "doctor", "--json", code=1)  # 1: no Lava
    assert '"torch": null' in shown, shown
    shown = call("neuromorphic", "doctor", code=1)
    assert "executors numpy, native: ready" in shown, shown
    assert "executor torch: missing; pip install torch" in shown, shown
    assert "[onnx]" in shown, shown
    assert "12608 bytes of packed weights" in call("neuromorphic", "info", program)
    assert "export --to c │ exactly" in call("neuromorphic", "targets", program)
    call("neuromorphic", "export", program, "--to", "c", "-o", "c_files")
    assert Path("c_files/network.c").stat().st_size > 10_000
    if shutil.which("cc"):
        call("neuromorphic", "verify", program, "inputs.npy", "--executor", "c")
    Path("run").mkdir()
    for name in ("run/checkpoint.safetensors", "network.nir", "network.net"):
        Path(name).touch()
    refused("train", "neuromorphic", "compile", "run")
    refused("train", "neuromorphic", "inputs", "run", "-o", "x.npy")
    refused("train", "neuromorphic", "run", program, "run")
    refused("train", "neuromorphic", "compile", "network.nir")
    refused("train", "neuromorphic", "export", program, "--to", "nir")
    for suffix in ("png", "html", "gif"):
        refused("plot", "neuromorphic", "raster", "numpy.npz", "-o", f"raster.{suffix}")
    refused("nir", "neuromorphic", "compile", "network.net")
    refused("onnx", "neuromorphic", "export", program, "--to", "onnx")
    refused("onnx", "neuromorphic", "run", program, "inputs.npy", "--executor", "openvino")
    assert "pip install torch" in call("neuromorphic", "run", program, "inputs.npy", "--executor", "torch", code=1)
    refused("train", "pnbx-snn", "train", "digits")
    refused("train", "pnbx-snn", "--help")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        check_imports()
        check_commands(check_golden())
    sys.stdout.write(f"Python {sys.version.split()[0]}: the base install runs programs and says what it lacks\n")
