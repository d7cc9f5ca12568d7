"""What a search found: the Pareto front, as a table, files and a picture, beside the document's bound."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pnbx_snn.files.atomic_write import write_atomically
from pnbx_snn.metrics.page import Table
from pnbx_snn.search.objectives import ABOUT, Objective, vector
from pnbx_snn.search.pareto import Number, ranks
from pnbx_snn.search.records import Limits, Record
from pnbx_snn.wording import counted

BOUND = 15_000
"""The document's section 9.1: two bits for each of the 60,000 labels of MNIST are the least that a model can have."""
BOUND_ACCURACY = 0.98
"""Of which the document says so: "98 %+"."""
TABLE_NAME, FRONT_NAME, PICTURE_NAME = "trials.csv", "front.json", "front.png"


class Front(NamedTuple):
    """The finished trials that no other one dominates, the smallest first, and all trials."""

    objectives: tuple[Objective, ...]
    best: list[Record]
    records: list[Record]

    @property
    def costs(self) -> list[Objective]:
        """The objectives beside accuracy."""
        return [name for name in self.objectives if name != "accuracy"]


def front(records: Sequence[Record], objectives: tuple[Objective, ...], limits: Limits) -> Front:
    """Return the Pareto front of the finished trials that the limits allow."""
    finished = [record for record in records if record.state == "complete" and limits.allows(record.measured)]
    points = [vector(objectives, record.measured) for record in finished]
    best = [record for record, rank in zip(finished, ranks(points), strict=True) if rank == 0]
    return Front(objectives, sorted(best, key=lambda record: record.measured["bytes"]), list(records))


def front_table(found: Front, title: str) -> Table:
    """Return the front as a table: objectives, and the keys in which its trials differ."""
    keys = list(dict.fromkeys(key for record in found.best for key in record.drawn))
    keys = [key for key in keys if len({json.dumps(record.drawn.get(key)) for record in found.best}) > 1]
    columns = ["trial", *(ABOUT[name].column for name in found.objectives), "with the rest in fp32", "differ in"]
    rows = []
    for record in found.best:
        values = [shown(name, record.measured[name]) for name in found.objectives]
        differing = [f"{key.partition('.')[2]} {_short(record.drawn[key])}" for key in keys if key in record.drawn]
        rest = f"{record.measured['bytes_with_fp32_rest']:,}"
        rows.append([str(record.number), *values, rest, ", ".join(differing) or "nothing"])
    return Table(title, columns, rows)


def shown(name: str, value: Number) -> str:
    """Return an objective as a table has it."""
    return f"{value:.2%}" if name == "accuracy" else f"{value:,.0f}"


def summary(records: Sequence[Record]) -> str:
    """Say how many trials ended how.

    Examples
    --------
    >>> summary([Record(0, "complete", {}, {}, {}, ""), Record(1, "rejected", {}, {}, {}, "too large")])
    '1 trial finished; 1 draw rejected before training'
    """
    count = {state: sum(record.state == state for record in records) for state in
             ("complete", "stopped", "failed", "running", "rejected")}  # fmt: skip
    words = [f"{counted(count['complete'], 'trial')} finished"]
    words += [f"{count['stopped']} stopped early"] * bool(count["stopped"])
    words += [f"{count['failed']} failed"] * bool(count["failed"])
    words += [f"{count['running']} unfinished"] * bool(count["running"])
    rejected = f"; {counted(count['rejected'], 'draw')} rejected before training" if count["rejected"] else ""
    return ", ".join(words) + rejected


def verdict(records: Sequence[Record], bound: int) -> str:
    """Say in a sentence whether the trials contradict the document's bound on the bytes of a model.

    They do if one of at least :data:`BOUND_ACCURACY` has less bytes, everything that is not ternary in fp32 included.

    Examples
    --------
    >>> trial = Record(4, "complete", {}, {"accuracy": 0.985, "bytes": 4_770, "bytes_with_fp32_rest": 5_300}, {}, "")
    >>> verdict([trial], 15_000).partition(" with ")[2]
    '4,770 bytes of ternary weights (5,300 with all else in fp32), which contradicts it.'
    """
    claim = f"The document calls {bound:,} bytes the least for {BOUND_ACCURACY:.0%} and more:".replace("%", " %")
    good = [
        record for record in records if record.state == "complete" and record.measured["accuracy"] >= BOUND_ACCURACY
    ]
    if not good:
        return f"{claim} no finished trial reads so many, so this search says nothing about it."
    least = min(good, key=lambda record: record.measured["bytes_with_fp32_rest"])
    size, whole = (int(least.measured[name]) for name in ("bytes", "bytes_with_fp32_rest"))
    what = (
        f"trial {least.number} reads {100 * least.measured['accuracy']:.2f} % of the validation samples with {size:,} "
        f"bytes of ternary weights ({whole:,} with all else in fp32)"
    )
    return f"{claim} {what}, {'which contradicts it' if whole < bound else 'and no smaller one does'}."


def write_files(found: Front, out: Path, *, bound: int, said: str) -> None:
    """Write ``trials.csv`` (all trials) and ``front.json``; a :class:`StorageError` if they cannot be written."""
    keys = list(dict.fromkeys(key for record in found.records for key in record.drawn))
    names = list(dict.fromkeys(name for record in found.records for name in record.measured))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    best = {record.number for record in found.best}
    table.writerow(["trial", "state", "on_front", *names, *keys, "why"])
    for r in found.records:
        drawn = [_short(r.drawn[key]) if key in r.drawn else "" for key in keys]
        table.writerow(
            [r.number, r.state, int(r.number in best), *(r.measured.get(n, "") for n in names), *drawn, r.why]
        )
    write_atomically(out / TABLE_NAME, text.getvalue().encode(), what="table")
    write_atomically(
        out / FRONT_NAME, (json.dumps(as_json(found, bound, said), indent=1) + "\n").encode(), what="front"
    )


def as_json(found: Front, bound: int, said: str) -> dict[str, Any]:
    """Return the front as plain JSON."""
    states = [record.state for record in found.records]
    return {
        "objectives": list(found.objectives),
        "trials": {state: states.count(state) for state in dict.fromkeys(states)},
        "bound_bytes": bound,
        "verdict": said,
        "front": [{"trial": r.number, "drawn": r.drawn, "measured": r.measured} for r in found.best],
    }


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{value:.3g}" if isinstance(value, float) else text
