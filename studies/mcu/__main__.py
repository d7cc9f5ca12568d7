"""What a program takes on an emulated Cortex-M3 and M0, and whether every value there is the reference's.

python -m studies.mcu --name digits runs/demo/program.npz runs/demo
python -m studies.mcu --name MNIST runs/mcu_mnist/program.npz runs/mcu_mnist/test.npz --on-board 200

The samples are the test part of a run, or ``inputs`` and ``labels`` of a file. All of them run on the executor `c` and
are compared with the NumPy reference, those of `--on-board` on both cores too. Instructions are those of a run that
records the read-out alone. `--json FILE` adds what was measured to a file and prints the tables of
docs/targets/microcontrollers.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic import Program, compare, run
from neuromorphic.errors import ExecutorError
from neuromorphic.executors.qemu.firmware import BOARDS
from neuromorphic.ops import Conv, Dense, Readout, Slots
from pnbx_snn import load_run
from pnbx_snn.data.catalog import load_split

PIECE = 500
"""Samples that are compared at a time, so that recordings fit into memory."""


def samples(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return inputs ``[B, N]`` or ``[T, B, N]``, and labels."""
    if path.is_file():
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["inputs"], arrays["labels"]
    split = load_split(load_run(path)[1].data, "test")
    images = split.images[:].numpy()
    return images.transpose(1, 0, 2) if images.ndim == 3 else images, split.labels.numpy()


def weight_bytes(program: Program) -> int:
    """Return the bytes of all weights: two bits for each of a ternary matrix, else eight."""
    total = sum(op.weight_bytes for op in program.ops if isinstance(op, Dense))
    total += sum(op.weights.size for op in program.ops if isinstance(op, Conv))
    return total + sum(-(-op.keys.size // 4) for op in program.ops if isinstance(op, Slots))


def compared(program: Program, inputs: NDArray[Any], executor: str, **options: Any) -> dict[str, Any]:
    """Run samples on the reference and on an executor; return counts of values and differences, and the labels."""
    axis, labels = inputs.ndim - 2, []
    facts = {"samples": inputs.shape[axis], "labels_different": 0}
    facts |= dict.fromkeys(("spikes", "spikes_different", "states", "states_different"), 0)
    for some in np.array_split(np.arange(inputs.shape[axis]), -(-inputs.shape[axis] // PIECE)):
        piece = inputs.take(some, axis=axis)
        expected, got = run(program, piece), run(program, piece, executor, **options)
        found = compare(expected, got)
        facts["spikes"] += found.spikes_compared
        facts["spikes_different"] += found.spikes_different
        facts["states"] += found.states_compared
        facts["states_different"] += found.states_different
        facts["labels_different"] += int((expected.labels() != got.labels()).sum())
        labels.append(got.labels())
    return {**facts, "labels": np.concatenate(labels)}


def rows(name: str, program: Program, inputs: NDArray[Any], truth: NDArray[Any], on_board: int) -> list[dict[str, Any]]:
    """Return what was measured: on the executor `c`, and on each core."""
    host = compared(program, inputs, "c")
    labels = host.pop("labels")
    accuracy = float(np.mean(labels == truth))
    found = [{"name": name, "core": "host (c)", "weight_bytes": weight_bytes(program), "accuracy": accuracy, **host}]
    few = inputs.take(np.arange(min(on_board, inputs.shape[-2])), axis=inputs.ndim - 2)
    steps = program.num_steps if inputs.ndim == 2 else len(inputs)
    for core in BOARDS:
        try:
            facts = compared(program, few, "qemu", core=core)
            recording = run(program, few, "qemu", core=core, record=[program.of_type(Readout)[-1].name + ".y"])
        except ExecutorError as error:
            found.append({"name": name, "core": core, "refused": str(error)})
            continue
        del facts["labels"]
        told = {key: recording.metadata[key] for key in ("flash_bytes", "ram_bytes", "stack_bytes")}
        counted = {key: round(recording.metadata[f"instructions_{key}"] or 0) for key in ("per_step", "at_most")}
        found.append({"name": name, **facts, **told, **counted, "core": core, "steps": steps})
    return found


def tables(found: list[dict[str, Any]]) -> str:
    """Return what was measured as two tables in Markdown."""
    sizes = [
        "| network | core | flash, bytes | RAM, bytes | stack | instructions a step | at most |",
        "| --- " * 7 + "|",
    ]
    differ = ["| network | runs on | samples | spikes that differ | other values | labels |", "| --- " * 6 + "|"]
    for row in found:
        if "refused" in row:
            sizes.append(f"| {row['name']} | {row['core']} | {row['refused'].removeprefix('qemu: ')} | | | | |")
            continue
        counts = [f"{row[f'{kind}_different']:,} of {row[kind]:,}" for kind in ("spikes", "states")]
        counts.append(f"{row['labels_different']:,} of {row['samples']:,}")
        differ.append(f"| {row['name']} | {row['core']} | {row['samples']:,} | {' | '.join(counts)} |")
        if "flash_bytes" in row:
            numbers = (row[key] for key in ("flash_bytes", "ram_bytes", "stack_bytes", "per_step", "at_most"))
            sizes.append(f"| {row['name']} | {row['core']} | {' | '.join(f'{number:,}' for number in numbers)} |")
    return "\n".join([*sizes, "", *differ, ""])


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("samples", type=Path, help="Folder of a run of pnbx-snn train, or a .npz of inputs and labels.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--on-board", type=int, default=1 << 30)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = rows(given.name, Program.load(given.program), *samples(given.samples), given.on_board)
    for row in found:
        sys.stdout.write(json.dumps(row) + "\n")
    if given.json is not None:
        before = json.loads(given.json.read_text()) if given.json.exists() else []
        kept = [row for row in before if row["name"] != given.name]
        given.json.write_text(json.dumps(kept + found, indent=1) + "\n")
        sys.stdout.write(tables(kept + found))


if __name__ == "__main__":
    main()
