"""What a search weighs against each other, and how it is measured on a trained network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from pnbx_snn.data.split import Split
from pnbx_snn.errors import ConfigError, PnbxTypeError
from pnbx_snn.metrics.memory import packings, state_bytes
from pnbx_snn.metrics.neurobench import matrices_of
from pnbx_snn.metrics.operations import KINDS, count_operations, totals
from pnbx_snn.networks.base import Network
from pnbx_snn.search.pareto import Number
from pnbx_snn.training.checkpoint import load_run, planned_model
from pnbx_snn.training.config import Config
from pnbx_snn.training.packed import pack_run

Objective = Literal["accuracy", "bytes", "operations", "state_bytes", "file_bytes"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)

SAMPLES = 256
"""Validation samples, the first ones, on which operations are counted."""
PACKED_NAME = "packed.safetensors"


class Kind(NamedTuple):
    """An objective: whether it is to be large, its names in a table and at an axis, and what it is."""

    maximize: bool
    column: str
    axis: str
    words: str


ABOUT: dict[str, Kind] = {
    "accuracy": Kind(True, "accuracy", "accuracy", "share of the validation samples that are read right"),
    "bytes": Kind(
        False,
        "bytes",
        "bytes of ternary weights",
        "bytes of all ternary weights at two bits each; known before a training",
    ),
    "operations": Kind(
        False,
        "operations",
        "synaptic operations a sample",
        f"synaptic operations a sample, without those that zeros spare, mean of {SAMPLES} validation samples",
    ),
    "state_bytes": Kind(
        False, "state bytes", "bytes of state", "bytes that one stream carries from step to step, fp32"
    ),
    "file_bytes": Kind(
        False, "file bytes", "bytes of the packed file", "size of the packed file (pnbx-snn pack) with everything in it"
    ),
}


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """Read ``"accuracy,bytes"``.

    Raises
    ------
    ConfigError
        If a name is none of :data:`OBJECTIVES` or stands there twice.

    Examples
    --------
    >>> parse_objectives("accuracy, bytes")
    ('accuracy', 'bytes')
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in OBJECTIVES:
            raise ConfigError(f"--objectives must be some of {','.join(OBJECTIVES)}, separated by commas, got {name!r}")
    if len(set(names)) < len(names):
        raise ConfigError(f"--objectives: each stands there once, got {text!r}")
    return tuple(names)  # type: ignore[arg-type]


def weight_bytes(config: Config) -> int:
    """Return the bytes of a configuration's ternary weights at two bits each, every matrix in whole bytes.

    Nothing is trained and no memory is taken for them. A :class:`PnbxTypeError` if the network has none.

    Examples
    --------
    >>> from pnbx_snn.training.config import make_config
    >>> weight_bytes(make_config({"model": {"hidden": [32]}}))  # 64-32-10
    592
    """
    model = planned_model(config)
    if not model.is_ternary:
        raise PnbxTypeError(f"search: a [{model.section}] has no ternary weights, so its bytes cannot be searched")
    return sum((weights.numel() + 3) // 4 for weights in (_latent(layer) for layer in matrices_of(model).values()))


def measure(run: Path, accuracy: float, names: Sequence[str], samples: Split) -> dict[str, Number]:
    """Return these objectives of a run's last checkpoint, and what else costs nothing to know.

    ``accuracy`` is that of its log; operations are counted on the first :data:`SAMPLES` of ``samples``.
    """
    model, config = load_run(run)
    makers: Mapping[str, Callable[[], Number]] = {
        "accuracy": lambda: accuracy,
        "bytes": lambda: weight_bytes(config),
        "operations": lambda: operations(model, samples),
        "state_bytes": lambda: sum(state_bytes(model).values()),
        "file_bytes": lambda: pack_run(run, run / PACKED_NAME, loaded=(model, config)),
    }
    found = {name: make() for name, make in makers.items() if name in names or name in ("accuracy", "bytes")}
    at_two_bits = next(packing for packing in packings(model) if packing.bits == 2)
    return {**found, "bytes_with_fp32_rest": at_two_bits.total}


def operations(model: Network, samples: Split) -> float:
    """Return the synaptic operations of a sample: ternary additions and multiply-accumulates that are executed."""
    counted = count_operations(model, samples.first(SAMPLES))
    found = totals(counted.rows)
    return round(counted.steps * sum(found[kind][1] for kind in KINDS if kind != "elementwise"), 1)


def vector(names: Sequence[str], measured: Mapping[str, Number]) -> tuple[Number, ...]:
    """Return the objectives as numbers of which all are to be small."""
    return tuple(-measured[name] if ABOUT[name].maximize else measured[name] for name in names)


def _latent(layer: Any) -> Any:
    return layer.K if hasattr(layer, "K") else layer.weight
