"""All measurements of a report: the rivals on this processor, and the joules of a GPU where there is one."""

from __future__ import annotations

import time
from pathlib import Path

from studies.claims.evidence import FILE
from studies.measurements.gpu_energy import gpu_rows

STAGE = "GPU joules"


def measure_all(folder: Path, *, quick: bool = False) -> Path:
    """Measure into ``folder/measurements.json``; what it holds already is kept.

    Raises
    ------
    StorageError, PnbxError
        See :func:`studies.measurements.run.main`.
    """
    from studies.measurements import run as measure

    path = measure.main(folder, quick=quick)
    kept = measure.Measurements(folder / FILE, quick=quick)
    if not kept.has(STAGE):
        start = time.perf_counter()
        found = gpu_rows(seconds=2.0 if quick else 10.0)
        if isinstance(found, str):
            kept.machine["gpu"] = found  # why there is none, for who reads the file
        kept.keep(STAGE, [] if isinstance(found, str) else found, time.perf_counter() - start)
    return path
