"""Memory, each case in a process of its own: peaks of a training pass, and what a deployed network keeps resident.

python -m studies.bench.memory neuron "SpikingJelly" 100 32 512
python -m studies.bench.memory deployed program.npz 1000000
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PR_SET_THP_DISABLE = 41
ROOT = Path(__file__).resolve().parents[2]


def _in_process(*arguments: str) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "studies.bench.memory", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    if done.returncode:
        raise RuntimeError(f"studies.bench.memory {' '.join(arguments)}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _status_bytes(field: str) -> int:
    """Return a number of this process's status, in bytes."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[field].split()[0]) * 1024


def _peak_bytes() -> int:
    """Return the peak of this program's memory; ``ru_maxrss`` would include what the parent had before ``exec``."""
    return _status_bytes("VmHWM")


def _resident_bytes() -> int:
    """Return the resident memory without mapped files, whose pages come and go as the system likes."""
    return _status_bytes("RssAnon")


def _neuron(name: str, T: int, B: int, N: int) -> dict[str, Any]:
    """Return by how much one forward and backward pass raises the peak, inputs being there already."""
    import torch

    from studies.bench.lif_rivals import NEURONS
    from studies.bench.neurons import currents, trained

    torch.set_num_threads(1)
    layer = NEURONS[name]("cpu")
    small = currents(4, 2, N).requires_grad_()
    trained(layer, small, torch.ones_like(small))()  # what is compiled or imported at the first call
    x = currents(T, B, N).requires_grad_()
    grad = torch.randn(T, B, N)
    before = _peak_bytes()
    trained(layer, x, grad)()
    return {"tensors": (_peak_bytes() - before) / (4 * T * B * N)}


def _deployed(path: str, num_steps: int) -> dict[str, Any]:
    """Return what a program adds to a process that has imported and run the same code, and how it grows with steps."""
    import numpy as np

    from neuromorphic import Dense, Input, Program
    from neuromorphic.executors.native import NativeNetwork

    # The kernel merges pages into huge ones when it has the time, and holes between ours become memory of ours.
    ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    one = Program((Input("x", 1), Dense("fc", "x", np.ones((1, 1), dtype=np.int8))), num_steps=1)
    small = Path(path).with_name("small.npz")
    one.save(small)
    NativeNetwork.from_file(small).run(np.zeros((2, 1, 1), dtype=np.int32))
    gc.collect()
    empty = _resident_bytes()
    port = Program.load(path).input
    network = NativeNetwork.from_file(path)
    x = np.random.default_rng(0).integers(port.low, port.high + 1, (128, 1, port.size)).astype(np.int32)
    inputs = x.nbytes
    network.run(x)
    network.run(x)
    resident, state = _resident_bytes(), network.state_bytes
    for _ in range((num_steps - 256) // 128):
        network.run(x)
    return {
        "resident_bytes": resident - empty - inputs,
        "growth_bytes": _resident_bytes() - resident,
        "state_growth_bytes": network.state_bytes - state,
        "steps": network.time,
        "file_bytes": Path(path).stat().st_size,
        "weight_bytes": network.weight_bytes,
        "state_bytes": state,
    }


def training_peaks(T: int, B: int, N: int) -> dict[str, float]:
    """Return the peak of each neuron, in tensors of ``[T, B, N]``."""
    from studies.bench.lif_rivals import NEURONS

    return {name: _in_process("neuron", name, str(T), str(B), str(N))["tensors"] for name in NEURONS}


def deployed(num_steps: int, *, quick: bool) -> dict[str, Any]:
    """Return what the reference network takes once it is deployed."""
    from neuromorphic.compiler import compile_model
    from studies.bench.step import reference

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.npz"
        compile_model(reference(8, 256 if quick else 2048).eval(), num_steps=1000).save(path)
        return _in_process("deployed", str(path), str(num_steps))


def main(arguments: list[str]) -> None:
    """Measure one case and print JSON."""
    kind, name, *numbers = arguments
    found = _neuron(name, *map(int, numbers)) if kind == "neuron" else _deployed(name, int(numbers[0]))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
