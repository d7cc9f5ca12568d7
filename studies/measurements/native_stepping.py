"""A process that steps a program when it is asked to, so that others can time it and see its memory.

python -m studies.measurements.native_stepping program.npz inputs.npy [small.npz]

It reads a JSON object a line and answers with one: ``{"do": "fill", "length": L}`` runs L steps from a reset,
``{"do": "steps", "count": n}`` gives the seconds of each of n steps, ``{"do": "total", "length": L}`` the seconds of L
steps in one go from a reset, ``{"do": "memory"}`` bytes. It ends with its input.

Seconds are those that the thread had the processor (``cpu``), which other programs on the machine lengthen little, and
those that went by (``wall``).
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.native.network import NativeNetwork, give_back_memory
from neuromorphic.ops import Dense, Input
from neuromorphic.program import Program


def resident_bytes() -> int:
    """Return what the system holds in memory for this process (Linux), free pages given back where glibc can."""
    gc.collect()
    give_back_memory()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


class Stepper:
    """A loaded program and what the process held before it was there, the same code having run.

    Parameters
    ----------
    program : path
        A program file.
    inputs : path
        ``.npy``, int32 ``[T, B, N]``: the inputs that are shown again and again.
    small : path, optional
        A program of the same operations, for the process to have run the same code; ``None``: one operation.
    """

    def __init__(self, program: str, inputs: str, small: str | None = None) -> None:
        one = Program((Input("x", 1), Dense("fc", "x", np.ones((1, 1), dtype=np.int8))), num_steps=1)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "one.npz"
            one.save(path)
            first = small or str(path)
            self._load(first, np.zeros((4, 1, Program.load(first).input.size), dtype=np.int32))
        for request in (self.fill, self.total, self.steps):
            request(4)
        self.empty = 0
        json.dumps(self.memory())
        del self.network, self.inputs  # an empty process holds none
        shown: NDArray[np.int32] = np.ascontiguousarray(np.load(inputs), dtype=np.int32)
        self.empty = resident_bytes()
        self._load(program, shown)

    def _load(self, program: str, inputs: NDArray[np.int32]) -> None:
        self.file_bytes = Path(program).stat().st_size
        self.network = NativeNetwork.from_file(program, batch=inputs.shape[1])
        self.inputs = inputs
        self.network.run(inputs)

    def fill(self, length: int) -> dict[str, Any]:
        """Run ``length`` steps from a reset."""
        self.network.reset()
        self._run(length)
        return {"steps": self.network.time}

    def steps(self, count: int) -> dict[str, Any]:
        """Return the seconds of each of the next steps."""
        wall, cpu = [], []
        for number in range(count):
            x = self.inputs[number % len(self.inputs)]
            start, start_cpu = time.perf_counter(), time.thread_time()
            self.network.step(x)
            cpu.append(time.thread_time() - start_cpu)
            wall.append(time.perf_counter() - start)
        return {"cpu": cpu, "wall": wall}

    def total(self, length: int) -> dict[str, Any]:
        """Return the seconds of ``length`` steps from a reset, many a call."""
        self.network.reset()
        start, start_cpu = time.perf_counter(), time.thread_time()
        self._run(length)
        return {"cpu": time.thread_time() - start_cpu, "wall": time.perf_counter() - start}

    def memory(self) -> dict[str, Any]:
        """Return bytes: resident beyond the empty process, of the state, of weights and tables, of the file."""
        return {
            "resident": resident_bytes() - self.empty,
            "state": self.network.state_bytes,
            "weights": self.network.weight_bytes + self.network.parameter_bytes,
            "file": self.file_bytes,
            "steps": self.network.time,
            "rates": {
                name: int(n.sum()) / max(self.network.time, 1) for name, n in self.network.spike_counts().items()
            },
        }

    def _run(self, length: int) -> None:
        whole, rest = divmod(length, len(self.inputs))
        for _ in range(whole):
            self.network.run(self.inputs)
        if rest:
            self.network.run(self.inputs[:rest])


def main(program: str, inputs: str, small: str | None = None) -> None:
    """Answer requests until there are no more."""
    stepper = Stepper(program, inputs, small)
    sys.stdout.write(json.dumps({"ready": True}) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(stepper, request.pop("do"))(**request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
