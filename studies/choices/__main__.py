"""Train the networks of the study and report them.

python -m studies.choices --data DIR --out runs/choices                 trains what is missing
python -m studies.choices --data DIR --out runs/choices --task rows --seed 0 --part changes
python -m studies.choices --out runs/choices --report docs/choices          tables of what is there

Every network is an ordinary run, measured on the validation samples after its last epoch. The folder of a finished
run is made smaller to its line in ``results.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

from pnbx_snn.console import say
from pnbx_snn.training.config import Config, load_config, make_config
from pnbx_snn.training.kinds import register
from pnbx_snn.training.run import train
from studies.choices.analog import KIND
from studies.choices.cells import TASKS, Cell, changes, grid
from studies.choices.report import report
from studies.results import add, read

SEEDS = (0, 1, 2)


def configuration(task: str, cell: Cell, seed: int, data: str) -> Config:
    """Return the configuration of a cell."""
    given = [f"data.folder={json.dumps(data)}", f"train.seed={seed}", *cell.keys]
    values = load_config(TASKS[task], given).model_dump()
    values[cell.section] = values.pop("pnbx")
    return make_config(values)


def main() -> None:
    """Run what is missing, or report what is there."""
    parser = argparse.ArgumentParser(prog="python -m studies.choices", description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and of results.jsonl")
    parser.add_argument("--data", default="", help="folder of the data sets")
    parser.add_argument("--task", choices=list(TASKS), action="append", help="all of them by default")
    parser.add_argument("--part", choices=["grid", "changes"], action="append", help="both by default")
    parser.add_argument("--seed", type=int, action="append", help="0, 1 and 2 by default")
    parser.add_argument("--report", type=Path, help="write tables and pictures into this folder and train nothing")
    wanted = parser.parse_args()
    wanted.out.mkdir(parents=True, exist_ok=True)
    results = wanted.out / "results.jsonl"
    if wanted.report:
        report(results, wanted.report)
        return
    cells = [cell for cell in [*changes(), *grid()] if cell.part in (wanted.part or ["grid", "changes"])]
    for seed in wanted.seed or SEEDS:
        for task in wanted.task or TASKS:
            for cell in cells:
                run(wanted.out, results, task, cell, seed, wanted.data)


def run(out: Path, results: Path, task: str, cell: Cell, seed: int, data: str) -> None:
    """Train one network unless its line is there."""
    key = {"task": task, "part": cell.part, "name": cell.name, "seed": seed}
    if any(done.items() >= key.items() for done in read(results)):
        return
    folder = out / f"{task}_{cell.part}_{cell.name.replace(', ', '_').replace(' ', '_')}_{seed}"
    start = time.process_time()
    found = train(configuration(task, cell, seed, data), folder, resume=(folder / "config.toml").exists())
    assert found.metrics is not None
    kept = {name: found.metrics[name] for name in ("accuracy_validation", "accuracy_train", "firing_rate", "epoch")}
    weights = sum(p.numel() for p in found.model.parameters() if p.ndim >= 2)
    line: dict[str, Any] = key | kept | {"weights": weights, "cpu_seconds": round(time.process_time() - start, 1)}
    add(results, line)
    shutil.rmtree(folder)
    say(f"{task}, {cell.name}, seed {seed}: {100 * kept['accuracy_validation']:.2f} %")


if __name__ == "__main__":
    register(KIND)
    main()
