"""PNB-X and a GRU of as many bytes on time series: settings chosen on validation series, test series once.

python -m studies.series --out runs/series                     everything; what is there already is kept
python -m studies.series --out runs/series --name osu_leaf     one data set
python -m studies.series --out runs/series --report            the table alone, from what is there

Each network is trained with a few settings on the training part, two seeds each. The one with the best mean accuracy on
the validation part is trained anew on all training series with three seeds and measured on the test file. The GRU is as
large as its int8 weights take the bytes that PNB-X of the chosen setting takes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

import neuromorphic
from pnbx_snn import load_run, train
from pnbx_snn.data.catalog import load_split
from pnbx_snn.data.time_series import SeriesData
from pnbx_snn.metrics.memory import packings
from pnbx_snn.training.checkpoint import build_model
from pnbx_snn.training.config import Config, make_config
from pnbx_snn.training.evaluate import evaluate
from pnbx_snn.training.run_files import CHECKPOINT_NAME
from pnbx_snn.training.settings import DataConfig
from studies.results import add, read
from studies.rivals import classifier  # noqa: F401  # makes [baseline] known
from studies.rivals.int8 import in_int8, weight_bytes
from studies.series.table import table

SEEDS = (0, 1, 2)
PNBX = {
    "d_hidden": 128, "d_ssm": 64, "d_rnn": 32, "fast_weights": "none", "hippocampus": "none", "messages": False,
    "norm": "affine", "quantize": True, "beta_encoder": 0.5, "beta": 0.8, "dropout": 0.1,
}  # fmt: skip
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "PNB-X": [{"window": window, "rate": 5e-3} for window in (1, 8, 24)],
    "GRU": [{"window": window, "rate": rate} for window, rate in ((1, 3e-3), (1, 1e-2), (8, 5e-3))],
}
"""How many steps a step sees, and the learning rate."""
CHOOSING_SEEDS = SEEDS[:2]
UPDATES, BATCH, NOISE = 300, 32, 0.1


def configuration(
    name: Any, network: str, setting: dict[str, Any], seed: int, part: str, *, updates: int, num_bytes: int
) -> Config:
    """Return the configuration of a training; ``num_bytes`` is what a GRU may take."""
    samples = len(load_split(DataConfig(name=name), "train_all").labels)
    schedule = {
        "epochs": max(1, round(updates / max(1, samples // BATCH))),
        "batch_size": BATCH, "learning_rate": setting["rate"], "rate_weight": 0.0, "clip_norm": 1.0, "settle": 10,
        "checkpoint_every": 1_000_000, "seed": seed, "threads": 1,
    }  # fmt: skip
    data: dict[str, Any] = {"name": name, "part": part, "window": setting["window"]}
    sections = {"data": data, "augment": {"input_noise": NOISE}, "train": schedule}
    if network == "PNB-X":
        tau = float(min(max(2, DataConfig(**data).num_steps // 2), 100))
        return make_config({**sections, "pnbx": {**PNBX, "tau_max": tau}})
    parameters = num_bytes
    for _ in range(4):  # as many as take these bytes in int8
        made = make_config({"data": data, "baseline": {"kind": "gru", "parameters": parameters}})
        parameters = max(200, round(parameters * num_bytes / weight_bytes(build_model(made))))
    return make_config({**sections, "baseline": {"kind": "gru", "parameters": parameters, "dropout": 0.1}})


def one(
    name: str, network: str, setting: dict[str, Any], seed: int, part: str, folder: Path, **options: int
) -> dict[str, Any]:
    """Train and measure one network; return the line that is kept. ``options`` are those of :func:`configuration`."""
    config = configuration(name, network, setting, seed, part, **options)
    started = time.process_time()
    train(config, folder, resume=(folder / CHECKPOINT_NAME).exists())
    line = {"data": name, "network": network, "setting": setting, "seed": seed, "part": part, **options}
    line |= {"epochs": config.train.epochs, "cpu_s": round(time.process_time() - started, 1)}
    model, _ = load_run(folder)
    measured = "validation" if part == "train" else "test"
    split = load_split(config.data, measured)  # type: ignore[arg-type]
    line[measured] = evaluate(model, split)["accuracy"]
    if network == "GRU":
        line |= {f"{measured}_int8": evaluate(in_int8(model), split)["accuracy"], "bytes": weight_bytes(model)}
    else:
        line["bytes"] = packings(model)[3].total
        if measured == "test":
            program = neuromorphic.compile(folder, part="test")
            line["test_program"] = program.metadata["agreement"]["accuracy_program"]
    return line


def chosen_bytes(lines: Sequence[dict[str, Any]], name: str, updates: int) -> int:
    """Return the bytes of the PNB-X network of the chosen setting."""
    setting = best_setting(lines, name, "PNB-X", updates)
    return next(int(line["bytes"]) for line in lines if _is(line, name, "PNB-X", setting, "train_all", updates))


def best_setting(lines: Sequence[dict[str, Any]], name: str, network: str, updates: int) -> dict[str, Any]:
    """Return the setting with the best mean on the validation series; of equal ones the first."""
    means = []
    for setting in SETTINGS[network]:
        own = [line["validation"] for line in lines if _is(line, name, network, setting, "train", updates)]
        means.append(float(np.mean(own)))
    return SETTINGS[network][int(np.argmax(means))]


def _is(line: dict[str, Any], name: str, network: str, setting: dict[str, Any], part: str, updates: int) -> bool:
    wanted = (name, network, setting, part, updates)
    return tuple(line[key] for key in ("data", "network", "setting", "part", "updates")) == wanted


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.series", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--name", choices=get_args(SeriesData), action="append", help="only this one (may be repeated)")
    parser.add_argument("--out", type=Path, required=True, help="folder; runs in its results are not done again")
    parser.add_argument("--updates", type=int, default=UPDATES, help=f"steps of the optimiser (default: {UPDATES})")
    parser.add_argument("--report", action="store_true", help="print the table of what is there")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "results.jsonl"
    for name in () if options.report else options.name or get_args(SeriesData):
        for network, part in itertools.product(SETTINGS, ("train", "train_all")):
            first = part == "train"
            tried = SETTINGS[network] if first else [best_setting(read(results), name, network, options.updates)]
            num_bytes = 0 if network == "PNB-X" else chosen_bytes(read(results), name, options.updates)
            for setting, seed in itertools.product(tried, CHOOSING_SEEDS if first else SEEDS):
                known = [line for line in read(results) if line["seed"] == seed]
                if any(_is(line, name, network, setting, part, options.updates) for line in known):
                    continue
                words = "_".join(f"{key}{value:g}" for key, value in setting.items())
                folder = options.out / name / f"{network.lower()}_{part}_{words}_{options.updates}_seed{seed}"
                line = one(name, network, setting, seed, part, folder, updates=options.updates, num_bytes=num_bytes)
                add(results, line)
                sys.stdout.write(json.dumps(line) + "\n")
                sys.stdout.flush()
    sys.stdout.write(table(read(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
