"""Spyx and jaxpike as rivals in a run of torch: JAX works in a process of its own and takes turns over a pipe.

The environment is ``.venv-jax`` in the clone, which ``make bench`` makes, or that whose Python ``PNBX_JAX_PYTHON``
names. Without one, what was compared says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studies.bench import jax_neurons

DEFAULT = Path(__file__).resolve().parents[2] / ".venv-jax"
# JAX allocates every array anew, and glibc gives large ones back to the system each time: kept, (500, 16, 512) takes
# 8 ms where it took 21.
KEEP = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}


def python() -> Path | None:
    """Return the Python of the environment with JAX, if there is one."""
    path = Path(os.environ.get("PNBX_JAX_PYTHON", DEFAULT / "bin" / "python"))
    return path if path.exists() else None


@dataclass
class Others:
    """Rivals in another process: ``cases`` to interleave by ``clock``, their results, and what there is to say of them.

    The clock counts our own work by ``base``, and a rival's by the clock beside it.
    """

    base: Callable[[], float]
    cases: dict[str, Callable[[], None]] = field(default_factory=dict)
    results: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    checks: list[str] = field(default_factory=list)
    _ahead: float = 0.0  # seconds that the rivals worked more than we waited for them

    def clock(self) -> float:
        """Return the seconds that anybody worked."""
        return self.base() + self._ahead

    def turn(self, ask: Callable[[str], float], name: str) -> None:
        """Let a rival run once."""
        started = self.base()
        worked = ask(name)
        self._ahead += worked - (self.base() - started)


@contextmanager
def jax_rivals(
    x: Tensor, grad: Tensor, weight: Tensor | None = None, *, base: Callable[[], float] = time.perf_counter
) -> Iterator[Others]:
    """Yield the rivals for currents ``x``, or for spikes ``x`` and a weight before the neurons.

    They take as many threads as torch. ``base`` is the clock of our own work; the rivals' is that of a processor where
    there is one thread.
    """
    found, others = python(), Others(base)
    if found is None:
        others.checks.append(f"Spyx, jaxpike: not installed, no {DEFAULT.name} and no PNBX_JAX_PYTHON")
        yield others
        return
    arrays = {"x": x, "grad": grad} | ({} if weight is None else {"weight": weight})
    with tempfile.TemporaryDirectory() as folder, _worker(found, Path(folder), arrays) as ask:
        for name, said in (ask("") or {}).items():
            others.checks.append(f"{name}: {said if isinstance(said, str) else f'first call {said:.1f} s'}")
            if isinstance(said, str):
                continue
            ask(f"{name} {folder}/{name}.npz")
            result = np.load(f"{folder}/{name}.npz")
            others.results[name] = (torch.from_numpy(result["spikes"]), torch.from_numpy(result["slope"]))
            others.cases[name] = partial(others.turn, ask, name)
        if not others.checks:
            others.checks.append(f"Spyx, jaxpike: {found} runs no JAX: {_last_line(Path(folder) / 'errors')}")
        yield others


@contextmanager
def _worker(found: Path, folder: Path, arrays: dict[str, Tensor]) -> Iterator[Callable[[str], Any]]:
    """Start the other process; yield what sends it a line and returns its answer, ``None`` once it has ended."""
    np.savez(folder / "given.npz", **{name: tensor.detach().numpy() for name, tensor in arrays.items()})
    command = [found, jax_neurons.__file__, folder / "given.npz", str(torch.get_num_threads())]
    environment = {**os.environ, **KEEP, "JAX_PLATFORMS": "cpu", "PYTHONPATH": ""}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    with (folder / "errors").open("w") as errors, subprocess.Popen(command, stderr=errors, **pipes) as process:

        def ask(line: str) -> Any:
            with suppress(BrokenPipeError):
                process.stdin.write(line + "\n")
                process.stdin.flush()
            answer = process.stdout.readline()
            return json.loads(answer) if answer else None

        yield ask


def _last_line(path: Path) -> str:
    return path.read_text().strip().rpartition("\n")[2]
