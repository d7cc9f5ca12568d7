"""``pnbx-snn demo``, the main job end to end: train, draw, compile, run on NumPy and Lava, compare every spike.

It uses both packages, so it belongs to neither of them.
"""

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import neuromorphic
from neuromorphic.errors import LavaNotFoundError
from neuromorphic.executors.lava.environment import ENVIRONMENT_VARIABLE, find_lava_python
from pnbx_snn import evaluate, load_run, plot, train
from pnbx_snn.cli.progress import training_progress
from pnbx_snn.data.catalog import load_split
from pnbx_snn.data.split import Split
from pnbx_snn.files.atomic_write import write_atomically
from pnbx_snn.metrics.analysis import one_sample
from pnbx_snn.networks.base import Network
from pnbx_snn.training.config import load_config
from pnbx_snn.training.run_files import CHECKPOINT_NAME, METRICS_NAME
from pnbx_snn.training.run_log import read_metrics

CONFIG = "digits"
MIN_ACCURACY, MAX_PROGRAM_LOSS = 0.97, 0.005
console = Console()


def run_demo(out: Path) -> bool:
    """Leave a trained network, its program, recordings, pictures and ``report.json`` in a folder; print a table.

    Spikes are compared with Lava's where there is a Python with Lava, else with those of the native executor.

    Returns
    -------
    bool
        Whether all goals of the table are reached.
    """
    seconds: dict[str, float] = {}
    other, versions = _other_executor()  # before training, so that a missing Lava is known at once
    config = load_config(CONFIG)
    with _stage("train a ternary spiking network on 1,437 digits", seconds):
        if (out / CHECKPOINT_NAME).exists():
            console.print(f"{out} holds a trained network; going on from it (delete the folder to train anew)")
        with training_progress(config.train.epochs) as show:
            train(config, out, resume=(out / CHECKPOINT_NAME).exists(), progress=show, batch_progress=show)
    model, _ = load_run(out)
    test = load_split(config.data, "test")
    network = evaluate(model, test)
    with _stage("draw raster.png and training.png", seconds):
        _draw(out, model, test)
    with _stage("compile to an integer program", seconds):
        program = neuromorphic.compile(out)
        program.save(out / "program.npz")
        images = test.images[:].numpy()
        np.save(out / "inputs.npy", images)
    with _stage(f"run {len(images)} test images on the NumPy reference", seconds):
        reference = _run_on("numpy", program, images, out)
    with _stage(f"run {len(images)} test images on {_title(other)}", seconds):
        second = _run_on(other, program, images, out)
    comparison = neuromorphic.compare(reference, second)

    truth, at_once = test.labels.numpy(), f"{len(images)} samples at once"
    report: dict[str, Any] = {
        "accuracy_network": network["accuracy"],
        "accuracy_program": float((reference.labels() == truth).mean()),
        f"accuracy_{other}": float((second.labels() == truth).mean()),
        "spikes_compared": comparison.spikes_compared,
        "spikes_different": comparison.spikes_different,
        "states_compared": comparison.states_compared,
        "states_different": comparison.states_different,
        "first_divergence": None if comparison.first is None else vars(comparison.first),
        "firing_rate": float(np.mean(np.concatenate([s.ravel() for s in reference.spikes().values()]))),
        "weight_bytes": sum(op.weight_bytes for op in program.of_type(neuromorphic.Dense)),
        "us_per_step": {
            f"NumPy, {at_once}": _us_per_step(reference),
            f"{_title(other)}, {at_once if other == 'native' else 'one sample'}": _us_per_step(second),
        },
        "test_images": len(truth),
        "num_steps": program.num_steps,
        "program_sha256": program.sha256,
        "stage_seconds": seconds,
        "versions": {
            "python": platform.python_version(),
            **program.metadata["versions"],
            **versions,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "kernels": torch.backends.cpu.get_cpu_capability(),
        },
    }
    loss = report["accuracy_network"] - report["accuracy_program"]
    report["goals"] = {
        "accuracy of the network >= 97 %": report["accuracy_network"] >= MIN_ACCURACY,
        "program within 0.5 points of the network": loss <= MAX_PROGRAM_LOSS,
        "all weights in {-1, 0, 1}": all(op.is_ternary for op in program.of_type(neuromorphic.Dense)),
        "no spike and no state differs": comparison.equal,
    }
    write_atomically(out / "report.json", (json.dumps(report, indent=2) + "\n").encode())
    _show_table(report, other)
    if comparison.first is not None:
        console.print(str(comparison.first))
    console.print(
        f"Everything is in {out}/: report.json, raster.png, training.png, program.npz, inputs.npy, recordings."
    )
    return all(report["goals"].values())


def _other_executor() -> tuple[str, dict[str, str]]:
    """Return the executor whose spikes are compared with NumPy's, and the versions of what it runs on."""
    try:
        lava = find_lava_python()
    except LavaNotFoundError:
        if os.environ.get(ENVIRONMENT_VARIABLE):
            raise  # one was asked for
        console.print(
            "There is no Python with Lava here, so the native executor takes its place. To have Lava, once, and then "
            "this demo again: neuromorphic setup-lava"
        )
        return "native", {}
    return "lava", {"lava": lava.lava_version, "lava_python": lava.python_version}


def _title(executor: str) -> str:
    return {"lava": "Lava", "native": "native code"}[executor]


@contextmanager
def _stage(name: str, seconds: dict[str, float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - started, 2)
    console.print(f"[green]done[/] {name} ({seconds[name]:.1f} s)")


def _draw(out: Path, model: Network, test: Split) -> None:
    shown = one_sample(model, test, 0)
    title = f"test image 0, a {shown['label']}, read as {shown['read']}"
    with plot.without_display():
        pictures: dict[str, Any] = {
            "raster.png": plot.raster_layers(shown["layers"], input=shown["input"], title=title),
            "training.png": plot.training(read_metrics(out / METRICS_NAME)).figure,
        }
        for name, figure in pictures.items():
            figure.savefig(out / name, dpi=120)


def _run_on(executor: str, program: neuromorphic.Program, images: Any, out: Path) -> neuromorphic.Recording:
    columns = (TextColumn(f"running on {executor}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"))
    is_terminal = console.is_terminal  # a log file wants lines, not bars
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True, disable=not is_terminal
    ) as bar:
        task = bar.add_task(executor)
        recording = neuromorphic.run(
            program, images, executor, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    recording.save(out / f"recording_{executor}.npz")
    return recording


def _us_per_step(recording: neuromorphic.Recording) -> float:
    steps, samples = next(iter(recording.variables.values())).shape[:2]
    return float(1e6 * recording.metadata["seconds"] / (steps * samples))


def _show_table(report: dict[str, Any], other: str) -> None:
    table = Table(title="PNB-X demo: the same spikes everywhere", show_header=False)
    for name, label in (("network", "network"), ("program", "program"), (other, _title(other))):
        table.add_row(
            f"accuracy, {label} ({report['test_images']} test images)", f"{100 * report[f'accuracy_{name}']:.2f} %"
        )
    for name in ("spikes", "states"):
        different, compared = report[f"{name}_different"], report[f"{name}_compared"]
        table.add_row(f"{name} compared, NumPy against {_title(other)}", f"{compared:,}, {different:,} differ")
    table.add_row("firing rate", f"{100 * report['firing_rate']:.1f} %")
    table.add_row("weights, 2 bits each", f"{report['weight_bytes']:,} bytes")
    for name, value in report["us_per_step"].items():
        table.add_row(f"time per step and sample: {name}", f"{value:,.1f} µs")
    table.add_section()
    for goal, reached in report["goals"].items():
        table.add_row(goal, "[green]yes[/]" if reached else "[bold red]NO[/]")
    console.print(table)
