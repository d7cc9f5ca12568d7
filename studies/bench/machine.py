"""What the numbers were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

import torch

from studies.measurements.machine import processor

PACKAGES = ("torch", "numpy", "numba", "snntorch", "norse", "spikingjelly", "onnxruntime", "openvino")


def facts() -> dict[str, Any]:
    """Return processor, vector instructions, threads and versions."""
    return {
        "processor": processor(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "logical_cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
