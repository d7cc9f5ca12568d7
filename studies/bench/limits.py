"""What the machine can do at most, one thread: how fast it moves memory and multiplies."""

from __future__ import annotations

import numpy as np
import torch

from studies.bench.timing import interleave

SIZES = {"L2 (256 KiB)": 256 << 10, "L3 (4 MiB)": 4 << 20, "memory (256 MiB)": 256 << 20}


def measure(*, quick: bool) -> dict[str, float]:
    """Return bytes per second of a copy (read and written) by size, and fp32 multiply-adds per second."""
    found = {}
    for name, size in SIZES.items():
        if quick and size > 8 << 20:
            continue
        source, target = np.ones(size // 8, dtype=np.float32), np.empty(size // 8, dtype=np.float32)
        timing = interleave({"": lambda a=source, b=target: np.copyto(b, a)}, seconds=0.3)[""]
        found[name] = size / timing.low_s
    n = 256 if quick else 1024
    a, b = torch.randn(n, n), torch.randn(n, n)
    found["fp32 multiply-adds"] = n**3 / interleave({"": lambda: torch.mm(a, b)}, seconds=0.5)[""].low_s
    return found
