"""The command that searches."""

from __future__ import annotations

import json
import math
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import pnbx_extras
from pnbx_snn import console
from pnbx_snn.cli.app import AsJson, DataFolder, Quiet, app
from pnbx_snn.cli.search_progress import search_progress
from pnbx_snn.configs import config_path
from pnbx_snn.console import Stopped, fail, say

if TYPE_CHECKING:
    from pnbx_snn.search.processes import Plan
    from pnbx_snn.search.result import Front


@app.command()
def search(
    config: Annotated[
        str, typer.Argument(help="A name that `pnbx-snn config` lists, or a TOML file.", metavar="CONFIG")
    ],
    trials: Annotated[
        int, typer.Option(min=0, help="Trainings in all, those of earlier calls included; 0: only show.")
    ] = 30,
    objectives: Annotated[
        str,
        typer.Option(
            help="What is weighed: accuracy (validation), bytes (ternary weights at 2 bits), operations (a sample), "
            "state_bytes (a stream's), file_bytes (the packed file).",
            metavar="A,B,...",
        ),
    ] = "accuracy,bytes,operations",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Override one key for all trials; may be given more than once.", metavar="SECTION.KEY=VALUE"
        ),
    ] = None,
    space: Annotated[
        Path | None, typer.Option(help="A TOML file whose section [search] is taken, not CONFIG's.", metavar="FILE")
    ] = None,
    most_bytes: Annotated[
        int | None, typer.Option(min=1, help="Larger networks are drawn again before they are trained.", metavar="N")
    ] = None,
    least_accuracy: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share, 0 to 1; less is not on the front.", metavar="X")
    ] = None,
    pruning: Annotated[
        Literal["halving", "none"],
        typer.Option(
            help="halving: stop a trial after 1/8, 1/4 or 1/2 of its epochs unless the better half, by Pareto "
            "rank, of those that came so far has it."
        ),
    ] = "halving",
    processes: Annotated[int, typer.Option(min=1, max=256, help="So many trials at a time.")] = 1,
    bound: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Bytes: a line in the picture and a sentence on whether the search contradicts that "
            "98 % needs so many. Default: 15000, of the source document, for MNIST; 0: none.",
            metavar="N",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder; default: runs/NAME_search for NAME.toml.", metavar="DIR")
    ] = None,
    data: DataFolder = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the space and a configuration drawn from it; train nothing.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Search for networks that read well and cost little: many trainings, and the Pareto front of what they found.

    Each trial is an ordinary run in `DIR/trials/NUMBER`: `pnbx-snn eval`, `pack` and `neuromorphic compile` take it. It
    learns from the training part and is measured on the validation part, never on test samples.

    Stop it with Ctrl-C, or kill it: the same command goes on, with unfinished trials first. More `--trials` go on too.

    What is searched stands in a section of CONFIG, as choices or ranges (without it: pathways, widths and depth):

        [search]
        pnbx.ssm = ["none", "real", "selective"]
        pnbx.d_hidden = [64, 128, 256, 512]
        train.learning_rate = {low = 0.001, high = 0.01, log = true}
        model.hidden = {low = 16, high = 128, log = true, length = [1, 2]}

    For example:

    - `pnbx-snn search digits --dry-run`
    - `pnbx-snn search digits --trials 20 --set train.epochs=16`
    - `pnbx-snn search small.toml --data DIR --trials 60 --objectives accuracy,bytes --most-bytes 12000 --processes 2`
    - `pnbx-snn search small.toml --data DIR --trials 0` shows the front so far, also of a search that is running
    """
    if missing := pnbx_extras.missing("search", "pnbx-snn search"):
        fail(missing, 1)
    file = config_path(config)
    folder = Path("runs") / f"{file.stem}_search" if out_dir is None else out_dir
    overrides = [*(set_ or []), *([] if data is None else [f"data.folder={json.dumps(str(data))}"])]
    with console.loading():
        from pnbx_snn.search import processes as workers
        from pnbx_snn.search.objectives import parse_objectives
        from pnbx_snn.search.records import Limits
        from pnbx_snn.search.result import BOUND
        from pnbx_snn.training.config import load_config
    wanted = parse_objectives(objectives)
    base = workers.searched_config(load_config(file, overrides))
    limits = Limits(most_bytes, least_accuracy)
    plan = workers.Plan(base.model_dump(), space or file, folder, wanted, limits, trials, pruning, seed)
    if dry_run:
        show_space(plan)
        return
    if bound is None:
        bound = BOUND if base.data.name.startswith("mnist") else 0
    try:
        with console.stoppable(), search_progress(trials, wanted, quiet=quiet) as told:
            workers.run(plan, processes, told)
    except Stopped as stopped:
        _conclude(plan, bound, quiet=True, as_json=False)
        say(f"{stopped}: finished epochs are saved in {folder}. To go on:", console.err, "yellow")
        say(f"  {_again(config, set_, data, space, plan, processes, folder)}", console.err)
        raise typer.Exit(128 + stopped.signal) from None
    _conclude(plan, bound, quiet=quiet, as_json=as_json)


def _again(
    config: str, set_: list[str] | None, data: Path | None, space: Path | None, plan: Plan, processes: int, folder: Path
) -> str:
    """Return the command that goes on."""
    words = ["pnbx-snn", "search", config, *(word for text in set_ or () for word in ("--set", text))]
    words += ["--trials", str(plan.most), "--objectives", ",".join(plan.objectives), "--out", str(folder)]
    given: dict[str, Any] = {"--data": data, "--space": space, "--most-bytes": plan.limits.most_bytes}
    given |= {"--least-accuracy": plan.limits.least_accuracy}
    words += [word for name, value in given.items() if value is not None for word in (name, str(value))]
    words += ["--processes", str(processes)] * (processes > 1) + ["--pruning", "none"] * (plan.pruning == "none")
    return shlex.join([*words, *(["--seed", str(plan.seed)] * (plan.seed > 0))])


def _conclude(plan: Plan, bound: int, *, quiet: bool, as_json: bool) -> None:
    """Write what was found, and show it."""
    from pnbx_snn import report
    from pnbx_snn.search.result import (
        FRONT_NAME,
        PICTURE_NAME,
        TABLE_NAME,
        front,
        front_table,
        summary,
        verdict,
        write_files,
    )
    from pnbx_snn.search.result import as_json as plain

    found = front(plan.study().records(), plan.objectives, plan.limits)
    said = verdict(found.records, bound) if bound else ""
    write_files(found, plan.out, bound=bound, said=said)
    if found.best:
        draw(found, plan.out / PICTURE_NAME, bound)
    if as_json:
        typer.echo(json.dumps(plain(found, bound, said)))
        return
    if quiet:
        return
    counts = summary(found.records)
    if not found.best:
        say(f"{plan.out}: {counts}. There is no front yet.")
        return
    report.show(front_table(found, f"Pareto front: {counts}"))
    if said:
        say(said)
    files = f"{TABLE_NAME}, {FRONT_NAME} and {PICTURE_NAME}"
    best = max(found.best, key=lambda record: record.measured["accuracy"])
    trial = plan.out / "trials" / f"{best.number:04d}"
    say(f"{files} are in {plan.out}/. Next, for example: pnbx-snn pack {shlex.quote(str(trial))} -o small.safetensors")


def show_space(plan: Plan) -> None:
    """Show what may be drawn, and one configuration that was."""
    from pnbx_snn import report
    from pnbx_snn.metrics.page import Table
    from pnbx_snn.search.objectives import weight_bytes

    space = plan.space()
    rows = [list(row) for row in space.rows()]
    size = "endlessly many" if math.isinf(space.size) else f"at most {space.size:,.0f}"
    report.show(
        Table(f"What is searched: {size} networks", ["key", "may be", "in the configuration"], rows, cards=True)
    )
    with tempfile.TemporaryDirectory() as folder:
        taken = plan._replace(out=Path(folder)).study().take(1)
    assert taken is not None
    keys = ", ".join(f"{name} = {json.dumps(value)}" for name, value in taken.drawn.items())
    size_bytes, epochs = weight_bytes(taken.config), taken.config.train.epochs
    say(f"The first draw, {size_bytes:,} bytes of ternary weights, {epochs} epochs: {keys}")


def draw(found: Front, path: Path, bound: int) -> None:
    """Draw the front into a file."""
    from pnbx_snn import plot, report
    from pnbx_snn.search.objectives import ABOUT

    finished = [record for record in found.records if record.state == "complete"]
    costs = {ABOUT[name].axis: [max(1.0, r.measured[name]) for r in finished] for name in found.costs}
    costs = costs or {ABOUT["bytes"].axis: [r.measured["bytes"] for r in finished]}
    lines = {ABOUT["bytes"].axis: {f"{bound:,} bytes: the document's bound": float(bound)}} if bound else {}
    best = {record.number for record in found.best}
    with report.drawing():
        figure = plot.pareto(
            costs,
            [record.measured["accuracy"] for record in finished],
            front=[i for i, record in enumerate(finished) if record.number in best],
            names=[str(record.number) for record in finished],
            lines=lines,
            title="Errors on the validation samples, by what a network costs",
        )
        plot.save(figure, path)
