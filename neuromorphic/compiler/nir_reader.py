"""Reads the HDF5 of a NIR file, in a process of its own: a damaged file may hang or crash HDF5's C library.

Started as a file by :mod:`neuromorphic.compiler.nir_files`, so it imports NumPy and h5py only. What the headers
announce is checked before any array is read: links out of the file, Python objects and arrays beyond a limit are
refused.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import h5py
import numpy as np

MAX_ELEMENTS = 1 << 27
"""Array elements of a whole file; a chunk counts whole."""
MAX_OBJECTS = 1 << 16
MAX_DEPTH = 32
MAX_TEXT = 1 << 12
MAX_LETTERS = 1 << 24
MAX_EDGES = 1 << 16
MAX_MEMORY = 8 << 30
TEXT, ARRAY = "text/", "array/"  # no HDF5 name holds a slash
REFUSED = 3


class RefusedError(Exception):
    """A file is none of ours; the message says what and why."""


class Reader:
    """A walk through one open file that counts what the file announces."""

    def __init__(self) -> None:
        self.elements = self.objects = self.letters = 0
        self.arrays: list[Any] = []

    def refuse(self, name: str, why: str) -> RefusedError:
        """Return an error that names a part of the file."""
        return RefusedError(f"{name}: {why}" if name else why)

    def check(self, group: Any, where: str = "", depth: int = 0) -> None:
        """Check all headers below a group."""
        if depth > MAX_DEPTH:
            raise self.refuse(where, f"groups are nested deeper than {MAX_DEPTH}")
        for key in group:
            name = f"{where}/{key}"
            self.objects += 1
            if self.objects > MAX_OBJECTS:
                raise self.refuse(name, f"more than {MAX_OBJECTS} groups and arrays")
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise self.refuse(name, "is a link to another place or file; a graph holds its own arrays")
            item = group[key]
            if isinstance(item, h5py.Group):
                self.check(item, name, depth + 1)
            elif isinstance(item, h5py.Dataset):
                self.check_array(item, name)
            else:
                raise self.refuse(name, f"is a {type(item).__name__}; a graph holds groups and arrays")

    def check_array(self, item: Any, name: str) -> None:
        """Check the header of one array."""
        if item.shape is None:
            raise self.refuse(name, "is an empty array")
        if item.is_virtual or item.external:
            raise self.refuse(name, "keeps its data in another file; a graph holds its own arrays")
        text = h5py.check_string_dtype(item.dtype)
        if text is None and item.dtype.kind not in "fiub":
            raise self.refuse(name, f"holds {item.dtype}; numbers and text are what a graph is made of")
        if text is not None and (text.length or 0) > MAX_TEXT:
            raise self.refuse(name, f"holds text of {text.length} bytes; at most {MAX_TEXT} are read")
        if text is not None and item.shape != () and not (name.endswith("/edges") and len(item.shape) == 2):
            raise self.refuse(name, f"holds text of shape {list(item.shape)}; only edges [E, 2] hold more than one")
        if text is not None and item.size > 2 * MAX_EDGES:
            raise self.refuse(name, f"holds {item.size // 2} edges; at most {MAX_EDGES} are read")
        self.elements += max(int(item.size), math.prod(item.chunks or (0,)))  # a chunk is read whole
        if self.elements > MAX_ELEMENTS:
            raise self.refuse(name, f"the file announces more than {MAX_ELEMENTS} array elements, the limit")

    def text(self, item: Any, name: str) -> Any:
        """Read text: one, or the pairs of ``edges`` row by row, since no header says how long they are."""
        if item.shape == ():
            return self.decoded(item[()], name)
        if item.shape[1:] != (2,):
            raise self.refuse(name, f"edges must be pairs of names, [E, 2], got {list(item.shape)}")
        return [[self.decoded(entry, name) for entry in item[row]] for row in range(item.shape[0])]

    def decoded(self, value: Any, name: str) -> str:
        """Return text that is not too long."""
        text = value.decode("utf8") if isinstance(value, bytes) else value
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise self.refuse(name, f"holds something else than text of at most {MAX_TEXT} characters")
        self.letters += len(text)
        if self.letters > MAX_LETTERS:
            raise self.refuse(name, f"the file holds more than {MAX_LETTERS} characters of text")
        return text

    def read(self, group: Any, where: str = "") -> dict[str, Any]:
        """Read everything below a group whose headers are checked; arrays are kept, and named by their number."""
        found: dict[str, Any] = {}
        for key, item in group.items():
            name = f"{where}/{key}"
            if isinstance(item, h5py.Group):
                found[key] = self.read(item, name)
            elif h5py.check_string_dtype(item.dtype) is not None:
                found[key] = {TEXT: self.text(item, name)}
            elif key == "edges" and item.size == 0:
                found[key] = {TEXT: []}
            else:
                found[key] = {ARRAY: len(self.arrays)}
                self.arrays.append(item[()])
        return found


def read_tree(path: str) -> tuple[dict[str, Any], list[Any]]:
    """Return the tree below ``node``, its arrays by number, and the arrays."""
    if not h5py.is_hdf5(path):
        raise RefusedError("not an HDF5 file, which a NIR file is")
    reader = Reader()
    with h5py.File(path, "r") as opened:
        if not isinstance(opened.get("node"), h5py.Group):
            raise RefusedError("holds no group 'node', as a NIR file does")
        reader.check(opened)
        return reader.read(opened["node"]), reader.arrays


def main(path: str, target: str) -> int:
    """Read a file and leave its tree and arrays; say why not on standard output."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    except (ImportError, OSError, ValueError):
        pass  # the limits on what a file announces remain
    try:
        tree, arrays = read_tree(path)
        text = np.frombuffer(json.dumps(tree).encode(), dtype=np.uint8)
        np.savez(target, tree=text, **{f"array{number}": array for number, array in enumerate(arrays)})
    except RefusedError as error:
        sys.stdout.buffer.write(str(error).encode("utf8", "replace"))
        return REFUSED
    except Exception as error:  # what h5py raises on damaged files has no common class
        sys.stdout.buffer.write(f"not a readable NIR file ({type(error).__name__}: {error})".encode("utf8", "replace"))
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
