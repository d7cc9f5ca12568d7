"""The trials of a search: each is an ordinary training, stopped early where others do better at the same epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pnbx_snn.data.catalog import load_split
from pnbx_snn.data.split import Split
from pnbx_snn.errors import PnbxError, PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.search.objectives import Objective, measure, vector
from pnbx_snn.search.pareto import Number, goes_on, rungs
from pnbx_snn.search.records import Record, State
from pnbx_snn.search.study import Study, Taken
from pnbx_snn.training.run import train
from pnbx_snn.training.run_files import CHECKPOINT_NAME, METRICS_NAME
from pnbx_snn.training.run_log import read_metrics
from pnbx_snn.training.settings import DataConfig

Pruning = Literal["halving", "none"]

MOST_FAILED = 3
"""Trials that fail one after the other: then something is wrong with all of them."""

Event = Mapping[str, Any]
"""``{"what": "trial", ...}`` where one begins, ``"batch"`` and ``"epoch"`` in it, ``"end"`` with its record; and
``"nothing left"`` where the space is used up."""


class _Samples:
    """Validation samples; those that were asked for last are kept."""

    def __init__(self, objectives: tuple[Objective, ...]) -> None:
        self._counted = "operations" in objectives
        self._section: DataConfig | None = None
        self._split: Split | None = None

    def of(self, section: DataConfig) -> Split:
        """Return those of a section ``[data]``."""
        if self._split is None or section != self._section:
            split = load_split(section, "validation")
            self._split = split.of_equal_lengths("search: operations") if self._counted else split
            self._section = section
        return self._split


class _Stopped(Exception):  # noqa: N818
    """Ends a training that is not worth going on with."""


def work(
    study: Study, most: int, *, pruning: Pruning = "halving", told: Callable[[Event], None] = lambda _: None
) -> None:
    """Train trials until there are ``most`` of them, or nothing is left to draw.

    A trial whose training fails (a loss that is no number, too little memory) is written down as failed.

    Raises
    ------
    PnbxError
        If :data:`MOST_FAILED` trials fail one after the other, or something is wrong that is no matter of one trial:
        data that are not there, a disk that is full.
    """
    failed, samples = 0, _Samples(study.objectives)
    samples.of(study.space.base.data)  # what is wrong with the data is no matter of a trial
    while (taken := study.take(most)) is not None:
        told({"what": "trial", "number": taken.number, "drawn": taken.drawn, "epochs": taken.config.train.epochs})
        with taken.claim:
            record = _run(study, taken, samples.of(taken.config.data), pruning, told)
        ended = sum(one.state in ("complete", "stopped", "failed") for one in study.records())
        told({"what": "end", "record": record, "ended": ended})
        failed = failed + 1 if record.state == "failed" else 0
        if failed == MOST_FAILED:
            raise PnbxError(f"search: {MOST_FAILED} trials failed one after the other; the last one: {record.why}")
    if study.exhausted:
        told({"what": "nothing left"})


def _run(study: Study, taken: Taken, samples: Split, pruning: Pruning, told: Callable[[Event], None]) -> Record:
    """Train a trial, or go on with it, and write down how it ended."""
    folder, epochs = study.folder(taken.number), taken.config.train.epochs
    reached: dict[str, Number] = {}
    stops = rungs(epochs) if pruning == "halving" else []

    def look(metrics: Event) -> None:
        told({"what": "epoch", "number": taken.number, "epochs": epochs, **metrics})
        epoch = metrics["epoch"]
        if epoch not in stops:
            return
        reached.update(measure(folder, metrics["accuracy_validation"], study.objectives, samples))
        point = list(vector(study.objectives, reached))
        if not goes_on(point, study.reached(taken.number, epoch, point)):
            raise _Stopped(f"after epoch {epoch} of {epochs}: others have a better Pareto rank")

    def show(metrics: Event) -> None:
        told({"what": "batch", "number": taken.number, "epochs": epochs, **metrics})

    state: State = "complete"
    why = ""
    try:
        train(taken.config, folder, resume=(folder / CHECKPOINT_NAME).exists(), progress=look, batch_progress=show)
        accuracy = read_metrics(folder / METRICS_NAME)[-1]["accuracy_validation"]
        reached = measure(folder, accuracy, study.objectives, samples)
    except _Stopped as stopped:
        state, why = "stopped", str(stopped)
    except (PnbxValueError, PnbxTypeError, ShapeError, RuntimeError, MemoryError) as error:
        state, why = "failed", f"{type(error).__name__}: {error}"
    return study.tell(taken, state, reached, why)
