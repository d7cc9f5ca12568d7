"""What the numbers were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "numpy", "numba", "snntorch", "norse", "spikingjelly", "onnxruntime", "openvino")


def facts() -> dict[str, Any]:
    """Return processor, its family and model, vector instructions, and versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = named.get("model name") or platform.processor() or "unknown"
    return {
        "processor": f"{name} (family {named.get('cpu family', '?')}, model {named.get('model', '?')})",
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "logical_cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def machine() -> dict[str, Any]:
    """Return the facts of measurements on one thread, and how many processes wanted to run in the last minutes."""
    return {**facts(), "threads": 1, "load_average": [round(value, 2) for value in os.getloadavg()]}


def version(name: str) -> str:
    """Return the version of a package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
