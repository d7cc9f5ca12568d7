"""Sections of a report that are counted: parameters, operations, memory."""

from __future__ import annotations

from typing import Any

import torch

from pnbx_snn.metrics.counts import REFERENCE as DOCUMENT_PARTS
from pnbx_snn.metrics.counts import parameter_table
from pnbx_snn.networks.classifier import SpikingClassifier, SpikingLayer
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.report import parameter_parts
from studies.claims.closed_forms import (
    DOCUMENT,
    EQUAL,
    KINDS,
    cache_bytes,
    parameters,
    sizes_of,
    state_bytes,
    transformer_parameters,
)
from studies.claims.energy_scenarios import assumed_step
from studies.claims.evidence import NATIVE, Measurements
from studies.claims.facts import skipped_share
from studies.counted.operations import totals
from studies.counted.packing import packings, zero_share
from studies.counted.run_analysis import RunAnalysis
from studies.report import charts
from studies.report.report_parts import Figure, Section, Table

LENGTHS = (256, 784, 2048, 8192, 100_000)


def reference_network() -> PNBX:
    """Return the reference network with fresh weights, whatever the global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PNBX(in_features=784, num_classes=10, num_steps=4, d_hidden=2048)


def parameter_section(model: PNBX | SpikingClassifier) -> Section:
    """Return the numbers by part: closed form, counted, and the document's for its own configuration."""
    if isinstance(model, PNBX):
        forms = parameters(sizes_of(model))
        counted = {row.part: row for row in parameter_table(model)}
        rows = []
        for part, expected in forms.items():
            row = counted[part]
            document = f"{DOCUMENT_PARTS[part]:,}" if part in DOCUMENT_PARTS else "-"
            rows.append([part, f"{expected:,}", f"{row.total:,}", f"{row.by_gradient:,}", document])
        whole = [sum(r.total for r in counted.values()), sum(r.by_gradient for r in counted.values())]
        rows.append(
            ["all", f"{sum(forms.values()):,}", *(f"{x:,}" for x in whole), f"{sum(DOCUMENT_PARTS.values()):,}"]
        )
        columns = ["part", "closed form", "counted", "by gradient", "document"]
        note = "As the document counts: glia's numbers and the fast half of a hippocampus, which are state, included."
        data: dict[str, Any] = {"closed_form": forms, "counted": {k: r.total for k, r in counted.items()}}
    else:
        parts = parameter_parts(model)
        rows = [[p["name"], f"{p['parameters']:,}", f"{p.get('weights', 0):,}"] for p in parts]
        rows.append(["all", f"{sum(p['parameters'] for p in parts):,}", f"{sum(p.get('weights', 0) for p in parts):,}"])
        columns, note = ["part", "counted", "of them ternary"], "Batch norms fold into thresholds when it is compiled."
        data = {"counted": {p["name"]: p["parameters"] for p in parts}}
    rivals = Table(
        "The Transformers it is compared with",
        ["network", "parameters"],
        [
            ["the document's: d 512, 8 heads, 6 layers", f"{transformer_parameters(DOCUMENT):,}"],
            ["of equal size: d 256, 4 heads, 6 layers", f"{transformer_parameters(EQUAL):,}"],
        ],
        numbers=(1,),
    )
    table = Table("Numbers by part (counted)", columns, rows, note, numbers=tuple(range(1, len(columns))))
    return Section("parameters", "Parameters", [], [table, rivals], data)


def operations_section(run: RunAnalysis | None) -> Section:
    """Return the operations of a step: closed form of the reference, or counted on a run's data."""
    rows = assumed_step() if run is None else run.counted.rows
    whose = "the reference network, compiled" if run is None else run.run
    how = (
        "Executed: assumed at 18.8 % activity, 19 % inputs and a quarter of zeros; a run shows what really happens."
        if run is None
        else f"Executed: counted on {run.samples} {run.part} samples of {run.counted.steps} steps; "
        f"{run.counted.input_density:.1%} of the inputs are not 0. An input that is constant over the steps is "
        "multiplied once a sample."
    )
    cells = []
    for row in rows:
        done = row.dense if row.executed is None else row.executed
        skipped = f"{1 - done / row.dense:.0%}" if done < row.dense else "-"
        cells.append([f"{row.part} {row.name}", row.kind, f"{row.dense:,.0f}", f"{done:,.0f}", skipped])
    kinds = totals(list(rows))
    for kind in KINDS:
        dense, done = kinds[kind]
        if dense:
            share = f"{1 - done / dense:.0%}" if done < dense else "-"
            cells.append([f"all {kind}", "", f"{dense:,.0f}", f"{done:,.0f}", share])
    table = Table(
        f"Operations of a step, {whose}",
        ["matrix", "kind", "dense", "executed", "skipped"],
        cells,
        "An addition is a ternary weight met by an input, skipped where either is 0. Elementwise: one multiplication, "
        "addition, comparison or look-up.",
        numbers=(2, 3, 4),
    )
    text = [how, f"Of all ternary additions {skipped_share(list(rows)):.1%} are skipped."]
    data = {"rows": [row._asdict() for row in rows], "skipped": skipped_share(list(rows))}
    return Section("operations", "Operations (counted)", text, [table], data)


def network_state(model: PNBX | SpikingClassifier) -> dict[str, int]:
    """Return the bytes of a stream's state by part, fp32."""
    if isinstance(model, PNBX):
        return state_bytes(sizes_of(model))
    found = {}
    for number, layer in enumerate(model.layers, start=1):
        assert isinstance(layer, SpikingLayer)
        found[f"layer {number}"] = 4 * layer.linear.out_features
    return {**found, "readout": 4 * model.readout.in_features}


def memory_section(model: PNBX | SpikingClassifier, run: RunAnalysis | None, m: Measurements) -> Section:
    """Return weights by packing, the state, and memory against the length."""
    packed = packings(model) if run is None else run.packings
    zeros = zero_share(model) if run is None else run.zeros
    state = network_state(model)
    table = Table(
        "Weights by packing (counted)",
        ["packing", "bits a ternary weight", "bytes"],
        [[p.name, f"{p.bits:.3g}", f"{p.total:,}"] for p in packed],
        f"{zeros:.1%} of the ternary weights are 0{' (untrained)' if run is None else ''}. Leaks and biases stay fp32.",
        numbers=(1, 2),
    )
    states = Table(
        "State of one stream (counted, fp32)",
        ["part", "bytes"],
        [*([part, f"{size:,}"] for part, size in state.items()), ["all, at every length", f"{sum(state.values()):,}"]],
        numbers=(1,),
    )
    two = next(p.total for p in packed if p.name == "2 bits")
    parts: list[Table | Figure] = [table, states]
    data: dict[str, Any] = {
        "packings": [p._asdict() | {"total": p.total} for p in packed],
        "state": state,
        "zeros": zeros,
    }
    if run is None:
        parts += [memory_figure(two + sum(state.values()), m), _fair_memory(two, sum(state.values()))]
    return Section("memory", "Memory", [], parts, data)


def _fair_memory(two_bits: int, state: int) -> Table:
    int8 = sum(parameters().values())
    rows = []
    for length in LENGTHS:
        rival = transformer_parameters(EQUAL) + cache_bytes(length, EQUAL, bytes_per_number=1)
        half = 2 * transformer_parameters(EQUAL) + cache_bytes(length, EQUAL, bytes_per_number=2)
        quarter = transformer_parameters(EQUAL) / 4 + cache_bytes(length, EQUAL, bytes_per_number=1)
        ours = [int8 + state, two_bits + state]
        ratios = [rival / ours[0], quarter / ours[1]]
        rows.append([f"{length:,}", *(f"{x / 1e6:.2f}" for x in (half, rival, *ours)), *(f"{x:.2f}" for x in ratios)])
    columns = [
        "L",
        "Transformer fp16",
        "int8, int8 cache",
        "PNB-X int8",
        "PNB-X 2 bits",
        "ratio, int8",
        "ratio, 2 bits",
    ]
    return Table(
        "Equal parameters: weights and cache or state, MB (counted)",
        columns,
        rows,
        "Ratios at equal precision: int8 against int8; 2-bit weights on both sides, cache int8.",
        numbers=tuple(range(len(columns))),
    )


def _int8_bytes(length: int) -> int:
    return transformer_parameters(EQUAL) + cache_bytes(length, EQUAL, bytes_per_number=1)


def memory_figure(ours: float | int, m: Measurements) -> Figure:
    """Return memory against length: counted lines, measured points where there are any."""
    lengths = (256, 1024, 4096, 16_384, 100_000)
    counted, measured = {}, {}
    for name, model, form, size in (
        ("PNB-X native, 2 bits", NATIVE, "native", lambda _: ours),
        ("equal, int8, int8 cache", "Transformer, equal", "int8, int8 KV", _int8_bytes),
        ("document's, fp32", "Transformer, document", "fp32", lambda L: 4 * transformer_parameters() + cache_bytes(L)),
    ):
        counted[name] = [(float(L), size(L) / 1e6) for L in lengths]
        points = [(float(r.length or 0), r.value / 1e6) for r in m.all("memory_resident", model=model, form=form)]
        if points:
            measured[name] = points
    note = "Points: measured." if measured else "No points: not measured on this machine."
    return charts.lines(
        measured, title="Memory against length", x="length L", y="MB", dashed=counted,
        note=f"Dashed: counted, weights and state or cache. {note}".strip(),
    )  # fmt: skip
