"""The ``pnbx-snn`` command: train a spiking classifier, measure it, look at it."""

import json
import os
import statistics
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pnbx_snn import console, report
from pnbx_snn.console import Commands, Stopped, fail, say
from pnbx_snn.data.catalog import load_split
from pnbx_snn.data.split import Part as SplitPart
from pnbx_snn.data.split import Split
from pnbx_snn.metrics import page
from pnbx_snn.metrics.analysis import analyze_run, one_sample
from pnbx_snn.metrics.counts import parameter_parts, parameter_table
from pnbx_snn.metrics.neurobench import neurobench as measure_neurobench
from pnbx_snn.metrics.report import SECTIONS, sections, write_report
from pnbx_snn.networks.base import Network
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.plot import without_display
from pnbx_snn.training.checkpoint import CHECKPOINT_NAME, load_run, planned_model, read_meta
from pnbx_snn.training.config import Config, load_config, resolve
from pnbx_snn.training.evaluate import evaluate
from pnbx_snn.training.packed import load_packed, pack_run
from pnbx_snn.training.pretrained import WEIGHTS, save_pretrained
from pnbx_snn.training.run import train as run_training
from pnbx_snn.training.run_log import METRICS_NAME, read_metrics
from pnbx_snn.training.settings import DataConfig

Run = Annotated[Path, typer.Argument(help="A folder written by `pnbx-snn train` (or a packed file).", metavar="RUN")]
Part = Annotated[Literal["test", "validation"], typer.Option(help="Which images; do not tune on the test set.")]
Picture = Annotated[Path, typer.Option("-o", "--output", help="The picture: .png, .pdf, .svg.", metavar="FILE")]
DataFolder = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of the data sets; default: data.folder, or $PNBX_DATA.", metavar="DIR"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]


app = typer.Typer(
    name="pnbx-snn",
    cls=Commands,
    help="Train spiking classifiers with ternary weights, measure them and look at their spikes.\n\n"
    "A first round:\n\n"
    "- `pnbx-snn train digits --out runs/digits`\n"
    "- `pnbx-snn eval runs/digits`\n"
    "- `pnbx-snn raster runs/digits --sample 0 -o raster.png`\n\n"
    "Exit codes: 0 done, 1 an error, 2 wrong usage or configuration, 130 and 143 stopped by Ctrl-C and SIGTERM.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A TOML file, see pnbx_snn/configs/digits.toml.", metavar="CONFIG")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override one key; may be given more than once.", metavar="SECTION.KEY=VALUE"),
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder of the run; default: runs/NAME for NAME.toml.", metavar="DIR")
    ] = None,
    data: DataFolder = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the folder.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no summary.")] = False,
) -> None:
    """Train a network. Checkpoint, metrics and TensorBoard events go into one folder.

    Stop it with Ctrl-C whenever you like: the last checkpoint stays, and `--resume` goes on from it to the very same
    weights as if it had never stopped (on one thread, bit for bit).

    For example:

    - `pnbx-snn train digits`
    - `pnbx-snn train digits.toml --set train.epochs=10 --set model.hidden=[128,128] --out runs/small`
    - `pnbx-snn train digits.toml --out runs/small --resume`
    - `pnbx-snn train mnist --data DIR --set train.seed=1 --out runs/mnist1`
    - `torchrun --standalone --nproc_per_node 2 -m pnbx_snn.cli train digits.toml`
    """
    overrides = [*(set_ or []), *([] if data is None else [f"data.folder={json.dumps(str(data))}"])]
    settings = load_config(config, overrides)
    folder = Path("runs") / config.stem if out_dir is None else out_dir
    try:
        with console.stoppable(), console.epoch_progress(settings.train.epochs, quiet=quiet) as progress:
            result = run_training(settings, folder, resume=resume, progress=progress)
    except Stopped as stopped:
        changes = [word for text in overrides for word in ("--set", text)]
        arguments = [*settings.kind.command.split(), "train", str(config), *changes, "--out", str(folder), "--resume"]
        console.show_stop(stopped, folder, arguments)
        raise typer.Exit(128 + stopped.signal) from None
    if not quiet and os.environ.get("RANK", "0") == "0":  # of several processes the first one speaks
        console.show_result(result, folder)


@app.command(name="eval")
def evaluate_run(run: Run, part: Part = "test", data: DataFolder = None, as_json: AsJson = False) -> None:
    """Measure the accuracy and the firing rates of a trained network.

    For example:

    - `pnbx-snn eval runs/digits`
    - `pnbx-snn eval runs/digits --part validation --json`
    """
    model, config, split = _with_data(run, data, part)
    # A run on train_all has learned from the validation images too.
    seen = part == "validation" and config.data.part == "train_all"
    result = {"part": part, "seen_in_training": seen, **evaluate(model, split)}
    if as_json:
        typer.echo(json.dumps(result))
        return
    report.show_evaluation(f"{run}: {result['n']} {part} samples", result, model.layer_names)
    if seen:
        note = "note: this run was trained on data.part='train_all', the validation images among them"
        console.err.print(note, soft_wrap=True)


@app.command()
def raster(
    run: Run,
    picture: Picture,
    sample: Annotated[int, typer.Option(min=0, help="Number of the sample in its part.")] = 0,
    part: Part = "test",
    data: DataFolder = None,
) -> None:
    """Draw the spikes that one sample evokes in every layer.

    For example:

    - `pnbx-snn raster runs/digits --sample 0 -o raster.png`
    """
    from pnbx_snn import plot

    model, _, split = _with_data(run, data, part)
    if not model.layer_names:
        fail(f"{run}: a [{model.section}] has no spikes to draw", 2)
    if sample >= len(split.labels):
        fail(f"--sample must be in [0, {len(split.labels) - 1}] for --part {part}, got {sample}", 2)
    shown = one_sample(model, split, sample)
    title = f"{part} sample {sample}, a {shown['label']}, read as {shown['read']}"
    with without_display():
        report.save_picture(plot.raster_layers(shown["layers"], input=shown["input"], title=title), picture)


@app.command()
def training(run: Run, picture: Picture) -> None:
    """Draw accuracy, firing rate and loss over the epochs of a training, also of one that is still running.

    For example:

    - `pnbx-snn training runs/digits -o training.png`
    """
    from pnbx_snn import plot

    metrics = read_metrics(run / METRICS_NAME)
    with without_display():
        report.save_picture(plot.training(metrics).figure, picture)


@app.command()
def info(
    run: Annotated[Path, typer.Argument(help="A run, a packed file, or a configuration (.toml).", metavar="RUN")],
    as_json: AsJson = False,
) -> None:
    """Show what is inside a run: parameters by part, ternary weights, configuration, checkpoint.

    A PNB-X network is counted beside the source document's column; a configuration is enough for that.

    For example:

    - `pnbx-snn info runs/digits`
    - `pnbx-snn info reference`
    - `pnbx-snn info runs/mnist --json`
    """
    if run.suffix == ".toml":
        config = resolve(load_config(run))
        model = planned_model(config)
        known: dict[str, Any] = {}
        parts: list[dict[str, Any]] = []
        title = f"{run}: not trained"
    else:
        model, config = _load(run)
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
        list[Path], typer.Argument(help="Runs of one configuration with different seeds.", metavar="RUN...")
    ],
    part: Part = "test",
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Measure several runs and show mean and standard deviation over their seeds.

    For example:

    - `pnbx-snn summary runs/mnist_0 runs/mnist_1 runs/mnist_2 --data DIR`
    """
    rows = []
    for run in runs:
        model, config, split = _with_data(run, data, part)
        measured = evaluate(model, split)
        hours = sum(row.get("seconds", 0.0) for row in read_metrics(run / METRICS_NAME)) / 3600
        rows.append({"run": str(run), "seed": config.train.seed, **measured, "hours": round(hours, 3)})
    accuracy = [row["accuracy"] for row in rows]
    total: dict[str, Any] = {
        "mean": statistics.mean(accuracy),
        "sd": statistics.stdev(accuracy) if len(accuracy) > 1 else None,
    }
    if as_json:
        typer.echo(json.dumps({"part": part, "runs": rows, **total}))
        return
    report.show_summary(f"{rows[0]['n']} {part} samples", rows, **total)


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
    model, _, split = _with_data(run, data, part)
    result = measure_neurobench(model, split.first(samples or len(split.labels)))
    if as_json:
        typer.echo(json.dumps({"part": part, **result}))
        return
    report.show_neurobench(f"{run}: NeuroBench {result['neurobench']}, {result['n']} {part} samples", result)


@app.command()
def pack(
    run: Run,
    file: Annotated[
        Path,
        typer.Option("-o", "--output", help="A .safetensors file, or a folder for the Hub's format.", metavar="FILE"),
    ],
    data: DataFolder = None,
    measure: Annotated[bool, typer.Option(help="Measure on the test samples and keep the numbers in the file.")] = True,
) -> None:
    """Write a trained network as one small file, its ternary weights in two bits each.

    `pnbx-snn eval`, `raster` and `info` take the file in place of a run. A name without a suffix becomes a folder in
    the format of the Hugging Face Hub, with a model card; `pnbx_snn.training.pretrained.from_pretrained` reads it.

    For example:

    - `pnbx-snn pack runs/mnist -o mnist.safetensors --data DIR`
    - `pnbx-snn pack runs/mnist -o mnist-ternary --data DIR`
    """
    measured: dict[str, Any] = {}
    model, config = load_run(run)
    if measure:
        measured = {"part": "test", **evaluate(model, load_split(_data(config, data), "test"))}
    if file.suffix:
        size = pack_run(run, file, measured=measured, loaded=(model, config))
    else:
        size = (save_pretrained(run, file, measured=measured) / WEIGHTS).stat().st_size
    accuracy = f", test accuracy {measured['accuracy']:.2%}" if measured else ""
    say(f"wrote {file}: {size:,} bytes{accuracy}")


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
        list[str] | None,
        typer.Option("--section", help=f"Only this one of {', '.join(SECTIONS)}; may be given more than once."),
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
    model, config = _load(run)
    costs = analyze_run(run, model, _data(config, data), part=part, samples=samples, sample=sample)
    built = sections(costs, section or ())
    for table in (part for one in built for part in one.parts if isinstance(part, page.Table)):
        if not table.folded:
            report.show(table)
    say(f"wrote {write_report(costs, built, output)} and report.json")


@app.command()
def download(
    name: Annotated[Literal["mnist", "fsdd"], typer.Argument(help="Which data set.")],
    data: Annotated[Path, typer.Option("--data", help="The folder to put it in.", metavar="DIR")],
) -> None:
    """Fetch a public data set and check it; files that are there and right are kept.

    For example:

    - `pnbx-snn download mnist --data data`
    """
    from pnbx_snn.data.catalog import download as fetch

    with console.download_progress() as progress:
        fetch(name, data, progress=progress)
    say(f"{name} is in {data}. Next: pnbx-snn train pnbx_snn/configs/{name}.toml --data {data}")


def main() -> None:
    """Entry point of the ``pnbx-snn`` command."""
    app()


def _load(run: Path) -> tuple[Network, Config]:
    """Load the network of a run's folder or of a packed file."""
    return load_packed(run)[:2] if run.is_file() else load_run(run)


def _data(config: Config, folder: Path | None) -> DataConfig:
    return config.data if folder is None else config.data.model_copy(update={"folder": str(folder)})


def _with_data(run: Path, folder: Path | None, part: SplitPart) -> tuple[Network, Config, Split]:
    model, config = _load(run)
    return model, config, load_split(_data(config, folder), part)


if __name__ == "__main__":
    main()
