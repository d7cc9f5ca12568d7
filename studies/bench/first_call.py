"""How long the first call takes, in a new process: with an empty cache of compiled code, and with a full one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = {
    "LIF, forward and backward": """
import torch, pnbx_snn
lif, x = pnbx_snn.LIF(beta=0.9), torch.randn(20, 4, 64).requires_grad_()
start = time.perf_counter()
lif(x)[0].sum().backward()
""",
    "diagonal scan, forward and backward": """
import torch
from pnbx_snn.kernels.scan import diagonal_scan
x, d = torch.randn(20, 4, 64).requires_grad_(), torch.rand(64).requires_grad_()
start = time.perf_counter()
diagonal_scan(d, x, torch.zeros(4, 64)).sum().backward()
""",
    "native executor": """
import numpy as np
from neuromorphic import LIF, Dense, Input, Program
from neuromorphic.execution import run
one = np.ones(64, dtype=np.int32)
ops = (Input("x", 9), Dense("fc", "x", np.ones((64, 9), dtype=np.int8)), LIF("lif", ("fc",), one, one, one, shift=0))
program, x = Program(ops, num_steps=4), np.ones((4, 1, 9), dtype=np.int32)
start = time.perf_counter()
run(program, x, executor="native")
""",
}


def measure() -> dict[str, tuple[float, float]]:
    """Return seconds, cold and cached."""
    found = {}
    for name, code in CODE.items():
        with tempfile.TemporaryDirectory() as cache:
            environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
            script = f"import time{code}print(time.perf_counter() - start)"
            times = []
            for _ in range(2):
                done = subprocess.run(
                    [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
                )
                times.append(float(done.stdout.splitlines()[-1]))
            found[name] = (times[0], times[1])
    return found
