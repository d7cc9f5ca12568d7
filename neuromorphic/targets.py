"""Which executors, formats and chips can take a program, and the first reason where one cannot."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from neuromorphic.bounds import prove
from neuromorphic.errors import CompileError, CompileWarning, ExecutorError, NeuromorphicError
from neuromorphic.executors import EXECUTORS
from neuromorphic.executors.entry import Entry
from neuromorphic.formats import FORMATS
from neuromorphic.formats.entry import Format
from neuromorphic.loihi import check_loihi
from neuromorphic.program import Program

Takes = Literal["exactly", "not exactly", "no"]


@dataclass(frozen=True)
class Target:
    """What one room answers when it is asked whether it can take a program.

    Parameters
    ----------
    kind : {"executor", "format", "chip"}
        ``run --executor``, ``export --to``, or a chip whose rules are checked.
    name, purpose : str
        As the registries have them.
    takes : {"exactly", "not exactly", "no"}
        Bit for bit, with a difference that ``reason`` names, or not at all.
    reason : str
        The first reason, where it is not taken exactly.
    missing : str
        What to type where what an executor needs is not on this machine; empty: all is here.
    """

    kind: Literal["executor", "format", "chip"]
    name: str
    purpose: str
    takes: Takes
    reason: str = ""
    missing: str = ""


def targets(program: Program) -> list[Target]:
    """Ask every executor and format of the registries, and the rules of Loihi 2, about a program.

    An executor is asked which operations it lacks, and the program for its bounds; a format checks the program or
    writes it in memory. Nothing is written to a file that stays.

    Examples
    --------
    >>> import numpy as np
    >>> from neuromorphic import LIF, Dense, Input
    >>> one = np.ones(1, dtype=np.int32)
    >>> fc = Dense("fc", "x", np.array([[1, 1]], dtype=np.int8))
    >>> lif = LIF("lif", ("fc",), decay=4096 * one, threshold=2 * one, bias=0 * one, shift=0)
    >>> found = {target.name: target for target in targets(Program((Input("x", 2), fc, lif), num_steps=4))}
    >>> found["numpy"].takes, found["onnx"].takes, found["netx"].takes
    ('exactly', 'exactly', 'no')
    >>> print(found["loihi"].reason)
    lif: no stock process: shift is 0, stock shifts by 6 at least
    """
    found = []
    for entry in EXECUTORS.values():
        takes, reason = _answer(lambda entry=entry: _check_executor(entry, program))  # type: ignore[misc]
        found.append(Target("executor", entry.name, entry.purpose, takes, reason, "" if entry.ready else entry.remedy))
    for form in FORMATS.values():
        takes, reason = _check_format(form, program)
        found.append(Target("format", form.name, form.purpose, takes, reason))
    takes, reason = _answer(lambda: _check_loihi(program))
    return [*found, Target("chip", "loihi", "Loihi 2 with stock processes, modelled", takes, reason)]


def formats_of(program: Program) -> list[str]:
    """Return the names of the formats that can hold a program, exactly or not."""
    return [name for name, form in FORMATS.items() if _check_format(form, program)[0] != "no"]


def _check_format(form: Format, program: Program) -> tuple[Takes, str]:
    return _answer(lambda: form.load().check(program))


def _answer(check: Callable[[], str | None]) -> tuple[Takes, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CompileWarning)  # of a format that compiles what it wrote back
            differs = check()
    except NeuromorphicError as error:
        return "no", str(error)
    return ("exactly", "") if differs is None else ("not exactly", differs)


def _check_executor(entry: Entry, program: Program) -> None:
    missing = [f"{type(op).__name__} (of {op.name})" for op in program.ops if type(op).__name__ in entry.lacks]
    if missing:
        raise ExecutorError(f"lacks {missing[0]}")
    prove(program)
    if entry.check is not None:
        entry.check(program)


def _check_loihi(program: Program) -> None:
    for finding in check_loihi(program):
        raise CompileError(f"{finding.op}: {finding.problem}")
