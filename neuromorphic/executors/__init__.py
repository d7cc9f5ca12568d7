"""Executors by name. Each is imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import MappingProxyType
from typing import cast

from neuromorphic.errors import ExecutorError
from neuromorphic.recording import Recording

_MODULES = MappingProxyType(
    {
        "numpy": "neuromorphic.executors.reference",
        "lava": "neuromorphic.executors.lava.executor",
        "native": "neuromorphic.executors.native.executor",
        "torch": "neuromorphic.executors.torch.executor",
        "onnxruntime": "neuromorphic.executors.onnx.onnxruntime",
        "openvino": "neuromorphic.executors.onnx.openvino",
    }
)

NAMES = tuple(_MODULES)
_EXTRAS = MappingProxyType({"onnxruntime": "onnx", "openvino": "onnx"})
"""Extras of this package that bring what an executor needs."""


def get_executor(name: str) -> Callable[..., Recording]:
    """Return the ``execute(program, inputs, **options) -> Recording`` function of an executor.

    Parameters
    ----------
    name : str
        One of ``NAMES``.

    Raises
    ------
    ExecutorError
        When there is no executor of that name, or what it needs is not installed.
    """
    if name not in _MODULES:
        raise ExecutorError(f"executor must be one of {', '.join(_MODULES)}, got {name!r}")
    try:
        module = import_module(_MODULES[name])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "neuromorphic":
            raise
        package = f"'pnbx-snn[{_EXTRAS[name]}]'" if name in _EXTRAS else error.name
        raise ExecutorError(f"executor {name!r} needs {error.name}: pip install {package}") from error
    except ImportError as error:
        if name not in _EXTRAS:
            raise
        raise ExecutorError(
            f"executor {name!r} cannot load what it needs, perhaps too old: {error}; "
            f"pip install --upgrade 'pnbx-snn[{_EXTRAS[name]}]'"
        ) from error
    return cast("Callable[..., Recording]", module.execute)
