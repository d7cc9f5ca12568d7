"""Tables and pictures of the ``pnbx-snn`` command."""

from pathlib import Path
from typing import Any

from rich.table import Table

from pnbx_snn.console import fail, out
from pnbx_snn.errors import StorageError
from pnbx_snn.metrics import page
from pnbx_snn.metrics.counts import PartCount


def evaluation_table(title: str, measured: dict[str, Any], names: list[str]) -> Table:
    """Show what :func:`pnbx_snn.training.evaluate.evaluate` measured."""
    table = Table(title=title, show_header=False)
    table.add_row("accuracy", f"{measured['accuracy']:.2%}")
    if measured["firing_rate"] is not None:
        table.add_row("firing rate, spikes per neuron and step", f"{measured['firing_rate']:.2%}")
    for name, rate in zip(names, measured["firing_rate_layers"], strict=True):
        table.add_row(f"  {name}", f"{rate:.2%}")
    return table


def neurobench_table(title: str, measured: dict[str, Any]) -> Table:
    """Show what :func:`pnbx_snn.metrics.neurobench.neurobench` measured."""
    operations = measured["synaptic_operations"]
    table = Table(title=title, show_header=False)
    table.add_row("accuracy", f"{measured['accuracy']:.2%}")
    table.add_row("footprint, packed", f"{measured['footprint']:,} bytes")
    table.add_row("footprint, as trained (float32)", f"{measured['footprint_float32']:,} bytes")
    table.add_row("connection sparsity", f"{measured['connection_sparsity']:.4f}")
    table.add_row("activation sparsity", f"{measured['activation_sparsity']:.4f}")
    table.add_row("synaptic operations a sample: additions", f"{operations['Effective_ACs']:,.0f}")
    table.add_row("  multiply-accumulates", f"{operations['Effective_MACs']:,.0f}")
    table.add_row("  if nothing were zero", f"{operations['Dense']:,.0f}")
    return table


def summary_table(title: str, rows: list[dict[str, Any]], mean: float, sd: float | None) -> Table:
    """Show several runs, one a row, and their mean accuracy."""
    table = Table("run", "seed", "accuracy", "firing rates", "hours", title=title)
    for row in rows:
        rates = " ".join(f"{rate:.2%}" for rate in row["firing_rate_layers"])
        table.add_row(row["run"], str(row["seed"]), f"{row['accuracy']:.2%}", rates, f"{row['hours']:.2f}")
    table.add_section()
    spread = f" ± {sd:.2%}" if sd is not None else ""
    table.add_row("mean ± sd", "", f"{mean:.2%}{spread}")
    return table


def document_table(counts: list[PartCount]) -> Table:
    """Show the numbers of a PNB-X network beside the source document's column."""
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


def parts_table(title: str, parts: list[dict[str, Any]], total: dict[str, Any]) -> Table:
    """Show parameters and ternary weights of each part, see :func:`pnbx_snn.metrics.counts.parameter_parts`."""
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


def plain_table(table: page.Table) -> Table:
    """Show a table of a report on a terminal."""
    shown = Table(title=table.title)
    for number, name in enumerate(table.columns):
        shown.add_column(name, justify="right" if number in table.numbers else "left")
    for row in table.rows:
        shown.add_row(*row)
    return shown


def save_picture(figure: Any, path: Path) -> None:
    """Write a figure in the format that the ending of its file names."""
    kinds = figure.canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".").lower() not in kinds:
        fail(f"-o must end in one of {', '.join(f'.{kind}' for kind in sorted(kinds))}, got {path}", 2)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise StorageError(f"{path}: the picture could not be written ({error.strerror})") from error
    out.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)
