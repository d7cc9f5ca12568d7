"""Report what PNB-X costs beside every claim of the source document: counted, modelled, measured.

    python -m studies.claims -o report                     the document's network and the 201 rows
    python -m studies.claims --measure -o report           measure it against its rivals first
    python -m studies.claims runs/digits -o report         a trained run, on its own data

The folder then holds index.html (one file that opens offline), report.md with figures/, and report.json. What a network
costs without the document is `pnbx-snn analyze RUN`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pnbx_snn.errors import PnbxError
from pnbx_snn.metrics.analysis import analyze_run
from pnbx_snn.training.checkpoint import load_run
from pnbx_snn.training.packed import load_packed
from studies.claims.report import SECTIONS, build_report
from studies.claims.trained import measure_run
from studies.measurements.__main__ import measure


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.claims", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="?", type=Path, help="a trained run or packed file; none: the reference network")
    parser.add_argument("-o", "--output", type=Path, default=Path("report"), help="folder of the report")
    parser.add_argument("--section", action="append", default=[], help=f"only this one of {', '.join(SECTIONS)}")
    parser.add_argument("--measure", action="store_true", help="measure against the rivals first, ten minutes or more")
    parser.add_argument("--quick", action="store_true", help="with --measure: only to see that it runs")
    parser.add_argument("--measurements", type=Path, help="a measurements.json; default: that in the report's folder")
    parser.add_argument("--part", choices=("test", "validation"), default="test", help="which samples of a run's data")
    parser.add_argument("--data", type=Path, help="folder of the data sets; default: data.folder, or $PNBX_DATA")
    parser.add_argument("--samples", type=int, default=256, help="how many samples are looked at")
    parser.add_argument("--sample", type=int, default=0, help="number of the sample whose spikes are drawn")
    options = parser.parse_args(arguments)
    if options.quick and not options.measure:
        parser.error("--quick is for --measure")
    try:
        run = None
        if options.run is not None:
            model, config = load_packed(options.run)[:2] if options.run.is_file() else load_run(options.run)
            data = config.data if options.data is None else config.data.model_copy(update={"folder": str(options.data)})
            costs = analyze_run(
                options.run, model, data, part=options.part, samples=options.samples, sample=options.sample
            )
            run = measure_run(costs)
        if options.measure:
            measure(options.output, quick=options.quick)
        found = build_report(options.output, run=run, names=options.section, measurements=options.measurements)
    except PnbxError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"wrote {found.html}, report.md and report.json\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
