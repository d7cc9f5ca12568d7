"""Measure a finished training on its test samples, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import neuromorphic
from pnbx_snn import load_run
from pnbx_snn.data.catalog import load_split
from pnbx_snn.metrics.memory import packings
from pnbx_snn.training.evaluate import evaluate
from pnbx_snn.training.run_log import read_metrics
from studies.rivals import classifier  # noqa: F401  # makes [baseline] known
from studies.rivals.int8 import in_int8, weight_bytes


def measure(run: Path, task: str, data_folder: Path | None = None) -> dict[str, Any]:
    """Return the line of a finished training.

    Accuracies are of the test samples: ``test`` of the trained network, ``small`` of what a small machine holds, which
    is the compiled program of ours and the int8 weights of a rival. ``weights`` counts the numbers in matrices, and
    ``bytes`` what they take: ours two bits each, a rival's one byte. ``all_bytes`` has the other parameters too, four
    bytes each. ``hours`` are those of one core.
    """
    model, config = load_run(run)
    data = config.data if data_folder is None else config.data.model_copy(update={"folder": str(data_folder)})
    split = load_split(data, "test")
    found = evaluate(model, split)
    kind = getattr(model, "kind", "PNB-X" if config.section == "pnbx" else config.section)
    line = {"task": task, "network": kind, "seed": config.train.seed, "epochs": config.train.epochs}
    if speaker := config.data.held_out_speaker:
        line["speaker"] = speaker
    line |= {
        "test": found["accuracy"],
        "samples": found["n"],
        "weights": sum(parameter.numel() for parameter in model.parameters() if parameter.ndim > 1),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "hours": _hours(run),
    }
    if not model.is_ternary:
        sizes = {"bytes": line["weights"], "all_bytes": weight_bytes(model)}
        return line | {"small": evaluate(in_int8(model), split)["accuracy"], **sizes}
    packing = packings(model)[3]
    agreement = neuromorphic.compile(run, part="test", data=data_folder).metadata["agreement"]
    return line | {
        "small": agreement["accuracy_program"],
        "labels_equal": agreement["labels_equal"],
        "spikes_equal": agreement["spikes_equal"],
        "rates": found["firing_rate_layers"],
        "bytes": packing.ternary_bytes,
        "all_bytes": packing.total,
    }


def _hours(run: Path) -> float:
    seconds: float = sum(line["seconds"] for line in read_metrics(run / "metrics.jsonl"))
    return round(seconds / 3600, 2)
