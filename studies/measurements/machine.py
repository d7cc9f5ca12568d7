"""What the numbers were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "numpy", "numba", "onnxruntime")


def machine() -> dict[str, Any]:
    """Return processor, vector instructions, versions, and how many processes wanted to run in the last minutes."""
    return {
        "processor": processor(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "logical_cpus": os.cpu_count(),
        "threads": 1,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES if find_spec(name) is not None},
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def processor() -> str:
    """Return the name of the processor, its family and model."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = named.get("model name") or platform.processor() or "unknown"
    return f"{name} (family {named.get('cpu family', '?')}, model {named.get('model', '?')})"
