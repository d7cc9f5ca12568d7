"""Where the curves of a training go: TensorBoard, or whatever tracker ``accelerate`` knows by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pnbx_snn.errors import ConfigError

TENSORBOARD = "tensorboard"


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


def start_tracker(name: str, run_dir: Path, *, last_epoch: int, settings: Mapping[str, Any]) -> Any:
    """Start the tracker of a run that goes on after ``last_epoch`` (0: a new one).

    Parameters
    ----------
    name
        See :func:`check_tracker`. ``"tensorboard"`` writes into ``tensorboard/`` and drops what was logged after
        ``last_epoch``; others start a run of their own, also when a training is resumed.
    run_dir
        Folder of the run; its name is that of the project.
    settings
        What the tracker keeps as the run's parameters; not TensorBoard, which would make a folder for each start.

    Returns
    -------
    accelerate.tracking.GeneralTracker
        Its ``log(values, step)`` takes the numbers of an epoch, ``finish()`` ends it.
    """
    check_tracker(name)
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind = LOGGER_TYPE_TO_CLASS[name]
    if name == TENSORBOARD:
        tracker = kind(TENSORBOARD, str(run_dir), purge_step=last_epoch + 1)
        tracker.start()
        return tracker
    tracker = kind(run_dir.name, *([str(run_dir)] if kind.requires_logging_directory else []))
    tracker.start()
    tracker.store_init_configuration(dict(settings))
    return tracker
