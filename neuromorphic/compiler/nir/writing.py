"""NIR as a format of the registry :mod:`neuromorphic.formats`.

It stands among the compilers because a graph is exact only where it compiles back to the same integers.
"""

from __future__ import annotations

import os
from typing import Any

from neuromorphic.compiler.nir.export import save_nir, to_nir
from neuromorphic.errors import CompileError
from neuromorphic.program import Program


def check(program: Program) -> str | None:
    """Raise the error of :func:`to_nir` for a program that no graph holds; return why it is held only closely."""
    try:
        to_nir(program)
    except CompileError as error:
        to_nir(program, round_trip="close")
        return f"with --round-trip close: {error}"
    return None


def write(program: Program, path: str | os.PathLike[str], **options: Any) -> str:
    """Write the graph of :func:`to_nir` with :func:`save_nir`; return its size, its metadata and its notes."""
    graph = to_nir(program, **options)
    save_nir(graph, path)
    facts = ", ".join(f"{key} {value:.6g}" for key, value in graph.metadata.items() if not isinstance(value, str))
    notes = "".join(f"\n- {note}" for note in graph.metadata.get("notes", "").splitlines())
    return f"{len(graph.nodes)} nodes, {len(graph.edges)} edges; {facts}{notes}"
