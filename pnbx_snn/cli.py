"""The ``pnbx-snn`` command: train a spiking classifier, measure it, look at it."""

import json
import os
import shlex
import signal
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, NoReturn

import torch
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from pnbx_snn.checkpoint import CHECKPOINT_NAME, Network, build_model, load_run, read_meta
from pnbx_snn.config import load_config
from pnbx_snn.counts import PartCount, parameter_table
from pnbx_snn.errors import ConfigError, PnbxError, StorageError
from pnbx_snn.hippocampus import Hippocampus
from pnbx_snn.linear import BitLinear
from pnbx_snn.network import PNBX
from pnbx_snn.packed import load_packed, pack_run
from pnbx_snn.quantization import ternarize
from pnbx_snn.run_log import METRICS_NAME, read_metrics
from pnbx_snn.settings import Config, DataConfig
from pnbx_snn.tasks import load_split
from pnbx_snn.teacher import SmallCNN
from pnbx_snn.training import Metrics, TrainResult, evaluate
from pnbx_snn.training import train as run_training

out = Console()
err = Console(stderr=True)

Run = Annotated[Path, typer.Argument(help="A folder written by `pnbx-snn train` (or a packed file).", metavar="RUN")]
Part = Annotated[Literal["test", "validation"], typer.Option(help="Which images; never choose by the test images.")]
DataFolder = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of MNIST and FSDD; default: data.folder, or $PNBX_DATA.", metavar="DIR"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]


class _Commands(typer.core.TyperGroup):
    """Every command says what went wrong in one message, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except PnbxError as error:
            _fail(str(error), 2 if isinstance(error, ConfigError) else 1)


app = typer.Typer(
    name="pnbx-snn",
    cls=_Commands,
    help="Train spiking classifiers with ternary weights, measure them and look at their spikes.\n\n"
    "A first round:\n\n"
    "- `pnbx-snn train examples/configs/digits.toml --out runs/digits`\n"
    "- `pnbx-snn eval runs/digits`\n"
    "- `pnbx-snn raster runs/digits --sample 0 -o raster.png`\n\n"
    "Exit codes: 0 done, 1 an error, 2 wrong usage or configuration, 130 and 143 stopped by Ctrl-C and SIGTERM.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _fail(message: str, code: int) -> NoReturn:
    err.print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A TOML file, see examples/configs/digits.toml.", metavar="CONFIG")],
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
    weights as if it had never stopped (on one thread, to the bit).

    For example:

    - `pnbx-snn train examples/configs/digits.toml`
    - `pnbx-snn train digits.toml --set train.epochs=10 --set model.hidden=[128,128] --out runs/small`
    - `pnbx-snn train digits.toml --out runs/small --resume`
    - `pnbx-snn train examples/configs/mnist.toml --data DIR --set train.seed=1 --out runs/mnist1`
    - `torchrun --standalone --nproc_per_node 2 -m pnbx_snn.cli train digits.toml`
    """
    overrides = [*(set_ or []), *([] if data is None else [f"data.folder={json.dumps(str(data))}"])]
    settings = load_config(config, overrides)
    folder = Path("runs") / config.stem if out_dir is None else out_dir
    try:
        with _stoppable(), _shown(settings, quiet) as progress:
            result = run_training(settings, folder, resume=resume, progress=progress)
    except _Stopped as stopped:
        arguments = ["pnbx-snn", "train", str(config), *(word for text in overrides for word in ("--set", text))]
        arguments += ["--out", str(folder), "--resume"]
        err.print(f"{stopped}: {_what_is_saved(folder)}. To go on:", style="yellow", soft_wrap=True)
        err.print(f"  {shlex.join(arguments)}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(128 + stopped.signal) from None
    if not quiet and os.environ.get("RANK", "0") == "0":  # of several processes the first one speaks
        _show_result(result, settings, folder)


@app.command(name="eval")
def evaluate_run(run: Run, part: Part = "test", data: DataFolder = None, as_json: AsJson = False) -> None:
    """Measure the accuracy and the firing rates of a trained network.

    For example:

    - `pnbx-snn eval runs/digits`
    - `pnbx-snn eval runs/digits --part validation --json`
    """
    model, config = _load(run)
    # A run on train_all has learned from the validation images too.
    seen = part == "validation" and config.data.part == "train_all"
    result = {"part": part, "seen_in_training": seen, **evaluate(model, load_split(_data(config, data), part))}
    if as_json:
        typer.echo(json.dumps(result))
        return
    table = Table(title=f"{run}: {result['n']} {part} samples", show_header=False)
    table.add_row("accuracy", f"{result['accuracy']:.2%}")
    if result["firing_rate"] is not None:
        table.add_row("firing rate, spikes per neuron and step", f"{result['firing_rate']:.2%}")
    for name, rate in zip(_layer_names(model), result["firing_rate_layers"], strict=True):
        table.add_row(f"  {name}", f"{rate:.2%}")
    out.print(table)
    if seen:
        err.print("note: this run was trained on data.part='train_all', the validation images among them")


@app.command()
def raster(
    run: Run,
    picture: Annotated[Path, typer.Option("-o", "--output", help="The picture: .png, .pdf, .svg.", metavar="FILE")],
    sample: Annotated[int, typer.Option(min=0, help="Number of the sample in its part.")] = 0,
    part: Part = "test",
    data: DataFolder = None,
) -> None:
    """Draw the spikes that one sample evokes in every layer.

    For example:

    - `pnbx-snn raster runs/digits --sample 0 -o raster.png`
    """
    from pnbx_snn import plot

    model, config = _load(run)
    if isinstance(model, SmallCNN):
        _fail(f"{run}: a [cnn] has no spikes to draw", 2)
    split = load_split(_data(config, data), part)
    if sample >= len(split.labels):
        _fail(f"--sample must be in [0, {len(split.labels) - 1}] for --part {part}, got {sample}", 2)
    shown = split.images[sample : sample + 1]
    with torch.no_grad():
        x = model.encode(shown) if isinstance(model, PNBX) else model.encode(shown, generator=_generator())
        logits, spikes = model.classify(shown, generator=_generator())
    layers = {name: layer[:, 0] for name, layer in zip(_layer_names(model), spikes, strict=True)}
    title = f"{part} sample {sample}, a {split.labels[sample].item()}, read as {logits.argmax().item()}"
    with _agg():
        _save(plot.raster_layers(layers, input=x[:, 0], title=title), picture)


@app.command()
def training(
    run: Run,
    picture: Annotated[Path, typer.Option("-o", "--output", help="The picture: .png, .pdf, .svg.", metavar="FILE")],
) -> None:
    """Draw accuracy, firing rate and loss over the epochs of a training, also of one that is still running.

    For example:

    - `pnbx-snn training runs/digits -o training.png`
    """
    from pnbx_snn import plot

    metrics = read_metrics(run / METRICS_NAME)
    with _agg():
        _save(plot.training(metrics).figure, picture)


@app.command()
def info(
    run: Annotated[Path, typer.Argument(help="A run, a packed file, or a configuration (.toml).", metavar="RUN")],
    as_json: AsJson = False,
) -> None:
    """Show what is inside a run: parameters by part, ternary weights, configuration, checkpoint.

    A PNB-X network is counted beside the source document's column; a configuration is enough for that.

    For example:

    - `pnbx-snn info runs/digits`
    - `pnbx-snn info examples/configs/reference.toml`
    - `pnbx-snn info runs/mnist --json`
    """
    if run.suffix == ".toml":
        config = load_config(run)
        with torch.device("meta"):  # sizes are all that is asked for
            model = build_model(config)
        known: dict[str, Any] = {}
        parts: list[dict[str, Any]] = []
        title = f"{run}: not trained"
    else:
        model, config = _load(run)
        meta = read_meta(run / CHECKPOINT_NAME) if run.is_dir() else None
        known = meta.model_dump(include={"epoch", "step", "seed", "versions"}) if meta else {}
        parts = _parts(model)
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
        out.print(_document_table(counts))
    if parts:
        out.print(_parts_table(title, parts, total))
    for section, values in config.model_dump().items():
        text = ", ".join(f"{key}={value}" for key, value in values.items())
        out.print(f"[{section}] {text}", markup=False, highlight=False)
    if known:
        versions = ", ".join(f"{name} {version}" for name, version in known["versions"].items())
        out.print(versions, highlight=False, style="dim")


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
        model, config = load_run(run)
        measured = evaluate(model, load_split(_data(config, data), part))
        hours = sum(row.get("seconds", 0.0) for row in read_metrics(run / METRICS_NAME)) / 3600
        rows.append({"run": str(run), "seed": config.train.seed, **measured, "hours": round(hours, 3)})
    accuracy = [row["accuracy"] for row in rows]
    total = {"mean": statistics.mean(accuracy), "sd": statistics.stdev(accuracy) if len(accuracy) > 1 else None}
    if as_json:
        typer.echo(json.dumps({"part": part, "runs": rows, **total}))
        return
    table = Table("run", "seed", "accuracy", "firing rates", "hours", title=f"{rows[0]['n']} {part} samples")
    for row in rows:
        rates = " ".join(f"{rate:.2%}" for rate in row["firing_rate_layers"])
        table.add_row(row["run"], str(row["seed"]), f"{row['accuracy']:.2%}", rates, f"{row['hours']:.2f}")
    table.add_section()
    spread = f" ± {total['sd']:.2%}" if total["sd"] is not None else ""
    table.add_row("mean ± sd", "", f"{total['mean']:.2%}{spread}")
    out.print(table)


@app.command()
def pack(
    run: Run,
    file: Annotated[Path, typer.Option("-o", "--output", help="The file, by custom .safetensors.", metavar="FILE")],
    data: DataFolder = None,
    measure: Annotated[bool, typer.Option(help="Measure on the test samples and keep the numbers in the file.")] = True,
) -> None:
    """Write a trained network as one small file, its ternary weights in two bits each.

    `pnbx-snn eval`, `raster` and `info` take the file in place of a run.

    For example:

    - `pnbx-snn pack runs/mnist -o mnist.safetensors --data DIR`
    """
    measured: dict[str, Any] = {}
    if measure:
        model, config = load_run(run)
        measured = {"part": "test", **evaluate(model, load_split(_data(config, data), "test"))}
    size = pack_run(run, file, measured=measured)
    accuracy = f", test accuracy {measured['accuracy']:.2%}" if measured else ""
    out.print(f"wrote {file}: {size:,} bytes{accuracy}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def download(
    name: Annotated[Literal["mnist", "fsdd"], typer.Argument(help="Which data set.")],
    data: Annotated[Path, typer.Option("--data", help="The folder to put it in.", metavar="DIR")],
) -> None:
    """Fetch a public data set and check it; files that are there and right are kept.

    For example:

    - `pnbx-snn download mnist --data data`
    """
    from pnbx_snn.download import download as fetch

    with Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=err, transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show_bytes(file: str, size: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bar.add_task(file, total=total)
            bar.update(tasks[file], completed=size)

        fetch(name, data, progress=show_bytes)
    out.print(f"{name} is in {data}. Next: pnbx-snn train examples/configs/{name}.toml --data {data}", highlight=False)


def main() -> None:
    """Entry point of the ``pnbx-snn`` command."""
    app()


def _load(run: Path) -> tuple[Network, Config]:
    """Load the network of a run's folder or of a packed file."""
    return load_packed(run)[:2] if run.is_file() else load_run(run)


def _document_table(counts: list[PartCount]) -> Table:
    table = Table("part", "numbers", "here", "by gradient", "document", "difference")
    table.title = "Parameters as the document counts them"
    for column in table.columns[2:]:
        column.justify = "right"
    for row in counts:
        figures = (row.total, row.by_gradient, row.document, row.total - row.document)
        table.add_row(row.part, row.formula, *(f"{figure:,}" for figure in figures))
    table.add_section()
    sums = [sum(row.total for row in counts), sum(row.by_gradient for row in counts)]
    document = sum(row.document for row in counts)
    table.add_row("all", "", *(f"{figure:,}" for figure in (*sums, document, sums[0] - document)))
    return table


def _parts_table(title: str, parts: list[dict[str, Any]], total: dict[str, Any]) -> Table:
    table = Table("part", "parameters", "ternary bytes", "zeros", "gamma", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for part in parts:
        ternary = (
            (f"{part['weight_bytes']:,}", f"{part['zeros'] / part['weights']:.1%}", f"{part['gamma']:.4f}")
            if "gamma" in part
            else ()
        )
        table.add_row(part["name"], f"{part['parameters']:,}", *ternary)
    table.add_section()
    sums = (
        [f"{total['weight_bytes']:,} (2 bits each)", f"{total['zero_fraction']:.1%}"]
        if "zero_fraction" in total
        else []
    )
    table.add_row("all", f"{total['parameters']:,}", *sums)
    return table


def _data(config: Config, folder: Path | None) -> DataConfig:
    return config.data if folder is None else config.data.model_copy(update={"folder": str(folder)})


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _layer_names(model: Network) -> list[str]:
    if isinstance(model, PNBX):
        return ["encoder", *(f"block {i}" for i in range(1, len(model.blocks) + 1))]
    return [] if isinstance(model, SmallCNN) else [f"layer {i}" for i in range(1, len(model.layers) + 1)]


def _parts(model: Network) -> list[dict[str, Any]]:
    """Return name and parameters of each part, and for ternary weights their number, bytes, zeros and scale."""
    parts: list[dict[str, Any]] = []
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if not own:
            continue
        part: dict[str, Any] = {"name": name, "parameters": sum(parameter.numel() for parameter in own)}
        if isinstance(module, BitLinear | Hippocampus):
            latent = module.weight if isinstance(module, BitLinear) else module.K
            weight, gamma = ternarize(latent.detach(), scale=module.scale)
            part |= {
                "weights": weight.numel(),
                "weight_bytes": (weight.numel() + 3) // 4,  # four weights in a byte
                "zeros": int((weight == 0).sum()),
                "gamma": gamma.item(),
            }
        parts.append(part)
    return parts


class _Stopped(BaseException):
    """A signal asked the training to stop. No Exception: nothing on the way may take it for an error."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted" if number == signal.SIGINT else "terminated")
        self.signal = number


@contextmanager
def _stoppable() -> Iterator[None]:
    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        raise _Stopped(number)

    # A signal that the parent told us to ignore (a job in the background of a script) stays ignored.
    asked = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in asked}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _shown(config: Config, quiet: bool) -> Iterator[Callable[[Metrics], None] | None]:
    """Yield a callback that shows each epoch on standard error: a bar on a terminal, about ten lines elsewhere."""
    epochs = config.train.epochs
    if quiet:
        yield None
        return
    if not err.is_terminal:
        every = max(1, epochs // 10)

        def show_line(metrics: Metrics) -> None:
            if metrics["epoch"] % every == 0 or metrics["epoch"] == epochs:
                err.print(f"epoch {metrics['epoch']} of {epochs}: {_summary(metrics)}", highlight=False, soft_wrap=True)

        yield show_line
        return
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs {task.fields[note]}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task("training", total=epochs, note="")
        yield lambda metrics: bar.update(task, completed=metrics["epoch"], note=_summary(metrics))


def _summary(metrics: Metrics) -> str:
    accuracy = f"accuracy {metrics['accuracy_train']:.1%}"
    if metrics["accuracy_validation"] is not None:
        accuracy += f" (validation {metrics['accuracy_validation']:.1%})"
    rates = " ".join(f"{100 * rate:.1f}" for rate in metrics["firing_rate_layers"])
    return f"loss {metrics['loss']:.3f}  {accuracy}" + (f"  firing rates {rates} %" if rates else "")


def _show_result(result: TrainResult, config: Config, folder: Path) -> None:
    if result.metrics is None:
        out.print(f"Nothing to do: all {config.train.epochs} epochs are trained.", highlight=False)
    else:
        out.print(f"Trained {result.epoch} epochs: {_summary(result.metrics)}", highlight=False, soft_wrap=True)
    out.print(
        f"Everything is in {folder}/. Next: pnbx-snn eval {shlex.quote(str(folder))}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _what_is_saved(folder: Path) -> str:
    path = folder / CHECKPOINT_NAME
    return f"epoch {read_meta(path).epoch} is saved in {folder}" if path.exists() else "no epoch is saved yet"


@contextmanager
def _agg() -> Iterator[None]:
    """Draw without a display."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    before = mpl.get_backend()
    plt.switch_backend("agg")
    try:
        yield
    finally:
        plt.close("all")
        plt.switch_backend(before)


def _save(figure: Any, path: Path) -> None:
    kinds = figure.canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".").lower() not in kinds:
        _fail(f"-o must end in one of {', '.join(f'.{kind}' for kind in sorted(kinds))}, got {path}", 2)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise StorageError(f"{path}: the picture could not be written ({error.strerror})") from error
    out.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
