"""Measure PNB-X against its rivals on this machine: latency, memory and time against length, start, files, training.

``python -m studies.measurements FOLDER [--quick]`` writes ``FOLDER/measurements.json`` (and tables of it):

    {"machine": {...}, "rows": [{"quantity", "model", "form", "length", "value", "unit", "low", "high", "command"}]}

Every rival lives in a process of its own with one thread. They take turns in random order within a round, so a
busy moment of the machine hits all of them equally. A stage whose rows are there is not measured again.

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
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pnbx_snn.errors import PnbxError
from pnbx_snn.files.atomic_write import write_atomically
from studies.measurements import stages
from studies.measurements.gpu_energy import gpu_rows
from studies.measurements.record import FILE, Measurements, markdown

GPU = "GPU joules"


def measure(folder: str | Path, *, quick: bool = False, say: Callable[[str], None] | None = None) -> Path:
    """Measure all stages that are not in ``FOLDER/measurements.json`` yet, and return its path.

    Parameters
    ----------
    folder
        The folder of a report; made if it is not there.
    quick
        Few lengths, few rivals: to see that it runs. Full: seven minutes on a quiet machine.
    say
        Called with one line a stage; ``None``: standard error.
    """
    say = say or (lambda line: print(line, file=sys.stderr))  # noqa: T201
    kept = Measurements(Path(folder) / FILE, quick=quick)
    wanted = stages.stages(quick=quick)
    with stages.Bench(quick=quick) as bench:
        for number, (name, work) in enumerate(wanted, start=1):
            if kept.has(name):
                continue
            say(f"[{number}/{len(wanted)}] {name} ...")
            started = time.perf_counter()
            rows = work(bench, kept.rows)
            kept.keep(name, rows, time.perf_counter() - started, not_measured=bench.unavailable)
    if not kept.has(GPU):
        started = time.perf_counter()
        found = gpu_rows(seconds=2.0 if quick else 10.0)
        if isinstance(found, str):
            kept.machine["gpu"] = found  # why there is none, for who reads the file
        kept.keep(GPU, [] if isinstance(found, str) else found, time.perf_counter() - started)
    write_atomically(kept.path.with_suffix(".md"), markdown({"machine": kept.machine, "rows": kept.rows}).encode())
    say(f"written: {kept.path} and {kept.path.stem}.md")
    return kept.path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.measurements", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, help=f"where {FILE} goes; what it holds already is kept")
    parser.add_argument("--quick", action="store_true", help="few lengths and rivals, under 20 seconds")
    options = parser.parse_args(arguments)
    try:
        measure(options.folder, quick=options.quick)
    except PnbxError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the stages that ended are kept, the same command goes on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
