"""Measure PNB-X against other libraries on this processor; print tables, and write them with JSON and figures.

    python -m studies.bench                               writes docs/performance; some twenty minutes
    python -m studies.bench --quick --out /tmp/bench      small sizes, to see that it runs
    python -m studies.bench.gpu                           neurons on a GPU

Rivals take turns in one run; medians and quartiles. `make bench` installs the rivals first.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import warnings
from pathlib import Path
from typing import Any

NEEDED = ("spikingjelly", "onnx", "onnxruntime", "openvino")
DEFAULT_OUT = Path(__file__).resolve().parents[2] / "docs" / "performance"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, help="folder of the results (default: docs/performance)"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, under a minute: to see that it runs")
    parser.add_argument("--seconds", type=float, help="for each row (default: 20, quick: 0.5)")
    parser.add_argument("--threads", type=int, default=2, help="of torch and the kernels in training (default: 2)")
    parser.add_argument("--steps", type=int, help="of the growth measurement (default: 1,000,000, quick: 2,000)")
    options = parser.parse_args()
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(f"error: {', '.join(missing)} not installed; `make bench` installs the rivals\n")
        return 2
    warnings.filterwarnings("ignore")  # those of the rivals
    results, rows = measure(options)
    from studies.bench import report

    report.write(results, rows, options.out)
    sys.stdout.write((options.out / "tables.md").read_text())
    sys.stdout.write(f"\nwritten: {options.out}/results.json, tables.md and figures\n")
    return 0


def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Any]]:
    """Run everything, the training rows with the threads asked for, the rest with one."""
    import torch

    from studies.bench import (
        curves,
        deployment,
        epoch,
        first_call,
        limits,
        memory,
        neurons,
        recurrences,
        scans,
        step,
        whole,
    )
    from studies.measurements.machine import facts

    def say(what: str) -> None:
        sys.stderr.write(f"{what} ...\n")

    seconds = options.seconds or (0.5 if options.quick else 20.0)
    quick = options.quick
    results: dict[str, Any] = {"machine": facts(), "threads": options.threads, "quick": quick}
    torch.set_num_threads(options.threads)
    rows = []
    training = {
        "neurons": neurons, "scans": scans, "recurrences": recurrences, "training step": step, "epoch": epoch,
    }  # fmt: skip
    for name, part in training.items():
        say(name)
        rows += part.rows(seconds, quick=quick)
    torch.set_num_threads(1)
    say("deployment")
    rows += deployment.rows(seconds, quick=quick)
    say("whole pieces of work")
    rows += whole.rows(seconds, quick=quick)
    say("memory")
    shape = (100, 32, 512) if quick else (500, 16, 512)
    results["peaks"] = {"shape": shape, "tensors": memory.training_peaks(*shape)}
    results["deployed"] = memory.deployed(options.steps or (2000 if quick else 1_000_000), quick=quick)
    say("first calls")
    results["first_call"] = first_call.measure()
    say("curves")
    results["curves"] = curves.measure(seconds, quick=quick)
    results["limits"] = limits.measure(sorted({1, options.threads}), quick=quick)
    return results, rows


if __name__ == "__main__":
    sys.exit(main())
