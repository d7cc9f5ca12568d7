"""Which networks are trained, under which conditions they are tested, and what is kept of it."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pnbx_snn.configs import config_path
from pnbx_snn.data.catalog import load_split
from pnbx_snn.data.split import Part, Split
from pnbx_snn.data.streams import StreamSamples, perturbed
from pnbx_snn.training.config import Config, load_config
from pnbx_snn.training.evaluate import evaluate
from pnbx_snn.training.run import train
from pnbx_snn.training.run_files import CHECKPOINT_NAME

SENSES = ("sound", "image")
NETWORKS = ("both", *SENSES)
"""The network of two senses, and a specialist for each."""

NOISE = {"sound": (0.5, 1.0, 1.5, 2.0, 3.0), "image": (0.1, 0.2, 0.3, 0.5, 0.8)}
"""Standard deviations in units of the data: bands have a deviation of 1, pixels are in 0..1 (deviation 0.31)."""


@dataclass(frozen=True)
class Condition:
    """What of the samples is missing, and how strong the noise on one sense is."""

    missing: str = ""
    noisy: str = ""
    sigma: float = 0.0

    @property
    def name(self) -> str:
        """Its key in a record, such as ``"missing image, sound + 0.5"``."""
        words = [f"missing {self.missing}"] * bool(self.missing) + [f"{self.noisy} + {self.sigma:g}"] * bool(self.noisy)
        return ", ".join(words) or "clean"

    def of(self, split: Split, streams: tuple[str, ...]) -> Split:
        """Return samples under this condition."""
        noise = {self.noisy: self.sigma} if self.noisy else {}
        return perturbed(split, streams, missing=[self.missing] if self.missing else [], noise=noise)


def conditions(network: str) -> Iterator[Condition]:
    """Yield the conditions of a network: clean, each sense missing, noise on each, with the other one and without."""
    yield Condition()
    if network == "both":
        for sense in SENSES:
            yield Condition(missing=sense)
    for sense in SENSES if network == "both" else (network,):
        for sigma in NOISE[sense]:
            yield Condition(noisy=sense, sigma=sigma)


def config_of(network: str, seed: int, overrides: list[str], part: Part, data: str = "") -> Config:
    """Return the configuration of a network: ``two_senses``, or that with one stream only; ``data`` is its folder."""
    given = [
        f"data.folder={json.dumps(data)}",
        f"train.seed={seed}",
        f'data.part="{"train" if part == "validation" else "train_all"}"',
        *overrides,
    ]
    if network != "both":
        given += [f'data.streams=["{network}"]', "augment.stream_dropout=0.0"]
        given += [f'data.sources=["{source_of(network, overrides)}"]']
    return load_config(config_path("two_senses"), given)


def source_of(sense: str, overrides: list[str]) -> str:
    """Return the data set of a sense, which an override of ``data.sources`` may have changed."""
    sources = load_config(config_path("two_senses"), overrides).data.sources
    return sources[SENSES.index(sense)]


def thinned(split: Split, count: int) -> Split:
    """Return so many samples, evenly spaced, or all where there are fewer."""
    assert isinstance(split.images, StreamSamples)
    if count >= len(split.labels):
        return split
    chosen = torch.arange(count) * len(split.labels) // count
    return Split(split.images.chosen(chosen), split.labels[chosen])


def run_one(
    network: str, seed: int, out: Path, *, part: Part, overrides: list[str], samples: int, data: str = ""
) -> dict[str, Any]:
    """Train a network, or go on with it, and test it under all conditions; return the record."""
    config = config_of(network, seed, overrides, part, data)
    folder, started = out / f"{network}_{seed}", time.process_time()
    resume = (folder / CHECKPOINT_NAME).exists()
    model = train(config, folder, resume=resume).model
    seconds = time.process_time() - started
    split = load_split(config.data, part)
    few = thinned(split, samples)
    accuracy = {}
    for condition in conditions(network):
        measured = split if not condition.noisy else few
        accuracy[condition.name] = evaluate(model, condition.of(measured, config.data.streams))["accuracy"]
    return {
        "network": network,
        "seed": seed,
        "part": part,
        "epochs": config.train.epochs,
        "overrides": overrides,
        "pairs": len(split.labels),
        "pairs_noisy": len(few.labels),
        "cpu_s": round(seconds, 1),
        "resumed": resume,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "accuracy": accuracy,
    }
