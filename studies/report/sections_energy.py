"""Sections of a report on energy, which is modelled, and on activity, which is measured."""

from __future__ import annotations

from collections.abc import Sequence

from pnbx_snn.networks.classifier import SpikingClassifier
from pnbx_snn.networks.pnbx import PNBX
from studies.claims.closed_forms import Operations
from studies.claims.energy import TABLES, Scenario, landauer
from studies.claims.energy_scenarios import assumed_step, pnbx_scenarios, transformer_scenarios
from studies.counted.run_analysis import RunAnalysis
from studies.report import charts
from studies.report.report_parts import Figure, Section, Table
from studies.report.sections_counted import network_state
from studies.report.words import amount, interval_words


def energy_section(model: PNBX | SpikingClassifier, run: RunAnalysis | None) -> Section:
    """Return modelled energies of a step, beside an equal Transformer for the reference network."""
    rows: Sequence[Operations] = assumed_step() if run is None else run.counted.rows
    scenarios = pnbx_scenarios(rows, sum(network_state(model).values()))
    if run is None:
        for position, form in ((784, "int8"), (8192, "int8"), (784, "fp32")):
            scenarios += transformer_scenarios(position, form=form)
    cells = [[s.who, s.sparsity, "arithmetic alone" if s.memory == "none" else s.memory, *_ends(s)] for s in scenarios]
    table = Table(
        "Energy of a step or token (modelled)",
        ["network", "sparsity", "memory", "arithmetic", "traffic", "together"],
        cells,
        "Memory: where weights, state and cache lie; each is moved once a step. Events: what is skipped costs nothing, "
        "and columns of silent inputs are not read.",
        numbers=(3, 4, 5),
    )
    constants = [[table.name, name, f"{pj:g}"] for table in TABLES for name, pj in table.operations.items()] + [
        [table.name, f"64 bits, {place}", f"{low:g}" if low == high else f"{low:g} to {high:g}"]
        for table in TABLES
        for place, (low, high) in table.access.items()
        if place != "none"
    ]
    sources = "; ".join(f"{table.name}: {table.source}" for table in TABLES)
    bits = 32 * sum(row.executed if row.executed is not None else row.dense for row in rows)
    text = [
        "Modelled, not measured: counted operations and bytes times published energies, from the lower of two tables "
        "to the higher. No control, no leakage, no wires: a lower bound.",
        f"Physics: erasing {amount(bits)} bits (32 for every operation of a step) takes at least "
        f"{landauer(bits):.1e} J at 300 K (Landauer).",
    ]
    parts: list[Table | Figure] = [charts.intervals(scenarios, title="Energy of a step (modelled)"), table]
    note = f"Sources: {sources}."
    parts.append(Table("Constants, pJ", ["table", "of", "pJ"], constants, note, numbers=(2,), folded=True))
    data = {
        "scenarios": [
            {"who": s.who, "sparsity": s.sparsity, "memory": s.memory, "joules": list(s.total)} for s in scenarios
        ],
        "landauer_joules": landauer(bits),
    }
    return Section("energy", "Energy (modelled)", text, parts, data)


def _ends(scenario: Scenario) -> list[str]:
    traffic = "-" if scenario.memory == "none" else interval_words(scenario.traffic)
    return [interval_words(scenario.compute), traffic, interval_words(scenario.total)]


def activity_section(run: RunAnalysis) -> Section:
    """Return how a run's neurons fire, and the raster of a sample."""
    target = None
    if isinstance(run.model, PNBX):
        glia = run.model.blocks[0].glia
        target = None if glia is None else float(glia.target)  # type: ignore[union-attr, arg-type]
    rows = []
    for layer in run.activity:
        silent = float((layer.by_neuron == 0).mean())
        classes = [rate for rate in layer.by_class if rate == rate]  # without NaN
        rows.append(
            [layer.name, f"{layer.rate:.2%}", f"{silent:.1%}", f"{layer.by_neuron.max():.1%}",
             f"{min(classes):.1%} to {max(classes):.1%}"]
        )  # fmt: skip
    table = Table(
        "Firing, spikes per neuron and step (measured)",
        ["layer", "mean", "never fire", "busiest neuron", "by class"],
        rows,
        numbers=(1, 2, 3, 4),
    )
    by_neuron = {layer.name: layer.by_neuron for layer in run.activity}
    by_step = {layer.name: layer.by_step for layer in run.activity}
    parts: list[Table | Figure] = [
        table,
        charts.histogram(by_neuron, title="Firing rates of the neurons", target=target),
        charts.by_step(by_step, title="Firing over a sample"),
        charts.raster(run.raster, title="Raster"),
    ]
    text = [f"{run.samples} {run.part} samples; accuracy on them {run.accuracy:.2%}."]
    data = {
        "rates": {layer.name: layer.rate for layer in run.activity},
        "by_class": {layer.name: [None if v != v else v for v in layer.by_class.tolist()] for layer in run.activity},
        "input_density": run.counted.input_density,
        "accuracy": run.accuracy,
        "samples": run.samples,
    }
    return Section("activity", "Activity (measured)", text, parts, data)
