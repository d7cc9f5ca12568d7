"""A process that holds one rival and answers requests, a JSON object a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pnbx_extras
from pnbx_snn.errors import PnbxError

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS")
CLONE = Path(__file__).resolve().parents[2]
"""Where ``studies`` lies, if this is a clone of the repository."""
ONNX = "ONNX Runtime"
ONE_THREAD = dict.fromkeys((*THREADS, "TORCHINDUCTOR_COMPILE_THREADS"), "1")


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(CLONE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, **ONE_THREAD, "PYTHONPATH": path}


def run(arguments: Sequence[str]) -> float:
    """Run ``python ARGUMENTS`` with one thread and return the seconds that it had the processor."""
    before = os.times()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, env=_environment())
    if done.returncode:
        raise PnbxError(f"measure: python {' '.join(arguments)} failed: {done.stderr.strip()[-1000:]}")
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


class Rival:
    """A process that was started with ``python ARGUMENTS`` and does what it is asked.

    Parameters
    ----------
    name, form
        Of the network, for rows.
    arguments
        ``-m module ...``; the module answers as :mod:`studies.measurements.native_stepping` says.
    """

    def __init__(self, name: str, form: str, arguments: Sequence[str]) -> None:
        self.name, self.form = name, form
        self.compiled = tempfile.TemporaryDirectory()  # what torch compiles: each process does it anew, and leaves none
        self.errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  # lives as long as the process
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**_environment(), "TORCHINDUCTOR_CACHE_DIR": self.compiled.name},
        )
        self._first: dict[str, Any] | None = None

    def first(self) -> dict[str, Any]:
        """Return what it said when it was ready; wait for that."""
        if self._first is None:
            self._first = self._answer()
        return self._first

    def ask(self, do: str, **options: Any) -> dict[str, Any]:
        """Send a request and wait for the answer."""
        assert self.process.stdin is not None
        self.first()
        try:
            self.process.stdin.write(json.dumps({"do": do, **options}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self._fail()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()
        self.compiled.cleanup()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("{"):
            self._fail()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _fail(self) -> None:
        self.process.kill()
        self.process.wait()
        self.errors.seek(0)
        raise PnbxError(f"measure: {self.name} ({self.form}) ended: {self.errors.read().strip()[-1000:]}")


def native_arguments(folder: Path) -> list[str]:
    """Return what starts the native executor on the program in a folder."""
    files = [folder / "program.npz", folder / "inputs.npy", folder / "small.npz"]
    return ["-m", "studies.measurements.native_stepping", *(str(file) for file in files if file.exists())]


def torch_arguments(name: str, form: str) -> list[str]:
    """Return what starts a network of torch, or its form in ONNX Runtime, which lies outside of this package."""
    module = "studies.bench.transformer_onnx" if form.endswith(ONNX) else "studies.measurements.worker"
    return ["-m", module, name, form]


def why_not(form: str) -> str | None:
    """Return what a form needs that is not here, or ``None``; a compiler that fails is found out by compiling."""
    if not form.endswith(ONNX):
        return None
    if not (CLONE / "studies" / "bench" / "transformer_onnx.py").exists():
        return "needs a clone of the repository: this form is in its folder studies/bench"
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    return f"{' and '.join(missing)} not installed: {pnbx_extras.install('onnx')}" if missing else None
