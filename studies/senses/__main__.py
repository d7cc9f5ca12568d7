"""Train, test and report: ``python -m studies.senses``.

Each finished run is a line of ``OUT/runs.jsonl``; a run that is there is not repeated, and one that was killed goes on
from its last epoch. The part ``validation`` is for choosing, ``test`` for a last measurement.
"""

import argparse
from pathlib import Path

from pnbx_snn.console import say
from pnbx_snn.files.atomic_write import make_folder
from studies.results import add, read
from studies.senses.conditions import NETWORKS, run_one
from studies.senses.report import draw, table


def main(words: list[str] | None = None) -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(prog="python -m studies.senses", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/senses"), help="folder of runs, table and picture")
    parser.add_argument("--data", default="", help="folder of the data sets; default: $PNBX_DATA")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    parser.add_argument("--samples", type=int, default=2000, help="pairs that are tested under noise")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--report", action="store_true", help="only table and picture, of the runs that are there")
    given = parser.parse_args(words)
    out = make_folder(given.out)
    log = out / "runs.jsonl"
    for seed in [] if given.report else given.seeds:
        for network in given.networks:
            done = {(record["network"], record["seed"]): record for record in read(log)}
            if (network, seed) in done:
                before = done[network, seed]
                if (before["part"], before["overrides"]) != (given.part, given.overrides):
                    parser.error(
                        f"{log} has {network}, seed {seed}, of part {before['part']} with {before['overrides']}; take "
                        "another folder for another study"
                    )
                say(f"{network}, seed {seed}: is there")
                continue
            record = run_one(
                network, seed, out, part=given.part, overrides=given.overrides, samples=given.samples, data=given.data
            )
            add(log, record)
            say(f"{network}, seed {seed}: {100 * record['accuracy']['clean']:.2f} %")
    records = read(log)
    text = table(records)
    (out / "table.md").write_text(text)
    say(text)
    draw(records, out / "two_senses.png")


if __name__ == "__main__":
    main()
