"""Run a program in Intel Lava: a side process under a Python that has Lava."""

from __future__ import annotations

from pathlib import Path

from neuromorphic.executors.entry import Entry, Finding, Option
from neuromorphic.executors.lava.grouping import Processes


def _interpreters() -> list[Finding]:
    from neuromorphic.executors.lava.environment import doctor

    return doctor()


ENTRIES = (
    Entry(
        name="lava",
        purpose="Loihi-style simulation",
        module="neuromorphic.executors.lava.executor",
        setup="neuromorphic setup-lava",
        options=(
            Option(
                "python",
                "--lava-python",
                Path,
                "Python with lava-nc to use; else PNBX_LAVA_PYTHON, the side environment, PATH, ...",
            ),
            Option(
                "processes",
                "--lava-processes",
                Processes,
                "what has a process of its own: an operation (default), a block or, in one, all: fewer are faster",
            ),
            Option("time_limit_s", "--time-limit", float, "seconds after which a run is ended", minimum=0.1),
        ),
        interpreters=_interpreters,
        expected=True,
        few=16,
    ),
)
