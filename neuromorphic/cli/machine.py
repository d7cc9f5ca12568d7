"""What is on this machine: ``doctor`` lists it, ``setup-lava`` makes what Lava needs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from neuromorphic.cli.app import AsJson, app, out
from neuromorphic.cli.waiting import status
from neuromorphic.executors import EXECUTORS
from neuromorphic.executors.entry import Entry, Finding


@app.command("setup-lava")
def setup_lava_command(
    python: Annotated[Path | None, typer.Option(help="A Python 3.10 to build on; else PATH, pyenv, uv.")] = None,
    target: Annotated[Path | None, typer.Option(help="Folder of the side environment.")] = None,
) -> None:
    """Make the Lava side environment (a virtual environment with lava-nc 0.10), or keep the one that works.

    Needs a Python 3.10. Where none is to be had, the present Python is used with an import shim.
    """
    from neuromorphic.executors.lava.environment import setup_lava

    with status("setting up Lava") as say:
        found = setup_lava(target=target, python=python, progress=say)
    shim = " through the import shim" if found.shim else ""
    out.print(f"Lava {found.lava_version} on Python {found.python_version}{shim}: {found.path}", soft_wrap=True)


def _interpreters(entry: Entry, findings: Sequence[Finding]) -> Table:
    title = f"{entry.looks_for} for the executor {entry.name}"
    table = Table("where", Column("path", overflow="fold"), "state", title=title)
    for finding in findings:
        colour = "green" if finding.usable else "dim"
        table.add_row(finding.source, str(finding.path or "-"), Text(finding.detail, style=colour))
    return table


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say which Pythons with Lava, compilers and devices were found, what is missing, and which executors would run."""
    entries, say = EXECUTORS.values(), partial(out.print, soft_wrap=True, markup=False)
    found = {entry.name: entry.interpreters() for entry in entries if entry.interpreters}
    usable = {name: any(finding.usable for finding in findings) for name, findings in found.items()}
    devices = {entry.name: entry.devices() if entry.installed else None for entry in entries if entry.devices}
    if as_json:
        looked_at = [vars(finding) for findings in found.values() for finding in findings]
        out.print_json(data={**usable, "findings": looked_at, **devices}, default=str)
    else:
        for name, findings in found.items():
            out.print(_interpreters(EXECUTORS[name], findings))
        ready = [entry.name for entry in entries if entry.name not in found | devices and entry.installed]
        say(f"executors {', '.join(ready)}: ready")
        for entry in entries:
            for name, what in devices.get(entry.name) or ():
                say(f"executor {entry.name}, --device {name}: {entry.device_state.format(what)}")
            if not entry.installed:
                say(f"executor {entry.name}: missing; {entry.remedy}")
        for entry in entries:
            if entry.note:
                say(entry.note)
        for name, works in usable.items():
            say(f"executor {name}: {'ready' if works else f'missing; {EXECUTORS[name].remedy}'}")
    raise typer.Exit(0 if all(works for name, works in usable.items() if EXECUTORS[name].expected) else 1)
