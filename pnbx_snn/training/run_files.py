"""The files of a training's folder by name, and whether they are there: asked before torch is imported."""

from pathlib import Path

from pnbx_snn.errors import CheckpointError

CHECKPOINT_NAME = "checkpoint.safetensors"
METRICS_NAME = "metrics.jsonl"


def check_run(path: Path, *, needs: str = CHECKPOINT_NAME) -> Path:
    """Return the path of a run's folder that holds the file ``needs``, or of a packed file.

    Raises
    ------
    CheckpointError
        If there is nothing at the path, or the folder does not hold the file.

    Examples
    --------
    >>> check_run(Path("nowhere"))
    Traceback (most recent call last):
    pnbx_snn.errors.CheckpointError: nowhere: no such run; `pnbx-snn train CONFIG --out nowhere` makes one
    """
    if not path.exists():
        raise CheckpointError(f"{path}: no such run; `pnbx-snn train CONFIG --out {path}` makes one")
    is_packed = path.is_file() and needs == CHECKPOINT_NAME
    if not is_packed and not (path / needs).exists():
        raise CheckpointError(f"{path / needs}: no such file; `pnbx-snn train` writes it into the folder of a run")
    return path
