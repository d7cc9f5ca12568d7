"""Tables and pictures of the ``pnbx-snn`` command."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import table as terminal

from pnbx_snn.console import fail, out
from pnbx_snn.metrics.counts import PartCount
from pnbx_snn.metrics.page import Table
from pnbx_snn.plot import PlotError, without_display


def show(table: Table, total: Sequence[str] = ()) -> None:
    """Show a table on the terminal; the row of totals stands below a line."""
    shown = terminal.Table(title=table.title, show_header=bool(table.columns))
    for number, name in enumerate(table.columns or [""] * len(table.rows[0])):
        shown.add_column(name, justify="right" if number in table.numbers else "left")
    for row in table.rows:
        shown.add_row(*row)
    if total:
        shown.add_section()
        shown.add_row(*total)
    out.print(shown)


def show_evaluation(title: str, measured: dict[str, Any], names: list[str]) -> None:
    """Show what :func:`pnbx_snn.training.evaluate.evaluate` measured."""
    rows = [["accuracy", f"{measured['accuracy']:.2%}"]]
    if measured["firing_rate"] is not None:
        rows.append(["firing rate, spikes per neuron and step", f"{measured['firing_rate']:.2%}"])
    rates = zip(names, measured["firing_rate_layers"], strict=True)
    rows += [[f"  {name}", f"{rate:.2%}"] for name, rate in rates]
    if "event_mean_layers" in measured:
        means = zip(names, measured["event_mean_layers"], strict=True)
        rows += [["mean value of a graded event", ""], *([f"  {name}", f"{mean:.4f}"] for name, mean in means)]
    show(Table(title, [], rows))


def show_neurobench(title: str, measured: dict[str, Any]) -> None:
    """Show what :func:`pnbx_snn.metrics.neurobench.neurobench` measured."""
    operations = measured["synaptic_operations"]
    rows = [
        ["accuracy", f"{measured['accuracy']:.2%}"],
        ["footprint, packed", f"{measured['footprint']:,} bytes"],
        ["footprint, as trained (float32)", f"{measured['footprint_float32']:,} bytes"],
        ["connection sparsity", f"{measured['connection_sparsity']:.4f}"],
        ["activation sparsity", f"{measured['activation_sparsity']:.4f}"],
        ["synaptic operations a sample: additions", f"{operations['Effective_ACs']:,.0f}"],
        ["  multiply-accumulates", f"{operations['Effective_MACs']:,.0f}"],
        ["  if nothing were zero", f"{operations['Dense']:,.0f}"],
    ]
    show(Table(title, [], rows))


def show_summary(title: str, rows: list[dict[str, Any]], mean: float, sd: float | None) -> None:
    """Show several runs, one a row, and their mean accuracy."""
    cells = []
    for row in rows:
        rates = " ".join(f"{rate:.2%}" for rate in row["firing_rate_layers"])
        zeros = "" if row["zero_fraction"] is None else f"{row['zero_fraction']:.1%}"
        cells.append([row["run"], str(row["seed"]), f"{row['accuracy']:.2%}", rates, zeros, f"{row['hours']:.2f}"])
    spread = f" ± {sd:.2%}" if sd is not None else ""
    columns = ["run", "seed", "accuracy", "firing rates", "zeros", "hours"]
    show(Table(title, columns, cells), ["mean ± sd", "", f"{mean:.2%}{spread}"])


def show_document(counts: list[PartCount]) -> None:
    """Show the numbers of a PNB-X network beside the source document's column."""
    figures = [[row.total, row.by_gradient, row.document, row.total - row.document] for row in counts]
    cells = [[row.part, row.formula, *map("{:,}".format, own)] for row, own in zip(counts, figures, strict=True)]
    columns = ["part", "numbers", "here", "by gradient", "document", "difference"]
    sums = (f"{sum(column):,}" for column in zip(*figures, strict=True))
    show(Table("Parameters as the document counts them", columns, cells), ["all", "", *sums])


def show_parts(title: str, parts: list[dict[str, Any]], total: dict[str, Any]) -> None:
    """Show parameters and ternary weights of each part, see :func:`pnbx_snn.metrics.counts.parameter_parts`."""
    rows = []
    for part in parts:
        ternary = ["", "", ""]
        if "gamma" in part:
            zeros = f"{part['zeros'] / part['weights']:.1%}"
            ternary = [f"{part['weight_bytes']:,}", zeros, f"{part['gamma']:.4f}"]
        rows.append([part["name"], f"{part['parameters']:,}", *ternary])
    sums = ["all", f"{total['parameters']:,}"]
    if "zero_fraction" in total:
        sums += [f"{total['weight_bytes']:,} (2 bits each)", f"{total['zero_fraction']:.1%}"]
    show(Table(title, ["part", "parameters", "ternary bytes", "zeros", "gamma"], rows), sums)


@contextmanager
def drawing() -> Iterator[None]:
    """Draw without a display inside; what cannot be drawn is an error in words."""
    with without_display():
        try:
            yield
        except PlotError as error:
            fail(str(error), 1)
