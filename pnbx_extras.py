"""The optional parts of the distribution: what each brings, and the command that installs it here.

The base install runs programs (NumPy, numba, typer, rich). PNB-X is on no package index yet, so its name alone installs
nothing, and what does depends on where this installation came from. Every message that names an extra therefore takes
the command from :func:`install`.
"""

import json
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

EXTRAS = MappingProxyType(
    {
        "train": (
            "torch",
            "snntorch",
            "norse",
            "accelerate",
            "annotated_types",
            "jaxtyping",
            "matplotlib",
            "pydantic",
            "safetensors",
            "sklearn",
            "tensorboard",
        ),
        "plot": ("matplotlib", "bokeh", "PIL"),
        "onnx": ("onnx", "onnxruntime", "openvino"),
        "nir": ("nir", "h5py"),
        "events": ("tonic",),
        "queue": ("distributed",),
        "search": ("optuna",),
        "gpu": ("triton",),
    }
)
"""The modules of each extra of ``pyproject.toml``, as they are imported."""


def missing(extra: str, what: str) -> str:
    """Return the sentence that says what needs an extra and how to install it; empty where all of it is installed.

    Examples
    --------
    >>> missing("plot", "raster")  # matplotlib is installed here
    ''
    """
    for name in EXTRAS[extra]:
        if find_spec(name) is None:
            return f"{what} needs {name}, which is not installed: {install(extra)}"
    return ""


def install(extra: str) -> str:
    """Return the command that adds an extra to this installation: ``pip install '/home/me/pnbx[onnx]'``.

    In a clone it names the clone. Elsewhere it names what pip recorded (``direct_url.json``, PEP 610) when it installed
    this distribution: a wheel, a folder or a repository. Without such a record it came from a package index.
    """
    if extra not in EXTRAS:
        raise ValueError(f"extra must be one of {', '.join(EXTRAS)}, got {extra!r}")
    here = Path(__file__).resolve().parent
    if (here / "pyproject.toml").exists():
        return f"pip install -e {shlex.quote(f'{here}[{extra}]')}"
    return f"pip install {shlex.quote(_requirement(extra))}"


def _requirement(extra: str) -> str:
    name = f"pnbx-snn[{extra}]"
    try:
        origin: dict[str, Any] = json.loads(distribution("pnbx-snn").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:  # files that were copied somewhere
        return name
    url = origin.get("url", "")
    if url.startswith("file:"):
        return f"{unquote(urlsplit(url).path)}[{extra}]"
    version_control = origin.get("vcs_info", {}).get("vcs")
    return f"{name} @ {version_control}+{url}" if version_control else f"{name} @ {url}" if url else name
