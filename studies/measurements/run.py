"""Measure PNB-X against its rivals on this machine: latency, memory and time against length, start, files, training.

``python -m studies.measurements.run FOLDER [--quick]`` writes ``FOLDER/measurements.json`` (and tables of it):

    {"machine": {...}, "rows": [{"quantity", "model", "form", "length", "value", "unit", "low", "high", "command"}]}

Every rival lives in a process of its own with one thread. All are asked in turns, in random order within a round, so a
busy moment of the machine hits all of them alike. A stage whose rows are there is not measured again.

Times are those that a process had the processor: on a shared machine a step of 10 ms is interrupted and one of 20 us is
not, so the clock on the wall would favour the short step. On a quiet machine the two are equal; ``latency_wall_*`` has
the other.

Forms of the equal Transformer that need more than torch, ONNX Runtime's and the compiled ones, are left out where the
package or a C++ compiler is missing; the file and its tables then say which, and why.

Quantities: ``latency_p50`` (low, high: quartiles), ``latency_p99``, ``latency_bound`` (a step's matrix products and
attention alone, in torch), ``memory_resident`` (beyond the same process before the network was there),
``memory_state``, ``memory_counted`` (weights and state), ``memory_growth`` and ``state_growth`` (from step 256 to L),
``total_time`` (whole sequence; low, high: extremes), ``firing_rate``, ``cold_start``, ``file_size``,
``image_p50`` (a static image), ``training_throughput``, and ``latency_ratio``,
``latency_bound_ratio``, ``memory_ratio``, ``memory_counted_ratio``: the best Transformer form of equal size over PNB-X
native.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pnbx_snn.errors import PnbxError, StorageError
from pnbx_snn.storage import write_atomically
from studies.measurements.machine import machine
from studies.measurements.tables import markdown

FILE = "measurements.json"
COMMAND = "python -m studies.measurements.run FOLDER"

Row = dict[str, Any]


class Measurements:
    """The rows of a file, those that are there already kept.

    Parameters
    ----------
    path
        ``measurements.json``.
    quick
        Stands in the file; rows of a quick and of a full measurement never mix.

    Raises
    ------
    StorageError
        If the file is there and holds something else, or was measured in the other mode.
    """

    def __init__(self, path: Path, *, quick: bool) -> None:
        self.path, self.command = path, COMMAND + (" --quick" if quick else "")
        self.rows: list[Row] = []
        self.machine: dict[str, Any] = {**machine(), "quick": quick}
        if not path.exists():
            return
        try:
            found = json.loads(path.read_text())
            self.rows, kept = list(found["rows"]), dict(found["machine"])
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise StorageError(f"{path}: holds no measurements ({error!r}); move it away") from error
        if kept.get("quick") != quick:
            mode = "quick" if kept.get("quick") else "full"
            raise StorageError(f"{path}: holds a {mode} measurement; give another folder, or move it away")
        self.machine = {**self.machine, **kept}

    def has(self, stage: str) -> bool:
        """Whether this stage was measured to its end."""
        return stage in self.machine.get("stages", {})

    def keep(
        self, stage: str, rows: Sequence[Row], seconds: float, *, not_measured: Mapping[str, str] | None = None
    ) -> None:
        """Add the rows of a stage that ended, and write the file: a later interruption cannot lose them.

        ``not_measured`` says by network and form why there are no rows of it.
        """
        for row in rows:
            self.rows.append({"form": "", "length": None, "low": None, "high": None, **row, "command": self.command})
        load = machine()["load_average"]
        ended: dict[str, Any] = {"seconds": round(seconds, 1), "load_average": load}
        if not_measured:
            ended["not_measured"] = dict(not_measured)
        self.machine.setdefault("stages", {})[stage] = ended
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(
            self.path, (json.dumps({"machine": self.machine, "rows": self.rows}, indent=1) + "\n").encode()
        )


def row(quantity: str, model: str, form: str, length: int | None, value: float, unit: str, **spread: float) -> Row:
    """Return a row without its command.

    Examples
    --------
    >>> row("file_size", "GRU", "int8", None, 12.0, "bytes")["value"]
    12.0
    """
    return {
        "quantity": quantity,
        "model": model,
        "form": form,
        "length": length,
        "value": value,
        "unit": unit,
        **spread,
    }


def main(folder: str | Path, *, quick: bool = False, say: Callable[[str], None] | None = None) -> Path:
    """Measure all stages that are not in ``FOLDER/measurements.json`` yet.

    Parameters
    ----------
    folder
        The folder of a report; made if it is not there.
    quick
        Few lengths, few rivals: to see that it runs. Full: seven minutes on a quiet machine.
    say
        Called with one line a stage; ``None``: standard error.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    StorageError
        See :class:`Measurements`.
    PnbxError
        If a process that measures fails; its own words are in the message.
    KeyboardInterrupt
        After Ctrl-C; the stages that ended are in the file.
    """
    from studies.measurements import stages as measure_stages

    def tell(line: str) -> None:
        sys.stderr.write(line + "\n")

    say = say or tell
    kept = Measurements(Path(folder) / FILE, quick=quick)
    stages = measure_stages.stages(quick=quick)
    with measure_stages.Bench(quick=quick) as bench:
        for number, (name, measure) in enumerate(stages, start=1):
            if kept.has(name):
                continue
            say(f"[{number}/{len(stages)}] {name} ...")
            started = time.perf_counter()
            rows = measure(bench, kept.rows)
            kept.keep(name, rows, time.perf_counter() - started, not_measured=bench.unavailable)
    write_atomically(kept.path.with_suffix(".md"), markdown({"machine": kept.machine, "rows": kept.rows}).encode())
    say(f"written: {kept.path} and {kept.path.stem}.md")
    return kept.path


def command(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.measurements.run", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, help=f"where {FILE} goes; what it holds already is kept")
    parser.add_argument("--quick", action="store_true", help="few lengths and rivals, under 20 seconds")
    options = parser.parse_args(arguments)
    try:
        main(options.folder, quick=options.quick)
    except PnbxError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the stages that ended are kept, the same command goes on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(command())
