"""The section of a report that shows ``measurements.json``: tables, times with their fits, accuracy against bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pnbx_snn.metrics.page import Figure, Section, Table
from pnbx_snn.metrics.words import amount
from studies.claims import charts
from studies.claims.evidence import EQUAL, MEASURE, NATIVE, Measurements, missing
from studies.claims.facts import GPU, total_fits
from studies.claims.trained import Trained
from studies.claims.words import bytes_words, seconds
from studies.measurements.fits import Fit, crossing
from studies.measurements.process import ONNX

TABLES: tuple[tuple[str, str, str], ...] = (
    ("latency_p50", "A step at position L, median", "s"),
    ("latency_p99", "A step at position L, 99th percentile", "s"),
    ("memory_resident", "Resident memory at length L", "bytes"),
    ("total_time", "A whole sequence of L", "s"),
    ("latency_ratio", "Step: best Transformer form of equal size over PNB-X native", "times"),
    ("latency_bound_ratio", "Its matrix products and attention alone over PNB-X's whole step", "times"),
    ("memory_ratio", "Resident memory: best Transformer form of equal size over PNB-X native", "times"),
    ("memory_growth", "Growth of resident memory from step 256", "bytes"),
)
ALONE: tuple[tuple[str, str], ...] = (
    ("cold_start", "cold start to the first step"),
    ("file_size", "file"),
    ("image_p50", "a static image"),
    ("training_throughput", "training, tokens a second"),
)
CURVES = (
    (NATIVE, "native", "PNB-X native"),
    (EQUAL, "fp32", "equal, fp32"),
    (EQUAL, "int8", "equal, int8"),
    (EQUAL, "int8, int8 KV", "equal, int8, int8 cache"),
    (EQUAL, f"int8, int8 KV, {ONNX}", f"the same in {ONNX}"),
    ("Transformer, document", "fp32", "document's, fp32"),
    ("GRU", "int8", "GRU, int8"),
    ("SSM", "int8", "SSM, int8"),
)


SHOWN_DECODING = ("int8, decoding", f"int8, int8 KV, {ONNX}, decoding")


def show(value: float | int, unit: str) -> str:
    """Return a value in its unit.

    Examples
    --------
    >>> show(8.1e-5, "s"), show(1310308, "bytes"), show(47.39, "times")
    ('81.0 µs', '1.31 MB', '47.4')
    """
    if unit == "s":
        return seconds(float(value))
    if unit == "bytes":
        return bytes_words(value)
    return f"{value:,.1f}" if unit == "times" else amount(value)


def by_length(m: Measurements, quantity: str, title: str) -> Table | None:
    """Return a table with a column for each length, ``None`` without rows."""
    rows = m.all(quantity)
    if not rows:
        return None
    lengths = sorted({row.length for row in rows if row.length is not None})
    cells = []
    for model, form in dict.fromkeys((row.model, row.form) for row in rows):
        found = {row.length: row for row in rows if (row.model, row.form) == (model, form)}
        name = model if form in model else f"{model}, {form}"
        cells.append([name, *(show(found[at].value, found[at].unit) if at in found else "-" for at in lengths)])
    columns = ["network", *(f"{at:,}" for at in lengths)]
    note = "-: not part of this measurement." if any("-" in row for row in cells) else ""
    return Table(f"{title} (measured)", columns, cells, note)


def _alone(m: Measurements) -> Table:
    """Return what does not depend on a length: a row for each network, a column for each quantity."""
    found = {(r.quantity, f"{r.model}, {r.form}".removesuffix(", ")): r for q, _ in ALONE for r in m.all(q)}
    rows = []
    for name in dict.fromkeys(name for _, name in found):
        cells = [found.get((quantity, name)) for quantity, _ in ALONE]
        rows.append([name, *("-" if row is None else show(row.value, row.unit) for row in cells)])
    absent = [f"{title}: {missing(MEASURE)}" for quantity, title in ALONE if not m.all(quantity)]
    columns = ["network", *(title for _, title in ALONE)]
    return Table("Once each (measured)", columns, rows, "; ".join(absent))


def gpu_words(m: Measurements) -> str:
    """Return what is known of a GPU's joules."""
    rows = m.all("gpu_joules_token")
    if rows:
        return "GPU, measured by NVML: " + ", ".join(f"{r.model} {amount(float(r.value))}J a token" for r in rows) + "."
    why = m.machine.get("gpu")
    return f"Joules of a GPU: not measured: {why}." if why else f"Joules of a GPU: {missing(GPU)}."


def _fit_rows(m: Measurements) -> tuple[Table | None, Figure | None, dict[str, Any]]:
    fits = total_fits(m)
    name = f"{NATIVE}, native"
    if name not in fits:
        return None, None, {}
    ours, rows, data = fits[name], [], {}
    for other, found in fits.items():
        words = "-"
        if other != name:
            at = crossing(ours, found, lowest=1, highest=1e7)
            words = "never up to 10^7" if at is None else "from the first step" if at <= 1 else f"from L = {at:,.0f}"
        rows.append([other, found.words(8192), f"{found.worst:.0%}", words])
        data[other] = {"a": found.a, "b": found.b, "c": found.c, "worst": found.worst, "pnbx_below": words}
    table = Table(
        "Whole sequences: fitted a + b L + c L²",
        ["network", "fit", "largest error", "PNB-X native is faster"],
        rows,
        "Transformers read the sequence at once (prefill), or step by step (decoding, from the measured latencies). "
        "The crossing is that of the fits and may lie outside of what was measured. Terms below a thousandth at 8,192 "
        "are left out.",
    )
    shown = [key for key in fits if "decoding" not in key or key.endswith(SHOWN_DECODING)]
    points = {}
    for key in shown:
        of = [r for r in m.all("total_time") if f"{r.model}, {r.form}" == key and r.length]
        points[_short(key)] = [(float(r.length or 0), float(r.value)) for r in of]
    lengths = [int(x) for series in points.values() for x, _ in series if x <= 8192]
    curves: dict[str, Fit] = {_short(key): fits[key] for key in shown}
    points = {key: [p for p in series if p[0] <= 8192] for key, series in points.items()}
    figure = charts.lines(
        points, title="Total time against length", x="length L", y="s", dashed=charts.fitted(curves, lengths),
        note="Points measured, dashed: fits.",
    )  # fmt: skip
    return table, figure, data


def _short(name: str) -> str:
    return name.replace("Transformer, ", "").replace("document,", "document's,")


def latency_figure(m: Measurements) -> Figure | None:
    """Return the time of a step against its position; ``None`` without measurements."""
    series = {}
    for model, form, label in CURVES:
        points = [(float(r.length or 0), 1e6 * float(r.value)) for r in m.all("latency_p50", model=model, form=form)]
        if points:
            series[label] = [p for p in points if p[0] <= 100_000]
    if not series:
        return None
    return charts.lines(series, title="A step at position t", x="position t", y="µs a step, median")


def measured_section(m: Measurements) -> Section:
    """Return everything that was measured; without a file, what to do."""
    if not m:
        text = [missing(MEASURE), "It measures latency, memory and time against length, files and cold starts."]
        table = Table(
            "What is missing", ["what", "value"],
            [[title, missing(MEASURE)] for title in (*(t for _, t, _ in TABLES), *(t for _, t in ALONE))]
            + [["joules of a GPU", missing(GPU)]],
        )  # fmt: skip
        return Section("measurements", "Measured", text, [table], {"rows": 0})
    load = m.machine.get("load_average")
    text = [
        f"Measured on {m.machine.get('processor')}, {m.machine.get('vectors')}, {m.machine.get('threads')} thread, "
        f"Python {m.machine.get('python')}; rivals take turns; processor time. Load when it began: {load}."
    ]
    if m.quick:
        text.append("A quick measurement: it shows that measuring works, and nothing about speed.")
    text.append(gpu_words(m))
    tables = [by_length(m, quantity, title) for quantity, title, _ in TABLES]
    fits, figure, data = _fit_rows(m)
    parts: list[Table | Figure | None] = [latency_figure(m), figure, fits, *tables, _alone(m)]
    found = {"rows": len(m.rows), "machine": m.machine, "fits": data}
    return Section("measurements", "Measured", text, [part for part in parts if part is not None], found)


def accuracy_figure(run: Trained | None, quoted: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """Return accuracy against bytes: a run in each packing and mixed precision, and results measured before.

    Parameters
    ----------
    run
        A run, or ``None``.
    quoted
        Results measured before: bytes and accuracy in per cent.
    """
    points: dict[str, list[tuple[float, float]]] = {}
    if run is not None:
        points["PNB-X: this run, by packing"] = [
            (float(p.total), 100 * run.costs.accuracy) for p in run.costs.packings[:5]
        ]
        mixed = [(float(x.weight_bytes), 100 * x.accuracy) for x in run.mixed[1:]]
        points["this run, parts of it in fp16"] = mixed
    points |= {name: list(pairs) for name, pairs in quoted.items()}
    return charts.scatter(
        points, title="Accuracy against bytes", x="bytes of weights", y="accuracy, %",
        note="A packing changes bytes and nothing else; fp16 in place of ternary changes the network.",
    )  # fmt: skip
