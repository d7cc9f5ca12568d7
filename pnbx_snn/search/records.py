"""What is known of a trial, and which trials are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from optuna.trial import FrozenTrial, TrialState

from pnbx_snn.search.pareto import Number

State = Literal["complete", "stopped", "failed", "running", "rejected"]
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "running",
}


class Record(NamedTuple):
    """A trial: ``drawn`` are its keys, ``measured`` what it cost and read after its last epoch, ``why`` it ended."""

    number: int
    state: State
    drawn: dict[str, Any]
    measured: dict[str, Number]
    rungs: dict[int, list[Number]]
    why: str


class Limits(NamedTuple):
    """What a network must be to be wanted; ``None``: anything."""

    most_bytes: int | None = None
    least_accuracy: float | None = None

    def allows(self, measured: Mapping[str, Number]) -> bool:
        """Return whether a measured network is wanted."""
        return (self.most_bytes is None or measured["bytes"] <= self.most_bytes) and (
            self.least_accuracy is None or measured["accuracy"] >= self.least_accuracy
        )


def drawn_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return the keys of a trial as they were drawn; none where that was rejected, or cut off by a kill."""
    drawn = trial.user_attrs.get("drawn", {})
    return drawn if isinstance(drawn, dict) else {}


def record_of(trial: FrozenTrial) -> Record:
    """Return what a trial of Optuna's says."""
    attrs = trial.user_attrs
    drawn = drawn_of(trial)
    rungs = {int(name.split()[1]): point for name, point in attrs.items() if name.startswith("rung ")}
    state = _STATES[trial.state] if drawn or trial.state == TrialState.RUNNING else "rejected"
    return Record(
        trial.number, state, drawn, attrs.get("measured", {}), rungs, attrs.get("rejected", attrs.get("why", ""))
    )
