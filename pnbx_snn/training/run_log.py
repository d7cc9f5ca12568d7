"""What a training leaves behind while it runs: ``metrics.jsonl``, and curves in a tracker."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from pnbx_snn.errors import CheckpointError, StorageError
from pnbx_snn.regular_files import read_regular
from pnbx_snn.storage import write_atomically
from pnbx_snn.training.trackers import TENSORBOARD, start_tracker

logger = logging.getLogger(__name__)

MAX_LOG_BYTES = 1 << 30
METRICS_NAME = "metrics.jsonl"
_CURVES = ("loss", "accuracy_train", "accuracy_validation", "firing_rate", "learning_rate")


class RunLog:
    """Appends one JSON object for each epoch to ``metrics.jsonl`` and the same numbers to a tracker.

    Parameters
    ----------
    run_dir
        Folder of the run; it exists.
    last_epoch
        The epoch of the checkpoint from which the training goes on, 0 for a new one. What was logged after it is
        dropped: those epochs will be trained again. So is a line that a kill cut short.
    tracker
        Its name, see :mod:`pnbx_snn.training.trackers`.
    settings
        What the tracker keeps as the run's parameters.

    Raises
    ------
    StorageError
        If something cannot be written.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> with RunLog(folder, last_epoch=0) as log:
    ...     log.write({"epoch": 1, "loss": 2.0})
    >>> with RunLog(folder, last_epoch=0) as log:  # killed before the first checkpoint
    ...     log.write({"epoch": 1, "loss": 2.0})
    >>> read_metrics(folder / "metrics.jsonl")
    [{'epoch': 1, 'loss': 2.0}]
    """

    def __init__(
        self,
        run_dir: str | Path,
        *,
        last_epoch: int,
        tracker: str = TENSORBOARD,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._path = Path(run_dir) / METRICS_NAME
        kept = [row for row in _rows(self._path) if row["epoch"] <= last_epoch]
        write_atomically(self._path, "".join(f"{json.dumps(row)}\n" for row in kept).encode(), what="log")
        try:
            self._file = self._path.open("a", encoding="utf-8")
            self._tracker = start_tracker(tracker, Path(run_dir), last_epoch=last_epoch, settings=settings or {})
        except OSError as error:
            raise self._storage_error(error) from error

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Append the metrics of an epoch; when this returns, they are on the disk.

        Raises
        ------
        StorageError
            If they cannot be written.
        """
        try:
            self._file.write(json.dumps(metrics) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            curves = {name: metrics[name] for name in _CURVES if metrics.get(name) is not None}
            self._tracker.log(curves, step=metrics["epoch"])
        except OSError as error:
            raise self._storage_error(error) from error

    def close(self) -> None:
        """Close the files; what was written is on the disk already."""
        for close in (self._file.close, self._tracker.finish):
            try:
                close()
            except OSError as error:  # a full disk was reported by write() already
                logger.warning("%s: closing the log failed (%s)", self._path, error.strerror)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _storage_error(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self._path.parent}: the log could not be written ({error.strerror}); saved checkpoints are untouched"
        )


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Read ``metrics.jsonl``, in the order of the epochs.

    A last line that a kill cut short is left out.

    Raises
    ------
    CheckpointError
        If the file cannot be read.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "metrics.jsonl"
    >>> _ = path.write_text('{"epoch": 1, "loss": 2.0}' + chr(10) + '{"epoch": 2, "lo')
    >>> read_metrics(path)
    [{'epoch': 1, 'loss': 2.0}]
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path}: no such file; `pnbx-snn train` writes it")
    return _rows(path)


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of the file; none if there is no file."""
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(read_regular(path, CheckpointError, max_bytes=MAX_LOG_BYTES).splitlines(), start=1):
        try:
            row = json.loads(line)
            if type(row["epoch"]) is not int:
                raise TypeError("an epoch is a whole number")
            rows.append({**row})
        except (ValueError, TypeError, LookupError, RecursionError):
            logger.warning("%s: line %d is not the metrics of an epoch and is left out", path, number)
    return rows
