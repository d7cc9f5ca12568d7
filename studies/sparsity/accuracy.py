"""Accuracy against the share of zeros: trainings with each rule, and dense ones pruned at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pnbx_snn.data.catalog import load_split
from pnbx_snn.metrics.memory import zero_share
from pnbx_snn.networks.base import Network
from pnbx_snn.training.checkpoint import load_run
from pnbx_snn.training.config import Config, load_config
from pnbx_snn.training.distributed import Workers
from pnbx_snn.training.evaluate import evaluate
from pnbx_snn.training.packed import pack_run
from pnbx_snn.training.reestimate import reestimate
from pnbx_snn.training.run import train
from pnbx_snn.training.run_files import CHECKPOINT_NAME
from pnbx_snn.training.run_log import read_metrics
from pnbx_snn.training.samples import TrainingSamples
from pnbx_snn.training.settling import settle as come_to_rest
from pnbx_snn.training.sparsity import Sparsifier, SparsityConfig, make_sparse, sparse_matrices

ZEROS = (0.75, 0.9, 0.95)
DENSE, AT_THE_END = "as rounding leaves them", "magnitude at the end"
RULES = {
    "set": ["sparsity.rule=set", "sparsity.allocation=uniform"],
    "rigl": ["sparsity.rule=rigl", "sparsity.allocation=uniform"],
    "magnitude": ["sparsity.rule=magnitude", "sparsity.allocation=uniform"],
    "magnitude, erk": ["sparsity.rule=magnitude", "sparsity.allocation=erk"],
}
Row = dict[str, Any]


class Wanted(NamedTuple):
    """A training of the study; ``zeros`` is 0 for a dense one."""

    rule: str
    zeros: float
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        word = "dense" if self.rule == DENSE else f"{self.rule.replace(', ', '_')}_{100 * self.zeros:g}"
        return f"{word}_seed{self.seed}"


def wanted(seeds: Iterable[int], zeros: Iterable[float], rules: Iterable[str]) -> Iterator[Wanted]:
    """Yield all trainings, seed by seed, so that a part of them is a whole study of fewer seeds."""
    for seed in seeds:
        yield Wanted(DENSE, 0.0, seed)
        yield from (Wanted(rule, share, seed) for share in sorted(zeros, reverse=True) for rule in rules)


def measure(config: str, overrides: list[str], run: Wanted, out: Path) -> list[Row]:
    """Train one network, going on where it stopped; return its row, and of a dense one those of pruned copies."""
    own = ["data.part=train", f"train.seed={run.seed}"]
    if run.zeros:
        own += [f"sparsity.zeros={run.zeros}", *RULES[run.rule]]
    settings = load_config(config, [*own, *overrides])
    folder = out / run.name
    train(settings, folder, resume=(folder / CHECKPOINT_NAME).exists())
    model, settings = load_run(folder)
    common = {"config": config, "overrides": overrides, "seed": run.seed, "epochs": settings.train.epochs}
    hours = sum(line["seconds"] for line in read_metrics(folder / "metrics.jsonl")) / 3600
    packed = {coding: pack_run(folder, out / "packed.safetensors", coding=coding) for coding in ("bits2", "auto")}
    found = [
        {"rule": run.rule, "target": run.zeros, **common, **_measured(model, settings), "hours": hours, "file": packed}
    ]
    if run.rule == DENSE:
        for zeros in ZEROS:
            for again in (False, True):
                model, _ = load_run(folder)
                prune(model, settings, zeros, settle=again)
                name = AT_THE_END + (", norms measured again" if again else "")
                found.append({"rule": name, "target": zeros, **common, **_measured(model, settings), "hours": hours})
    return found


def prune(model: Network, config: Config, zeros: float, *, settle: bool) -> None:
    """Keep the largest latent weights of a trained network, by matrix.

    With ``settle`` the statistics of batch norm are taken anew on the training samples, in evaluation mode otherwise,
    and glia settles as it does after a training.
    """
    sparsity = SparsityConfig(zeros=zeros, rule="magnitude", allocation="uniform")
    make_sparse(model, sparsity)
    Sparsifier(model, sparsity, num_steps=1, seed=0).after_step(1)
    assert all(matrix.mask is not None for matrix in sparse_matrices(model).values())
    if not settle:
        return
    data = load_split(config.data, "train")
    pieces = [slice(first, first + 256) for first in range(0, len(data.labels), 256)]
    reestimate(model, ((data.images[p], None if data.lengths is None else data.lengths[p]) for p in pieces))
    with Workers("no") as workers:
        come_to_rest(model, TrainingSamples(data, config, workers).unchanged(config.train.settle, seed=0))
    model.eval()


def _measured(model: Network, config: Config) -> Row:
    accuracy = evaluate(model, load_split(config.data, "validation"))["accuracy"]
    return {"accuracy_validation": accuracy, "zeros": zero_share(model)}
