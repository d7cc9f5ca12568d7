"""The ports of models whose number and names depend on what they run."""

from __future__ import annotations

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType


class NamedPorts(type(PyLoihiProcessModel)):  # type: ignore[misc]
    """Answers for the ports and variables of a model, which Lava wants as attributes of its class.

    Lava asks for them by name, and only after the process has them; the names are those of an operation.
    """

    def __getattr__(cls, name: str) -> LavaPyType:
        if name.startswith("_"):
            raise AttributeError(name)
        kind, _, number = name.partition("_")
        if kind == "in" and number.isdigit():
            return LavaPyType(PyInPort.VEC_DENSE, np.int32)
        if name in ("out", "record_out") or (kind == "out" and number.isdigit()):
            return LavaPyType(PyOutPort.VEC_DENSE, np.int32)
        return LavaPyType(np.ndarray, np.int64)
