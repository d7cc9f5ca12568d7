"""What a network holds: constants in flash, each once, and static arrays in RAM."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.c.text import SIZES, literal, storage

_PER_LINE = 110


@dataclass(frozen=True)
class Array:
    """A static array: its name, type and number of elements."""

    name: str
    type: str
    size: int

    @property
    def bytes(self) -> int:
        """What it takes."""
        return self.size * SIZES[self.type]


@dataclass(frozen=True)
class Events:
    """Where the places of the elements that are not zero are listed, and their number."""

    places: Array
    count: Array


class Arrays:
    """The arrays of a file while it is written."""

    def __init__(self) -> None:
        self.ram: list[Array] = []
        self.flash: list[Array] = []
        self._texts: list[str] = []
        self._constants: dict[tuple[str, bytes], str] = {}
        self._taken = {*SIZES, "network_input", "network_reset", "network_step", "network_record"}
        self._functions: dict[str, str] = {}

    def name(self, wanted: str) -> str:
        """Return a name that nothing else has, of letters that every compiler knows; locals have no underscores."""
        plain = re.sub(r"[^A-Za-z0-9_]", "_", wanted)[-40:]
        plain = plain if plain[0].isalpha() else f"op{plain}"
        found, number = plain, 1
        while found in self._taken:
            number += 1
            found = f"{plain}_{number}"
        self._taken.add(found)
        return found

    def variable(self, wanted: str, type_: str, size: int) -> Array:
        """Add an array in RAM."""
        array = Array(self.name(wanted), type_, size)
        self.ram.append(array)
        return array

    def constant(self, values: NDArray[Any], type_: str | None = None) -> str:
        """Return the name of a constant array, of the smallest type that holds it."""
        type_ = type_ or storage((int(values.min()), int(values.max())))
        key = (type_, np.ascontiguousarray(values, dtype=np.int64).tobytes())
        if key not in self._constants:
            array = Array(self.name(f"c{len(self.flash)}"), type_, values.size)
            self.flash.append(array)
            self._constants[key] = array.name
            self._texts.append(_definition(array, values))
        return self._constants[key]

    def function(self, wanted: str, text: str) -> str:
        """Return the name of a function that statements call; ``text`` is what follows the name. Each is there once."""
        if text not in self._functions:
            self._functions[text] = self.name(wanted)
        return self._functions[text]

    def functions(self) -> list[str]:
        """Return the texts of the functions."""
        return [f"static void {name}{text}\n" for text, name in self._functions.items()]

    def constants(self) -> list[str]:
        """Return the definitions of the constants."""
        return self._texts


def _definition(array: Array, values: NDArray[Any]) -> str:
    if array.type == "uint32_t":
        numbers = [f"0x{int(x):x}u" for x in values.ravel()]
    else:
        numbers = [literal(int(x)).strip("()") for x in values.ravel()]
    lines, line = [], ""
    for number in numbers:
        if len(line) + len(number) > _PER_LINE:
            lines.append(line.rstrip())
            line = ""
        line += number + ", "
    body = "\n".join("    " + each for each in [*lines, line.rstrip().rstrip(",")])
    return f"static const {array.type} {array.name}[{array.size}] = {{\n{body}\n}};"
