"""All measurements of a report: the rivals on this processor, and the joules of a GPU where there is one."""

from __future__ import annotations

import time
from pathlib import Path

from pnbx_snn.analysis.evidence import FILE
from pnbx_snn.analysis.gpu_energy import gpu_rows

STAGE = "GPU joules"


def measure_all(folder: Path, *, quick: bool = False) -> Path:
    """Measure into ``folder/measurements.json``; what it holds already is kept.

    Raises
    ------
    StorageError, PnbxError
        See :func:`pnbx_snn.analysis.measure.main`.
    """
    from pnbx_snn.analysis import measure

    path = measure.main(folder, quick=quick)
    kept = measure.Measurements(folder / FILE, quick=quick)
    if not kept.has(STAGE):
        start = time.perf_counter()
        found = gpu_rows(seconds=2.0 if quick else 10.0)
        if isinstance(found, str):
            kept.machine["gpu"] = found  # why there is none, for who reads the file
        kept.keep(STAGE, [] if isinstance(found, str) else found, time.perf_counter() - start)
    return path
