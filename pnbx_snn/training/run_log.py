"""What a training leaves behind while it runs: ``metrics.jsonl``, and curves in a tracker."""

import json
import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pnbx_snn.errors import CheckpointError, StorageError
from pnbx_snn.files.atomic_write import write_atomically
from pnbx_snn.files.regular_files import read_regular
from pnbx_snn.training.run_files import METRICS_NAME
from pnbx_snn.training.trackers import TENSORBOARD, start_tracker

logger = logging.getLogger(__name__)

MAX_LOG_BYTES = 1 << 30
_CURVES = ("loss", "accuracy_train", "accuracy_validation", "firing_rate", "learning_rate")


class RunLog(AbstractContextManager["RunLog"]):
    """Appends one JSON object for each epoch to ``metrics.jsonl`` of a run and the same numbers to a tracker.

    ``last_epoch`` is that of the checkpoint from which the training goes on, 0 for a new one. What was logged after it
    is dropped, as those epochs will be trained again; so is a line that a kill cut short. ``tracker`` and ``settings``
    are those of :func:`pnbx_snn.training.trackers.start_tracker`. What cannot be written is a :class:`StorageError`.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> with RunLog(folder, last_epoch=0) as log:
    ...     log.write({"epoch": 1, "loss": 2.0})
    >>> read_metrics(folder / "metrics.jsonl")
    [{'epoch': 1, 'loss': 2.0}]
    """

    def __init__(
        self,
        run_dir: str | Path,
        last_epoch: int,
        *,
        tracker: str = TENSORBOARD,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._path, self._is_tensorboard = Path(run_dir) / METRICS_NAME, tracker == TENSORBOARD
        kept = [row for row in _rows(self._path) if row["epoch"] <= last_epoch]
        write_atomically(self._path, "".join(f"{json.dumps(row)}\n" for row in kept).encode(), what="log")
        try:
            self._file = self._path.open("a", encoding="utf-8")
            self._tracker = start_tracker(tracker, Path(run_dir), last_epoch=last_epoch, settings=settings or {})
        except OSError as error:
            raise self._storage_error(error) from error

    @property
    def writer(self) -> Any:
        """TensorBoard's ``SummaryWriter``; ``None`` with another tracker."""
        return self._tracker.tracker if self._is_tensorboard else None

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Append the metrics of an epoch; when this returns, they are on the disk."""
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

    def __exit__(self, *_: object) -> None:
        self.close()

    def _storage_error(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self._path.parent}: the log could not be written ({error.strerror}); saved checkpoints are untouched"
        )


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Read ``metrics.jsonl``, in the order of the epochs; a last line that a kill cut short is left out.

    A :class:`CheckpointError` if the file cannot be read.
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
