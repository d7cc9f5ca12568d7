"""The registry of formats. The commands ``export`` and ``targets`` read it.

A format is added by one module or package, its room, and one line here. The room's ``FORMATS`` say what it is for and
which module writes it; they import nothing but NumPy and the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from neuromorphic.formats.entry import Format

ROOMS = (
    "neuromorphic.formats.nir",
    "neuromorphic.formats.netx",
    "neuromorphic.formats.onnx",
    "neuromorphic.formats.c",
    "neuromorphic.formats.xylo",
)

FORMATS: Mapping[str, Format] = MappingProxyType(
    {entry.name: entry for room in ROOMS for entry in import_module(room).FORMATS}
)
