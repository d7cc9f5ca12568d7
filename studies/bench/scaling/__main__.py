"""Measure throughput against processes, threads and batch on this machine; model what more machines would bring.

    python -m studies.bench.scaling                              writes docs/scale; some four minutes
    python -m studies.bench.scaling --quick --out /tmp/scaling   small sizes, to see that it runs
    python -m studies.bench.scaling --draw                       table and figure again, of what was measured

Training is `pnbx-snn train`, under torchrun where there are two processes; inference the executor native.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from studies.bench.scaling import figure, inference, link, training
from studies.bench.scaling.table import markdown
from studies.measurements.machine import machine

DEFAULT_OUT = Path(__file__).resolve().parents[3] / "docs" / "scale"
FILE = "results.json"
PARTS = ("inference", "training", "link")


def measure(found: dict[str, Any], parts: Sequence[str], *, quick: bool, rounds: int, seconds: float) -> dict[str, Any]:
    """Measure these parts, and leave what was found of others; ``link`` needs the size of what training sends."""
    work: dict[str, Callable[[], Any]] = {
        "inference": lambda: inference.measure(seconds, quick=quick),
        "training": lambda: training.measure(rounds, quick=quick),
        "link": lambda: link.measure(found["training"]["gradient_bytes"]),
    }
    found = {**found, "machine": machine(), "quick": quick}
    for name in parts:
        sys.stderr.write(f"{name} ...\n")
        found[name] = work[name]()
    return found


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.bench.scaling", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder of the results (default: docs/scale)")
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that it runs")
    parser.add_argument("--draw", action="store_true", help="measure nothing, draw what is there again")
    parser.add_argument("--only", choices=PARTS, help="measure this part again, leave the others")
    parser.add_argument("--rounds", type=int, help="trainings of each kind (default: 3, quick: 1)")
    parser.add_argument("--seconds", type=float, help="of inference (default: 30, quick: 1)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / FILE
    if not options.draw:
        found = measure(
            json.loads(file.read_text()) if options.only else {},
            [options.only] if options.only else PARTS,
            quick=options.quick,
            rounds=options.rounds or (1 if options.quick else 3),
            seconds=options.seconds or (1.0 if options.quick else 30.0),
        )
        file.write_text(json.dumps(found, indent=1) + "\n")
    found = json.loads(file.read_text())
    (options.out / "table.md").write_text(markdown(found))
    figure.draw(found, options.out / "scaling.png")
    sys.stdout.write((options.out / "table.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
