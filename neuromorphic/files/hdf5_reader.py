"""Reads an HDF5 file in a process of its own: a damaged file may hang or crash HDF5's C library.

Started as a file by :mod:`neuromorphic.files.hdf5`, so it imports NumPy and h5py only. What the headers announce is
checked before any array is read: links out of the file, Python objects and arrays beyond a limit are refused.
"""

from __future__ import annotations

import json
import math
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
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


@dataclass(frozen=True)
class Rules:
    """What a kind of file may hold.

    Parameters
    ----------
    root : str
        The group that is read; what lies beside it is checked and left.
    whole : bool
        Every array must stand in the file as it is read, without a filter and without parts that were never written:
        no array is then larger than its file. ``nir.write`` compresses, what writes netx files does not.
    edges : bool
        An array of text with two columns may be called ``edges``. Without, text of one element may have an axis.
    attributes : bool
        Attributes of groups, one number or one text each, are read as if they were arrays of the group.
    """

    root: str
    whole: bool
    edges: bool
    attributes: bool = False


RULES = {
    "NIR": Rules("node", whole=False, edges=True),
    "NIR data": Rules("nodes", whole=False, edges=False, attributes=True),
    "netx": Rules("layer", whole=True, edges=False),
}


class RefusedError(Exception):
    """A file is none of ours; the message says what and why."""


class Reader:
    """A walk through one open file that counts what the file announces."""

    def __init__(self, rules: Rules, size: int) -> None:
        self.rules, self.size = rules, size
        self.elements = self.objects = self.letters = self.bytes = 0
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
                raise self.refuse(name, "is a link to another place or file; a file holds its own arrays")
            item = group[key]
            if isinstance(item, h5py.Group):
                self.check(item, name, depth + 1)
            elif isinstance(item, h5py.Dataset):
                self.check_array(item, name)
            else:
                raise self.refuse(name, f"is a {type(item).__name__}; a file holds groups and arrays")

    def check_array(self, item: Any, name: str) -> None:
        """Check the header of one array."""
        if item.shape is None:
            raise self.refuse(name, "is an empty array")
        if item.is_virtual or item.external:
            raise self.refuse(name, "keeps its data in another file; a file holds its own arrays")
        text = h5py.check_string_dtype(item.dtype)
        if text is None and item.dtype.kind not in "fiub":
            raise self.refuse(name, f"holds {item.dtype}; numbers and text are what is read")
        if text is not None and (text.length or 0) > MAX_TEXT:
            raise self.refuse(name, f"holds text of {text.length} bytes; at most {MAX_TEXT} are read")
        if text is not None and item.shape not in ((), (1,)) and not self.rules.edges:
            raise self.refuse(name, f"holds text of shape {list(item.shape)}; one text is read")
        pairs = name.endswith("/edges") and len(item.shape) == 2
        if text is not None and item.shape != () and self.rules.edges and not pairs:
            raise self.refuse(name, f"holds text of shape {list(item.shape)}; only edges [E, 2] hold more than one")
        if text is not None and item.size > 2 * MAX_EDGES:
            raise self.refuse(name, f"holds {item.size // 2} edges; at most {MAX_EDGES} are read")
        self.elements += max(int(item.size), math.prod(item.chunks or (0,)))  # a chunk is read whole
        if self.elements > MAX_ELEMENTS:
            raise self.refuse(name, f"the file announces more than {MAX_ELEMENTS} array elements, the limit")
        if self.rules.whole:
            self.check_whole(item, name)

    def check_whole(self, item: Any, name: str) -> None:
        """Check that an array stands in the file byte for byte."""
        if item.id.get_create_plist().get_nfilters() > 0:
            raise self.refuse(name, "is compressed or filtered; write it without (h5repack -f NONE)")
        size = int(item.size) * item.id.get_type().get_size()
        self.bytes += size
        if item.id.get_storage_size() < size or self.bytes > self.size:
            raise self.refuse(name, f"announces {size} bytes that the file does not hold")

    def text(self, item: Any, name: str) -> Any:
        """Read text: one, or the pairs of ``edges`` row by row, since no header says how long they are."""
        if item.shape == () or not self.rules.edges:
            return self.decoded(item[()] if item.shape == () else item[0], name)
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

    def attributes(self, group: Any, where: str) -> dict[str, Any]:
        """Read the attributes of a group."""
        found: dict[str, Any] = {}
        for key in group.attrs:
            name, kind = f"{where}/{key}", group.attrs.get_id(key)
            self.objects += 1
            if self.objects > MAX_OBJECTS or kind.shape != () or (kind.dtype.kind not in "fiubO"):
                raise self.refuse(name, f"is an attribute {kind.dtype} {kind.shape}; one number or one text is read")
            value = group.attrs[key]
            if isinstance(value, str):
                found[key] = {TEXT: self.decoded(value, name)}
            else:
                found[key] = {ARRAY: len(self.arrays)}
                self.arrays.append(np.asarray(value))
        return found

    def read(self, group: Any, where: str = "") -> dict[str, Any]:
        """Read everything below a group whose headers are checked; arrays are kept, and named by their number."""
        found: dict[str, Any] = self.attributes(group, where) if self.rules.attributes else {}
        for key, item in group.items():
            name = f"{where}/{key}"
            if isinstance(item, h5py.Group):
                found[key] = self.read(item, name)
            elif h5py.check_string_dtype(item.dtype) is not None:
                found[key] = {TEXT: self.text(item, name)}
            elif key == "edges" and item.size == 0 and self.rules.edges:
                found[key] = {TEXT: []}
            else:
                found[key] = {ARRAY: len(self.arrays)}
                self.arrays.append(item[()])
        return found


def read_tree(path: str, kind: str) -> tuple[dict[str, Any], list[Any]]:
    """Return the tree below a kind's group, its arrays by number, and the arrays."""
    if not h5py.is_hdf5(path):
        raise RefusedError(f"not an HDF5 file, which a {kind} file is")
    rules = RULES[kind]
    reader = Reader(rules, Path(path).stat().st_size)
    with h5py.File(path, "r") as opened:
        if not isinstance(opened.get(rules.root), h5py.Group):
            raise RefusedError(f"holds no group {rules.root!r}, as a {kind} file does")
        reader.check(opened)
        return reader.read(opened[rules.root]), reader.arrays


def limit_itself(seconds: float) -> None:
    """Take no more memory than the limit, and no more time, should nobody be left to end this process."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    except (ImportError, OSError, ValueError):
        pass  # the limits on what a file announces remain
    if hasattr(signal, "alarm"):
        signal.alarm(math.ceil(seconds))  # unhandled, so that it ends C code too


def main(kind: str, path: str, target: str, seconds: str) -> int:
    """Read a file and leave its tree and arrays; say why not on standard output."""
    limit_itself(float(seconds))
    try:
        tree, arrays = read_tree(path, kind)
        text = np.frombuffer(json.dumps(tree).encode(), dtype=np.uint8)
        np.savez(target, tree=text, **{f"array{number}": array for number, array in enumerate(arrays)})
    except RefusedError as error:
        sys.stdout.buffer.write(str(error).encode("utf8", "replace"))
        return REFUSED
    except Exception as error:  # what h5py raises on damaged files has no common class
        said = f"not a readable {kind} file ({type(error).__name__}: {error})"
        sys.stdout.buffer.write(said.encode("utf8", "replace"))
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
