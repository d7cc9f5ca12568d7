"""The main job, end to end: train, raster, compile, run on NumPy and Lava, compare spike by spike.

Run by ``make demo``. Leaves everything in ``runs/demo/`` and exits with 1 if a goal is missed.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import neuromorphic
from neuromorphic.errors import NeuromorphicError
from neuromorphic.executors.lava.environment import find_lava_python
from neuromorphic.files.atomic_write import write_atomically
from pnbx_snn import evaluate, load_run, plot, train
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.errors import PnbxError
from pnbx_snn.training.config import load_config
from pnbx_snn.training.run_log import read_metrics

CONFIG = "digits"
MIN_ACCURACY, MAX_PROGRAM_LOSS = 0.97, 0.005
console = Console()


@contextmanager
def stage(name: str, seconds: dict[str, float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - started, 2)
    console.print(f"[green]done[/] {name} ({seconds[name]:.1f} s)")


@contextmanager
def bar(label: str, unit: str) -> Iterator[Progress]:
    columns = (
        TextColumn(label),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[note]}"),
    )
    bars = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True)
    bars.disable = not console.is_terminal  # a log file wants lines, not bars
    with bars as progress:
        yield progress


def train_network(out: Path) -> None:
    config = load_config(CONFIG)
    resume = (out / "checkpoint.safetensors").exists()
    if resume:
        console.print(f"{out} holds a trained network; going on from it (delete the folder to train anew)")
    with bar("training", "epochs") as progress:
        task = progress.add_task("training", total=config.train.epochs, note="")

        def show(metrics: dict) -> None:
            note = f"loss {metrics['loss']:.3f}  accuracy {100 * metrics['accuracy_train']:.1f} %"
            progress.update(task, completed=metrics["epoch"], note=note)
            if progress.disable and metrics["epoch"] % 10 == 0:
                console.print(f"  epoch {metrics['epoch']} of {config.train.epochs}: {note}")

        train(config, out, resume=resume, progress=show)


def draw(out: Path, model, test) -> None:
    import matplotlib.pyplot as plt

    inputs = model.encode(test.images[:1])
    output = model(inputs)
    rasters = {f"layer {i}": spikes[:, 0] for i, spikes in enumerate(output.spikes, start=1)}
    title = f"test image 0, a {int(test.labels[0])}, read as {int(output.logits.argmax())}"
    plot.raster_layers(rasters, input=inputs[:, 0], title=title).savefig(out / "raster.png", dpi=120)
    axes = plot.training(read_metrics(out / "metrics.jsonl"))
    axes.figure.savefig(out / "training.png", dpi=120)
    plt.close("all")


def run_on(executor: str, program, images: np.ndarray, out: Path, **options) -> neuromorphic.Recording:
    with bar(f"running on {executor}", "steps") as progress:
        task = progress.add_task(executor, note="")
        options["progress"] = lambda done, total: progress.update(task, completed=done, total=total)
        recording = neuromorphic.run(program, images, executor, **options)
    recording.save(out / f"recording_{executor}.npz")
    return recording


def us_per_step(recording: neuromorphic.Recording) -> float:
    steps, samples = next(iter(recording.variables.values())).shape[:2]
    return 1e6 * recording.metadata["seconds"] / (steps * samples)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    out = parser.parse_args().out
    seconds: dict[str, float] = {}
    lava = find_lava_python()  # before training, so that a missing one is known at once
    with stage("train a ternary spiking network on 1,437 digits", seconds):
        train_network(out)
    model, _ = load_run(out)
    test = load_digits_split(part="test")
    network = evaluate(model, test)
    with stage("draw raster.png and training.png", seconds):
        draw(out, model, test)
    with stage("compile to an integer program", seconds):
        program = neuromorphic.compile(out)
        program.save(out / "program.npz")
        images = test.images.numpy()
        np.save(out / "inputs.npy", images)
    with stage(f"run {len(images)} test images on the NumPy reference", seconds):
        reference = run_on("numpy", program, images, out)
    with stage(f"run {len(images)} test images on Lava {lava.lava_version} processes", seconds):
        on_lava = run_on("lava", program, images, out)
    comparison = neuromorphic.compare(reference, on_lava)

    truth = test.labels.numpy()
    report = {
        "accuracy_network": network["accuracy"],
        "accuracy_program": float((reference.labels() == truth).mean()),
        "accuracy_lava": float((on_lava.labels() == truth).mean()),
        "spikes_compared": comparison.spikes_compared,
        "spikes_different": comparison.spikes_different,
        "states_compared": comparison.states_compared,
        "states_different": comparison.states_different,
        "first_divergence": None if comparison.first is None else vars(comparison.first),
        "firing_rate": float(np.mean(np.concatenate([s.ravel() for s in reference.spikes().values()]))),
        "weight_bytes": sum(op.weight_bytes for op in program.of_type(neuromorphic.Dense)),
        "us_per_step": {"numpy, 360 samples at once": us_per_step(reference), "lava, one sample": us_per_step(on_lava)},
        "test_images": len(truth),
        "num_steps": program.num_steps,
        "program_sha256": program.sha256,
        "stage_seconds": seconds,
        "versions": {
            "python": platform.python_version(),
            **program.metadata["versions"],
            "lava": lava.lava_version,
            "lava_python": lava.python_version,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        },
    }
    goals = {
        "accuracy of the network >= 97 %": report["accuracy_network"] >= MIN_ACCURACY,
        "program within 0.5 points of the network": report["accuracy_network"] - report["accuracy_program"]
        <= MAX_PROGRAM_LOSS,
        "all weights in {-1, 0, 1}": all(op.is_ternary for op in program.of_type(neuromorphic.Dense)),
        "no spike and no state differs": comparison.equal,
    }
    report["goals"] = goals
    write_atomically(out / "report.json", (json.dumps(report, indent=2) + "\n").encode())
    show_table(report, goals)
    if comparison.first is not None:
        console.print(str(comparison.first))
    console.print(f"Everything is in {out}/: report.json, raster.png, training.png, program.npz, recordings.")
    return 0 if all(goals.values()) else 1


def show_table(report: dict, goals: dict[str, bool]) -> None:
    table = Table(title="PNB-X demo: the same spikes everywhere", show_header=False)
    for name in ("network", "program", "lava"):
        table.add_row(
            f"accuracy, {name} ({report['test_images']} test images)", f"{100 * report[f'accuracy_{name}']:.2f} %"
        )
    for name in ("spikes", "states"):
        different, compared = report[f"{name}_different"], report[f"{name}_compared"]
        table.add_row(f"{name} compared, NumPy against Lava", f"{compared:,}, {different:,} differ")
    table.add_row("firing rate", f"{100 * report['firing_rate']:.1f} %")
    table.add_row("weights, 2 bits each", f"{report['weight_bytes']:,} bytes")
    for name, value in report["us_per_step"].items():
        table.add_row(f"time per step and sample: {name}", f"{value:,.1f} µs")
    table.add_section()
    for goal, reached in goals.items():
        table.add_row(goal, "[green]yes[/]" if reached else "[bold red]NO[/]")
    console.print(table)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (PnbxError, NeuromorphicError) as error:
        Console(stderr=True).print("error:", str(error), markup=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted; `make demo` goes on from the last saved epoch")
        sys.exit(130)
