"""What a page of the documentation shows to be typed: its console lines and Python blocks, in order."""

import re
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A ``command`` of a console block with the lines printed under it, or a ``python`` block."""

    kind: str
    text: str
    under: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Return every command and every Python block of a page."""
    text, found = page.read_text(), []
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 2
        if fence[1] == "python":
            found.append(Block("python", fence[2], "", line))
        elif fence[1] == "console":
            found += _commands(fence[2], line)
    return found


def _commands(shown: str, line: int) -> list[Block]:
    """Return the commands of a console block: ``$ command``, lines that it continues on, and what is printed."""
    found = []
    for part in re.split(r"^(?=\$ )", shown, flags=re.MULTILINE):
        command = re.match(r"\$ ((?:.*\\\n)*.*)\n?", part)
        if command:
            found.append(Block("command", re.sub(r"\\\n\s*", "", command[1]), part[command.end() :], line))
        line += part.count("\n")
    return found
