"""The record of a search: which trials there are, what was drawn and measured, and what comes next.

It is a study of Optuna in a journal, ``study.jsonl`` in the folder of the search: one line for everything that happens,
so that several processes may write and a kill loses nothing. A trial is a training in ``trials/NUMBER``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from pnbx_snn.errors import CheckpointError, ConfigError, StorageError
from pnbx_snn.files.atomic_write import make_folder
from pnbx_snn.search.locks import FileLock
from pnbx_snn.search.objectives import ABOUT, Objective, weight_bytes
from pnbx_snn.search.pareto import Number
from pnbx_snn.search.records import Limits, Record, State, drawn_of, record_of
from pnbx_snn.search.space import Space
from pnbx_snn.training.config import Config, make_config

JOURNAL_NAME = "study.jsonl"
NAME = "pnbx-snn search"
STARTUP = 10
"""Trials that are drawn evenly, before the sampler learns from those that there are."""
MOST_REJECTED = 300
"""Draws one after the other that may not be trained: then there is nothing more to find."""


class Taken(NamedTuple):
    """A trial that this process holds until it releases the claim, after :meth:`Study.tell`."""

    number: int
    config: Config
    drawn: dict[str, Any]
    claim: FileLock


class Study:
    """A search in a folder, new or begun before.

    Parameters
    ----------
    out
        The folder.
    space, objectives, limits
        What is drawn, what is weighed, what is wanted. A search that was begun has the same space and objectives.
    seed
        Of what is drawn: one process draws the same trials again if it measures the same.

    Raises
    ------
    ConfigError
        If the folder holds another search.
    CheckpointError
        If its journal is altered.
    StorageError
        If the folder cannot be written.
    """

    def __init__(
        self, out: Path, space: Space, objectives: tuple[Objective, ...], limits: Limits, *, seed: int = 0
    ) -> None:
        self.out, self.space, self.objectives, self.limits, self._seed = out, space, objectives, limits, seed
        self.exhausted = False
        make_folder(out)
        self._turn = FileLock(out / ".locks" / "turn")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with self._turn:
            self._study = self._open(out / JOURNAL_NAME)
            self._compare()

    def folder(self, number: int) -> Path:
        """Return the folder of a trial's training."""
        return self.out / "trials" / f"{number:04d}"

    def records(self) -> list[Record]:
        """Return all trials in their order."""
        return [record_of(trial) for trial in self._study.get_trials(deepcopy=False)]

    def take(self, most: int) -> Taken | None:
        """Return a trial to train, one that a process left unfinished first; ``None`` if there are ``most`` already.

        Raises
        ------
        ConfigError
            If none of :data:`MOST_REJECTED` draws may be trained.
        """
        with self._turn:
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                claim = self._claim(trial.number)
                if claim is None:
                    continue
                if "drawn" in trial.user_attrs:
                    drawn = drawn_of(trial)
                    return Taken(trial.number, self._config(trial.number, drawn), drawn, claim)
                self._study.tell(trial.number, state=TrialState.FAIL)  # a kill before anything was drawn
                claim.release()
            why = ""
            for _ in range(MOST_REJECTED):
                records = self.records()
                if sum(record.state != "rejected" for record in records) >= most:
                    return None
                taken, why = self._draw(records)
                if taken is not None:
                    return taken
        if any(record.state == "complete" for record in records):
            self.exhausted = True
            return None
        raise ConfigError(f"search: none of {MOST_REJECTED} draws may be trained; the last one: {why}")

    def reached(self, number: int, epoch: int, point: list[Number]) -> list[list[Number]]:
        """Write down how good a trial is at a rung, and return how good the others were there."""
        self._trial(number).set_user_attr(f"rung {epoch}", point)
        return [record.rungs[epoch] for record in self.records() if record.number != number and epoch in record.rungs]

    def tell(self, taken: Taken, state: State, measured: Mapping[str, Number], why: str = "") -> Record:
        """End a trial that was taken."""
        trial = self._trial(taken.number)
        trial.set_user_attr("measured", dict(measured))
        trial.set_user_attr("why", why)
        if state == "complete" and self.limits.least_accuracy is not None:
            trial.set_constraint("accuracy", self.limits.least_accuracy - measured["accuracy"])
        if state == "complete":
            self._study.tell(taken.number, [measured[name] for name in self.objectives])
        else:
            self._study.tell(taken.number, state=TrialState.PRUNED if state == "stopped" else TrialState.FAIL)
        return self.records()[taken.number]

    def _draw(self, records: list[Record]) -> tuple[Taken | None, str]:
        """Draw a trial; one that may not be trained ends at once, and the sentence says why."""
        rejected = sum(record.state == "rejected" for record in records)
        self._study.sampler = optuna.samplers.TPESampler(
            seed=hash((self._seed, len(records))) % 2**32, n_startup_trials=STARTUP + rejected, multivariate=False
        )
        trial = self._study.ask()
        drawn = self.space.draw(trial)
        why, excess = self._forbidden(trial.number, drawn, records)
        if why:
            trial.set_user_attr("rejected", why)
            if excess:
                trial.set_constraint("bytes", excess)
            # The sampler learns from what was pruned and passes over what failed: it is to avoid what is too large, not
            # what is as good as a trial that there is.
            self._study.tell(trial, state=TrialState.PRUNED if excess else TrialState.FAIL)
            return None, why
        claim = self._claim(trial.number)
        assert claim is not None  # nobody else knows of this trial yet
        trial.set_user_attr("drawn", drawn)
        return Taken(trial.number, self._config(trial.number, drawn), drawn, claim), ""

    def _forbidden(self, number: int, drawn: dict[str, Any], records: list[Record]) -> tuple[str, Number]:
        """Return why a draw may not be trained, and by how much it is too large; ``""`` where it may."""
        listed = json.loads(json.dumps(drawn))
        for record in records:
            if record.drawn == listed and record.state != "rejected":
                return f"it is trial {record.number} again", 0.0
        try:
            size = weight_bytes(self._config(number, drawn))
        except ValueError as error:  # keys that do not go together: of the configuration, or of the network
            return str(error), 1.0
        most = self.limits.most_bytes
        if most is not None and size > most:
            return f"{size:,} bytes are more than --most-bytes {most:,}", size - most
        return "", 0.0

    def _config(self, number: int, drawn: dict[str, Any]) -> Config:
        return self.space.config(drawn, where=f"trial {number}")

    def _claim(self, number: int) -> FileLock | None:
        claim = FileLock(self.out / ".locks" / f"{number:04d}")
        return claim if claim.acquire(wait=False) else None

    def _trial(self, number: int) -> optuna.trial.Trial:
        return optuna.trial.Trial(self._study, self._study.get_trials(deepcopy=False)[number]._trial_id)

    def _open(self, path: Path) -> optuna.Study:
        directions: list[Literal["maximize", "minimize"]]
        directions = ["maximize" if ABOUT[name].maximize else "minimize" for name in self.objectives]
        try:
            _drop_cut_line(path)
            # Optuna's own lock would hold the others up for half a minute after a kill.
            lock: Any = FileLock(self.out / ".locks" / "journal")
            storage = JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
            names = [summary.study_name for summary in optuna.get_all_study_summaries(storage)]
            if NAME in names:
                return optuna.load_study(study_name=NAME, storage=storage)
            return optuna.create_study(study_name=NAME, storage=storage, directions=directions)
        except OSError as error:
            raise StorageError(f"{path}: the journal cannot be read or written ({error.strerror})") from error
        except (ValueError, LookupError, TypeError) as error:
            raise CheckpointError(f"{path}: is altered, or no journal of a search ({error})") from error

    def _compare(self) -> None:
        """Write down what is searched, or refuse to go on with something else."""
        wanted = {
            "objectives": ",".join(self.objectives),
            "space": {name: str(domain) for name, domain in self.space.domains.items()},
            "config": json.loads(json.dumps(_anywhere(self.space.base))),
        }
        begun = self._study.user_attrs.get("search")
        if begun is None:
            self._study.set_user_attr("search", wanted)
            return
        if not isinstance(begun, dict) or not isinstance(begun.get("config"), dict):
            raise CheckpointError(f"{self.out / JOURNAL_NAME}: is altered: it does not say what is searched")
        # A version with more keys goes on: what the file does not name has its default.
        known = _anywhere(make_config(begun["config"], where=str(self.out / JOURNAL_NAME)))
        before = flat({**begun, "config": json.loads(json.dumps(known))})
        now = flat(wanted)
        differing = [
            f"{name}: begun with {before.get(name)!r}, now {now.get(name)!r}"
            for name in {**before, **now}
            if before.get(name) != now.get(name)
        ]
        if differing:
            raise ConfigError(
                f"{self.out}: holds another search; go on with it as it was begun, or give another --out; "
                f"{'; '.join(differing)}"
            )


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested dictionaries as one, whose keys are joined by points.

    Examples
    --------
    >>> flat({"space": {"model.beta": "0 to 1"}, "objectives": "bytes"})
    {'space.model.beta': '0 to 1', 'objectives': 'bytes'}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return found


def _anywhere(config: Config) -> dict[str, dict[str, Any]]:
    """Return a configuration without the folder of the data, which is of one machine only."""
    values = config.model_dump()
    return {**values, "data": {**values["data"], "folder": ""}}


def _drop_cut_line(path: Path) -> None:
    """Cut off a last line that was not written to its end (a full disk, a power cut): nothing could follow it."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        data = file.read()
        if data and not data.endswith(b"\n"):
            file.truncate(data.rfind(b"\n") + 1)
