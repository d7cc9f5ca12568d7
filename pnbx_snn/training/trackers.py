"""Where the curves of a training go: TensorBoard, or whatever tracker ``accelerate`` knows by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pnbx_snn.errors import ConfigError

TENSORBOARD = "tensorboard"


@runtime_checkable
class Tracker(Protocol):
    """Takes the numbers of each epoch."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take the numbers of an epoch."""

    def close(self) -> None:
        """Finish."""


def check_tracker(name: str) -> None:
    """Raise unless a training can report to this tracker here.

    Raises
    ------
    ConfigError
        If ``accelerate`` does not know it, or its package is not installed.

    Examples
    --------
    >>> check_tracker("tensorboard")
    >>> check_tracker("tensorbored")
    Traceback (most recent call last):
    pnbx_snn.errors.ConfigError: train.tracker must be one of aim, clearml, ... or wandb, got 'tensorbored'
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
    from accelerate.utils import LoggerType

    if name not in LOGGER_TYPE_TO_CLASS:
        *known, last = sorted(LOGGER_TYPE_TO_CLASS)
        raise ConfigError(f"train.tracker must be one of {', '.join(known)} or {last}, got {name!r}")
    # What somebody registered (accelerate.tracking.register_tracker_class) is there already.
    if name in LoggerType.list() and LoggerType(name) not in get_available_trackers():
        raise ConfigError(f"train.tracker = {name!r} needs its package, which is not installed: pip install {name}")


def start_tracker(name: str, run_dir: Path, *, last_epoch: int, settings: Mapping[str, Any]) -> Tracker:
    """Start the tracker of a run that goes on after ``last_epoch`` (0: a new one).

    Parameters
    ----------
    name
        See :func:`check_tracker`. ``"tensorboard"`` writes into ``tensorboard/`` and drops what was logged after
        ``last_epoch``; others start a run of their own, also when a training is resumed.
    run_dir
        Folder of the run; its name is that of the project.
    settings
        What the tracker keeps as the run's parameters.
    """
    if name == TENSORBOARD:
        return _TensorBoard(run_dir, last_epoch)
    check_tracker(name)
    return _OfAccelerate(name, run_dir, settings)


class _TensorBoard:
    def __init__(self, run_dir: Path, last_epoch: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # importing it takes a second

        self._writer = SummaryWriter(run_dir / TENSORBOARD, purge_step=last_epoch + 1)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _OfAccelerate:
    def __init__(self, name: str, run_dir: Path, settings: Mapping[str, Any]) -> None:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        kind = LOGGER_TYPE_TO_CLASS[name]
        place = [str(run_dir)] if kind.requires_logging_directory else []
        self._tracker = kind(run_dir.name, *place)
        self._tracker.start()
        self._tracker.store_init_configuration(dict(settings))

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._tracker.log(dict(values), step=step)

    def close(self) -> None:
        self._tracker.finish()
