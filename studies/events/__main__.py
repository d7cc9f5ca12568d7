"""An event data set from its files to a report: fetch, train, evaluate, compile, compare with the literature.

python -m studies.events shd --data DIR --out runs/events               files that are there
python -m studies.events shd --data DIR --out runs/events --fetch       Tonic downloads what is missing
python -m studies.events shd --estimate                                 expected hours of this machine, without any file

Whatever was done is kept: a training that was stopped goes on from its last checkpoint, a program is compiled once.
--set section.key=value changes the configuration, as for `pnbx-snn train`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch.nn.functional import cross_entropy

import neuromorphic
from neuromorphic import Program
from pnbx_snn import load_run, train
from pnbx_snn.data.catalog import load_split
from pnbx_snn.data.events import SENSORS, EventData
from pnbx_snn.files.atomic_write import write_atomically
from pnbx_snn.metrics.memory import packings
from pnbx_snn.training.checkpoint import build_model
from pnbx_snn.training.config import Config, load_config
from pnbx_snn.training.evaluate import evaluate
from pnbx_snn.training.run_files import CHECKPOINT_NAME
from studies.events import marks

TIMED = 3
"""Batches that an estimate times, after one that warms up."""


def fetch(name: EventData, folder: Path) -> None:
    """Let Tonic download the parts of a data set that are not there."""
    import numpy.lib.recfunctions  # noqa: F401  # tonic 1.7 uses it and leaves importing it to others
    from tonic import datasets

    sensor = SENSORS[name]
    kinds: list[dict[str, Any]] = [{"train": True}, {"train": False}]
    if sensor.places[1]:
        kinds = [{"split": kind} for kind in ("train", "valid", "test")]
    places = [place for place in sensor.places if place]
    for place, options in zip(places, kinds, strict=True):
        if not (folder / sensor.tonic / place).exists():
            getattr(datasets, sensor.tonic)(str(folder), **options)


def estimate(config: Config, *, samples: int) -> float:
    """Return the hours that a training of so many samples takes here on one thread, from a few random batches."""
    torch.manual_seed(0)
    model = build_model(config)
    shape = (config.train.batch_size, config.data.num_steps, config.data.in_features)
    x = (torch.rand(shape) < 0.05).float()
    labels = torch.randint(0, config.data.num_classes, shape[:1])
    model.calibrate(x)
    model.train()
    started = 0.0
    for number in range(1 + TIMED):
        started = time.process_time() if number == 1 else started
        logits, _ = model.classify(x, generator=torch.Generator().manual_seed(0))
        cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
    seconds = (time.process_time() - started) / TIMED
    return seconds * max(1, samples // config.train.batch_size) * config.train.epochs / 3600


def measured(run: Path) -> dict[str, Any]:
    """Evaluate a trained run on the test part, compile it, and return what a report needs."""
    model, config = load_run(run)
    program_file = run / "program.npz"
    if not program_file.exists():
        neuromorphic.compile(run, part="test").save(program_file)
    program = Program.load(program_file)
    return {
        "data": config.data.name,
        "test": evaluate(model, load_split(config.data, "test"))["accuracy"],
        "agreement": program.metadata["agreement"],
        "weight_bytes": packings(model)[3].ternary_bytes,
        "bytes": packings(model)[3].total,
        "epochs": config.train.epochs,
    }


def report(found: dict[str, Any]) -> str:
    """Return what came out, beside the marks, in Markdown."""
    agreement = found["agreement"]
    return (
        f"| {found['data']} | test |\n| --- | --- |\n"
        f"| network, {found['epochs']} epochs | {found['test']:.2%} |\n"
        f"| integer program | {agreement['accuracy_program']:.2%}, the network's label for "
        f"{agreement['labels_equal']:.2%} |\n"
        f"| bytes | {found['weight_bytes']:,} of ternary weights, {found['bytes']:,} with the others in fp32 |\n"
        f"\nTo pass:\n\n{marks.of(found['data'])}\n"
    )


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(f"{told}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.events", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=get_args(EventData))
    parser.add_argument("--data", type=Path, help="folder of the data sets, as Tonic lays them out")
    parser.add_argument("--out", type=Path, default=Path("runs/events"))
    parser.add_argument("--fetch", action="store_true", help="download what is missing")
    parser.add_argument("--estimate", action="store_true", help="expected hours, and nothing else")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the configuration")
    options = parser.parse_args(arguments)
    if options.estimate:
        config = load_config(options.name, options.set)
        hours = estimate(config, samples=marks.SAMPLES[options.name])
        sys.stdout.write(f"{options.name}: {config.train.epochs} epochs, about {hours:.1f} h on one core here\n")
        return 0
    if options.data is None:
        parser.error("--data DIR says where the data sets are")
    if options.fetch:
        fetch(options.name, options.data)
    run = options.out / options.name
    results = options.out / f"{options.name}.json"
    if not results.exists():
        config = load_config(options.name, [f"data.folder={options.data.resolve()}", *options.set])
        train(config, run, resume=(run / CHECKPOINT_NAME).exists(), progress=_say)
        write_atomically(results, json.dumps(measured(run), indent=1).encode(), what="results")
    sys.stdout.write(report(json.loads(results.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
