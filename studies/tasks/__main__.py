"""What finished trainings of the tasks reach on test samples.

python -m studies.tasks measure rows runs/rows_0 runs/rows_1 --data DIR     adds lines to docs/tasks/results.jsonl
python -m studies.tasks report                                              writes the tables beside them

Trainings are those of ``pnbx-snn train`` and ``python -m studies.rivals train``; docs/results.md has the commands. A
test set is looked at here only, after every choice was made on validation samples.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pnbx_snn.console import say
from pnbx_snn.errors import PnbxError
from studies.results import add, read
from studies.tasks.measure import measure
from studies.tasks.report import comparison, speakers
from studies.tasks.tasks import TASKS


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure runs, or write the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.tasks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("docs/tasks"), help="folder of results.jsonl and tables")
    parts = parser.add_subparsers(dest="part", required=True)
    measured = parts.add_parser("measure", help="measure finished trainings on their test samples")
    measured.add_argument("task", choices=list(TASKS))
    measured.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    measured.add_argument("--data", type=Path, help="folder of the data sets; default: that of the run")
    parts.add_parser("report", help="write comparison.md and speakers.md")
    wanted = parser.parse_args(arguments)
    wanted.folder.mkdir(parents=True, exist_ok=True)
    results = wanted.folder / "results.jsonl"
    if wanted.part == "report":
        lines = read(results)
        (wanted.folder / "comparison.md").write_text(comparison(lines))
        (wanted.folder / "speakers.md").write_text(speakers(lines))
        return 0
    for run in wanted.runs:
        try:
            line = measure(run, wanted.task, wanted.data)
        except PnbxError as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
        add(results, line)
        say(f"{run}: {100 * line['test']:.2f} % as trained, {100 * line['small']:.2f} % on a small machine")
    return 0


if __name__ == "__main__":
    sys.exit(main())
