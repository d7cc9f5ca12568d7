"""Programs as C99 for small machines: static memory, no floats, no library; and the same C compiled and run here."""

from __future__ import annotations

from neuromorphic.executors.entry import Entry, Finding


def _compilers() -> list[Finding]:
    from neuromorphic.executors.c.compiler import findings

    return findings()


ENTRIES = (
    Entry(
        name="c",
        purpose="the C that microcontrollers run, compiled here",
        module="neuromorphic.executors.c.executor",
        interpreters=_compilers,
        looks_for="C compiler",
        setup="apt install gcc libc6-dev, or name a compiler in the environment variable CC",
    ),
)
