"""Memory that several arrays share, one after the other, within a step."""

from __future__ import annotations

import re
from collections.abc import Sequence

from neuromorphic.executors.c.arrays import Array
from neuromorphic.executors.c.text import SIZES, indented


def lifetimes(arrays: Sequence[Array], functions: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return the first and the last of the functions of a step that mention each array."""
    found: dict[str, tuple[int, int]] = {}
    known = {array.name for array in arrays}
    for place, text in enumerate(functions):
        for name in known.intersection(re.findall(r"\w+", text)):
            found[name] = (found.get(name, (place, place))[0], place)
    return found


def share(arrays: Sequence[Array], functions: Sequence[str]) -> list[list[Array]]:
    """Group arrays that the functions of a step need at different times, the largest first.

    Parameters
    ----------
    arrays : sequence of Array
        Those that every step writes before it reads them, and that nothing reads after it.
    functions : sequence of str
        Texts of the functions of a step, in their order.
    """
    lives = lifetimes(arrays, functions)
    groups: list[list[Array]] = []
    for array in sorted(arrays, key=lambda array: -array.bytes):
        first, last = lives[array.name]
        for group in groups:
            if all(last < lives[other.name][0] or lives[other.name][1] < first for other in group):
                group.append(array)
                break
        else:
            groups.append([array])
    return groups


def bytes_of(group: Sequence[Array]) -> int:
    """Return what arrays take that share memory: the largest of them, and its alignment."""
    alignment = max(SIZES[array.type] for array in group)
    return -(-max(array.bytes for array in group) // alignment) * alignment


def definition(name: str, group: Sequence[Array]) -> str:
    """Return the definition of a group: a union, whose member is whichever array is in use."""
    members = indented([f"{array.type} {array.name}[{array.size}];" for array in group])
    return "\n".join(["static union {", *members, f"}} {name};"])


def renamed(text: str, names: dict[str, str]) -> str:
    """Put the names of shared arrays into the text of a function."""
    return re.sub(r"\w+", lambda word: names.get(word[0], word[0]), text)
