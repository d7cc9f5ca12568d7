"""Accuracy, bytes and speed of sparse networks.

python -m studies.sparsity accuracy --out runs/sparsity                 trainings; those that are there are kept
python -m studies.sparsity accuracy --out runs/sparsity --report docs/sparsity      the table and the picture
python -m studies.sparsity bytes                                        codings of ternary weights
python -m studies.sparsity native                                       the native executor at each share of zeros
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pnbx_snn.errors import PnbxError
from studies.results import add, read
from studies.sparsity import accuracy


def main(arguments: list[str] | None = None) -> int:
    """Run a part of the study."""
    parser = argparse.ArgumentParser(prog="python -m studies.sparsity", description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    curve = parts.add_parser("accuracy", help="train, prune, measure on the validation part")
    curve.add_argument("--out", type=Path, required=True, help="folder of the trainings and of results.jsonl")
    curve.add_argument("--config", default="fsdd")
    curve.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    curve.add_argument("--epochs", type=int, default=25)
    curve.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    curve.add_argument("--zeros", type=float, nargs="+", default=list(accuracy.ZEROS))
    curve.add_argument("--rules", nargs="+", choices=list(accuracy.RULES), default=list(accuracy.RULES))
    curve.add_argument("--report", type=Path, help="write table.md and accuracy.png here, and train nothing")
    parts.add_parser("bytes", help="compare codings at 40 to 95 % zeros")
    parts.add_parser("native", help="time products and a whole network at 40 to 95 % zeros")
    options = parser.parse_args(arguments)
    try:
        if options.part == "accuracy":
            _accuracy(options)
        elif options.part == "bytes":
            from studies.sparsity import codings

            sys.stdout.write(codings.table() + "\n")
        else:
            from studies.sparsity import native

            sys.stdout.write(native.table() + "\n")
    except PnbxError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _accuracy(options: argparse.Namespace) -> None:
    results = options.out / "results.jsonl"
    if options.report is not None:
        from studies.sparsity.report import write_report

        write_report(read(results), options.report)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    overrides = [f"train.epochs={options.epochs}", *options.set]
    for run in accuracy.wanted(options.seeds, options.zeros, options.rules):
        done = [(row["rule"], row["target"], row["seed"]) for row in read(results)]
        if tuple(run) in done:
            continue
        found = accuracy.measure(options.config, overrides, run, options.out)
        add(results, *found)
        for row in found:
            name = f"{row['rule']}, {row['target']:.0%}, seed {row['seed']}"
            sys.stdout.write(f"{name}: {row['accuracy_validation']:.2%}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
