"""Commands that measure and count."""

from __future__ import annotations

import json
import statistics
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pnbx_snn import console
from pnbx_snn.cli.app import AsJson, DataFolder, Part, Run, app, data_section, load, load_with_data
from pnbx_snn.configs import config_path, known_configs
from pnbx_snn.console import fail, say
from pnbx_snn.training.run_files import CHECKPOINT_NAME, METRICS_NAME, check_run
from pnbx_snn.wording import counted


class Section(StrEnum):
    """Those of :data:`pnbx_snn.metrics.report.SECTIONS`, which takes torch to import."""

    parameters = "parameters"
    operations = "operations"
    memory = "memory"
    energy = "energy"
    activity = "activity"


@app.command(name="eval")
def evaluate_run(
    run: Run,
    part: Part = "test",
    missing: Annotated[
        list[str] | None, typer.Option(help="A stream that is 0 everywhere; may be given more than once.")
    ] = None,
    noise: Annotated[
        list[str] | None,
        typer.Option(help="Gaussian noise of this deviation on a stream.", metavar="STREAM=SIGMA"),
    ] = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Measure the accuracy and the firing rates of a trained network.

    For example:

    - `pnbx-snn eval runs/digits`
    - `pnbx-snn eval runs/digits --part validation --json`
    - `pnbx-snn eval runs/two_senses --missing image --noise sound=0.5`
    """
    with console.loading():
        from pnbx_snn import report
        from pnbx_snn.data.streams import perturbed
        from pnbx_snn.training.evaluate import evaluate
    model, config, split = load_with_data(run, data, part)
    sigmas = dict(_stream_noise(text) for text in noise or ())
    split = perturbed(split, config.data.streams, missing=missing or (), noise=sigmas)
    # A run on train_all has learned from the validation images too.
    seen = part == "validation" and config.data.part == "train_all"
    result = {"part": part, "seen_in_training": seen, **evaluate(model, split)}
    if missing or noise:
        result |= {"missing": missing or [], "noise": sigmas}
    if as_json:
        typer.echo(json.dumps(result))
        return
    report.show_evaluation(f"{run}: {counted(result['n'], f'{part} sample')}", result, model.layer_names)
    if seen:
        note = "note: this run was trained on data.part='train_all', the validation images among them"
        console.err.print(note, soft_wrap=True)


def _stream_noise(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        fail(f"--noise must be STREAM=SIGMA, for example sound=0.5, got {text!r}", code=2)


@app.command()
def info(
    run: Annotated[
        Path, typer.Argument(help="A run, a packed file, or a configuration by name or file.", metavar="RUN")
    ],
    as_json: AsJson = False,
) -> None:
    """Show what is inside a run: parameters by part, ternary weights, configuration, checkpoint.

    A PNB-X network is counted beside the source document's column; a configuration is enough for that.

    For example:

    - `pnbx-snn info runs/digits`
    - `pnbx-snn info reference`
    - `pnbx-snn info runs/mnist --json`
    """
    is_config = run.suffix == ".toml" or (str(run) in known_configs() and not run.exists())
    run = config_path(run) if is_config else check_run(run)
    with console.loading():
        from pnbx_snn import report
        from pnbx_snn.metrics.counts import parameter_parts, parameter_table
        from pnbx_snn.networks.pnbx import PNBX
        from pnbx_snn.training.checkpoint import planned_model, read_meta
        from pnbx_snn.training.config import load_config, resolve
    if is_config:
        config = resolve(load_config(run))
        model = planned_model(config)
        known: dict[str, Any] = {}
        parts: list[dict[str, Any]] = []
        title = f"{run}: not trained"
    else:
        model, config = load(run)
        meta = read_meta(run / CHECKPOINT_NAME) if run.is_dir() else None
        known = meta.model_dump(include={"epoch", "step", "seed", "versions"}) if meta else {}
        parts = parameter_parts(model)
        title = f"{run}: epoch {meta.epoch}" if meta else f"{run}: packed"
    counts = parameter_table(model) if isinstance(model, PNBX) else []
    total = {"parameters": sum(parameter.numel() for parameter in model.parameters())}
    if parts and any("zeros" in part for part in parts):
        total["weight_bytes"] = sum(part.get("weight_bytes", 0) for part in parts)
        total["zero_fraction"] = sum(part.get("zeros", 0) for part in parts) / sum(p.get("weights", 0) for p in parts)
    if as_json:
        document = [{**row._asdict(), "total": row.total} for row in counts]
        typer.echo(json.dumps({**known, **total, "parts": parts, "document": document, "config": config.model_dump()}))
        return
    if counts:
        report.show_document(counts)
    if parts:
        report.show_parts(title, parts, total)
    for section, values in config.model_dump().items():
        text = ", ".join(f"{key}={value}" for key, value in values.items())
        say(f"[{section}] {text}")
    if known:
        versions = ", ".join(f"{name} {version}" for name, version in known["versions"].items())
        console.out.print(versions, highlight=False, style="dim")


@app.command()
def summary(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Runs of one configuration with different seeds.",
            metavar="RUN...",
            callback=lambda paths: [check_run(path) for path in paths],
        ),
    ],
    part: Part = "test",
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Measure several runs and show mean and standard deviation over their seeds, and the share of zero weights.

    For example:

    - `pnbx-snn summary runs/mnist_0 runs/mnist_1 runs/mnist_2 --data DIR`
    """
    with console.loading():
        from pnbx_snn import report
        from pnbx_snn.metrics.memory import zero_share
        from pnbx_snn.training.evaluate import evaluate
        from pnbx_snn.training.run_log import read_metrics
    rows = []
    for run in runs:
        model, config, split = load_with_data(run, data, part)
        measured = evaluate(model, split)
        hours = sum(row.get("seconds", 0.0) for row in read_metrics(run / METRICS_NAME)) / 3600
        zeros = zero_share(model) if model.is_ternary else None
        row = {"run": str(run), "seed": config.train.seed, **measured, "zero_fraction": zeros, "hours": round(hours, 3)}
        rows.append(row)
    accuracy = [row["accuracy"] for row in rows]
    total: dict[str, Any] = {
        "mean": statistics.mean(accuracy),
        "sd": statistics.stdev(accuracy) if len(accuracy) > 1 else None,
    }
    if as_json:
        typer.echo(json.dumps({"part": part, "runs": rows, **total}))
        return
    report.show_summary(counted(rows[0]["n"], f"{part} sample"), rows, **total)


@app.command()
def neurobench(
    run: Run,
    part: Part = "test",
    data: DataFolder = None,
    samples: Annotated[int, typer.Option(min=0, help="Take the first ones only; 0: all.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Take NeuroBench's metrics: footprint, sparsity of connections and activations, synaptic operations, accuracy.

    They are counted by the package `neurobench` itself (`pip install --no-deps neurobench`).

    For example:

    - `pnbx-snn neurobench runs/digits`
    - `pnbx-snn neurobench runs/mnist --data DIR --samples 1000 --json`
    """
    with console.loading():
        from pnbx_snn import report
        from pnbx_snn.metrics.neurobench import neurobench as measure_neurobench
    model, _, split = load_with_data(run, data, part)
    result = measure_neurobench(model, split.first(samples or len(split.labels)))
    if as_json:
        typer.echo(json.dumps({"part": part, **result}))
        return
    samples_shown = counted(result["n"], f"{part} sample")
    report.show_neurobench(f"{run}: NeuroBench {result['neurobench']}, {samples_shown}", result)


def _moved(given: bool) -> bool:
    """Refuse the options that went with the study of the document."""
    if given:
        fail(
            "--reference, --claims, --measure, --quick and --measurements are about the source document and moved, in "
            "a clone of the repository, to: python -m studies.claims [RUN] -o report [--measure]; see its --help",
            2,
        )
    return given


@app.command()
def analyze(
    run: Run,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the report.", metavar="DIR")] = Path(
        "report"
    ),
    section: Annotated[
        list[Section] | None, typer.Option("--section", help="Only this section; may be given more than once.")
    ] = None,
    part: Part = "test",
    data: DataFolder = None,
    samples: Annotated[int, typer.Option(min=1, help="How many samples are looked at.")] = 256,
    sample: Annotated[int, typer.Option(min=0, help="Number of the sample whose spikes are drawn.")] = 0,
    moved: Annotated[
        bool,
        typer.Option("--reference", "--claims", "--measure", "--quick", "--measurements", hidden=True, callback=_moved),
    ] = False,
) -> None:
    """Report what a network costs: parameters, operations, bytes, energy (modelled) and how its neurons fire.

    The report is one HTML file that opens without the internet, and the same numbers as JSON.

    For example:

    - `pnbx-snn analyze runs/digits -o report`
    - `pnbx-snn analyze runs/mnist --data DIR --section activity --sample 3`
    """
    with console.loading():
        from pnbx_snn import report
        from pnbx_snn.metrics import page
        from pnbx_snn.metrics.analysis import analyze_run
        from pnbx_snn.metrics.report import sections, write_report
    model, config = load(run)
    costs = analyze_run(run, model, data_section(config, data), part=part, samples=samples, sample=sample)
    built = sections(costs, section or ())
    for table in (part for one in built for part in one.parts if isinstance(part, page.Table)):
        if not table.folded:
            report.show(table)
    say(f"wrote {write_report(costs, built, output)} and report.json")
