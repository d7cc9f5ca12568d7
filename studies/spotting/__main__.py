"""Digits in minutes of noise: train, choose the rule, hear the test streams live, draw and print what came out.

python -m studies.spotting --data DIR --out runs/spotting                 everything; what is there already is kept
python -m studies.spotting --data DIR --out runs/spotting --seed 0        one training
python -m studies.spotting --data DIR --out runs/spotting --report        table and pictures of what is there

DIR holds fsdd/fsdd.npz (pnbx-snn download fsdd --data DIR). Trainings are runs of `pnbx-snn train` and go on where they
were stopped. Validation streams are made of validation recordings, test streams of test recordings only.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import neuromorphic
from neuromorphic import Program
from pnbx_snn import train
from pnbx_snn.console import say
from pnbx_snn.files.atomic_write import write_atomically
from pnbx_snn.training.config import load_config
from pnbx_snn.training.run_files import CHECKPOINT_NAME
from pnbx_snn.training.run_log import read_metrics
from studies.spotting import pictures
from studies.spotting.choose import choose, curve, misses, scored, summed
from studies.spotting.detector import Rule, Score, detections, margins
from studies.spotting.report import report
from studies.spotting.streams import CONDITIONS, Heard, hear_all, live
from studies.spotting.windows import write_arrays

CONFIG = Path(__file__).with_name("spotting.toml")
SEEDS = (0, 1, 2)


def trained(out: Path, data: Path, seed: int, *, epochs: int, passes: int) -> Path:
    """Write the arrays and train one network, as far as that is not done; return the folder of its run."""
    arrays = out / "windows.npz"
    if not arrays.exists():
        write_arrays(arrays, data, passes=passes)
    config = load_config(
        CONFIG, [f"data.path={arrays.resolve()}", f"train.seed={seed}", *([f"train.epochs={epochs}"] if epochs else [])]
    )
    run = out / f"seed{seed}"
    train(config, run, resume=(run / CHECKPOINT_NAME).exists(), progress=lambda told: say(f"seed {seed}: {told}"))
    return run


def facts(found: Score) -> dict[str, Any]:
    """Return what a score says, as numbers that JSON holds."""
    delays = found.delays_s[~np.isnan(found.delays_s)]
    return {
        "words": len(found.digits),
        "misses": misses(found),
        "misses_by_digit": [
            float(np.mean(np.isnan(found.delays_s[found.digits == digit]))) if (found.digits == digit).any() else None
            for digit in range(10)
        ],
        "false_alarms": found.false_alarms,
        "wrong": found.wrong / len(found.digits),
        "hours": found.hours,
        "false_alarms_an_hour": found.false_alarms / found.hours,
        "delay_s": np.quantile(delays, [0.05, 0.5, 0.95]).tolist() if len(delays) else None,
    }


def by_condition(streams: list[Heard], rule: Rule) -> list[dict[str, Any]]:
    """Return the facts of each background and level."""
    found = []
    for kind, snr_db in CONDITIONS:
        own = [one for one in streams if (one.kind, one.snr_db) == (kind, snr_db)]
        found.append({"background": kind, "snr_db": snr_db, **facts(scored(summed(own, rule.summed), rule))})
    return found


def measure(out: Path, data: Path, seed: int, *, words: int, draws: int = 1) -> dict[str, Any]:
    """Compile a trained network, choose its rule on validation streams, and hear ``draws`` times the test streams."""
    run = out / f"seed{seed}"
    if not (run / "program.npz").exists():
        neuromorphic.compile(run, part="validation").save(run / "program.npz")
    program = Program.load(run / "program.npz")
    validation, _ = hear_all(program, data, "validation", seed=seed, num_words=words)
    rule = choose(validation)
    drawn = [hear_all(program, data, "test", seed=1_000 * seed + draw, num_words=words) for draw in range(draws)]
    streams, speed = [one for some, _ in drawn for one in some], drawn[0][1]
    ready = summed(streams, rule.summed)
    minute = _typical(streams)
    heard, live_facts = live(program, minute.scene.sound, rule)
    if heard != detections(margins(minute.answers, rule.summed), rule):
        raise AssertionError("a live run and the recorded answers must give the same detections")
    levels = sorted({one.snr_db for one in streams})
    found = {
        "seed": seed,
        "words_a_stream": words,
        "draws": draws,
        "rule": rule._asdict(),
        "agreement": program.metadata["agreement"],
        "validation_accuracy": read_metrics(run / "metrics.jsonl")[-1]["accuracy_validation"],
        "validation": facts(scored(summed(validation, rule.summed), rule)),
        "test": facts(scored(ready, rule)),
        "conditions": by_condition(streams, rule),
        "curves": {f"{level:g}": curve([x for x in ready if x[0].snr_db == level], rule) for level in levels},
        "curve": curve(ready, rule),
        "speed": speed,
        "live": live_facts,
    }
    pictures.timeline(program, minute, rule, out / f"timeline_seed{seed}.png")
    return found


def _typical(streams: list[Heard]) -> Heard:
    """Return the stream of the picture: babble, 10 dB below the words."""
    return next(one for one in streams if (one.kind, one.snr_db) == ("babble", 10.0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.spotting", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with fsdd/fsdd.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder of arrays, runs, results and pictures")
    parser.add_argument("--seed", type=int, action="append", help="of a training and its streams (may be repeated)")
    parser.add_argument("--words", type=int, default=120, help="words in a stream; there are 10 streams (default: 120)")
    parser.add_argument("--draws", type=int, default=3, help="how often the 10 test streams are drawn (default: 3)")
    parser.add_argument("--epochs", type=int, default=0, help="of a training (default: the configuration's)")
    parser.add_argument("--passes", type=int, default=3, help="how often each recording is said (default: 3)")
    parser.add_argument("--report", action="store_true", help="table and pictures of what is there, nothing else")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in () if options.report else options.seed or SEEDS:
        results = options.out / f"results_seed{seed}.json"
        if not results.exists():
            trained(options.out, options.data, seed, epochs=options.epochs, passes=options.passes)
            found = measure(options.out, options.data, seed, words=options.words, draws=options.draws)
            write_atomically(results, json.dumps(found, indent=1).encode(), what="results")
    every = [json.loads(path.read_text()) for path in sorted(options.out.glob("results_seed*.json"))]
    if every:
        pictures.curves(every, options.out / "operating_curve.png")
        say(report(every))
    return 0


if __name__ == "__main__":
    sys.exit(main())
