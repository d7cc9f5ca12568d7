"""What a network costs, as sections of a report: counted, modelled, measured."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pnbx_snn.errors import PnbxValueError
from pnbx_snn.files.atomic_write import make_folder, write_atomically
from pnbx_snn.metrics import page
from pnbx_snn.metrics.analysis import Costs
from pnbx_snn.metrics.counts import REFERENCE, parameter_parts, parameter_table
from pnbx_snn.metrics.energy import TABLES, Scenario, step_scenarios
from pnbx_snn.metrics.memory import Packing
from pnbx_snn.metrics.operations import KINDS, Operations, skipped_share, totals
from pnbx_snn.metrics.page import Figure, Section, Table
from pnbx_snn.metrics.words import interval_words
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.wording import counted as numbered

SECTIONS = ("parameters", "operations", "memory", "energy", "activity")


def sections(costs: Costs, names: Sequence[str] = ()) -> list[Section]:
    """Return the sections of a report of a run, or only those of these names.

    A :class:`PnbxValueError` if one is not of :data:`SECTIONS`.
    """
    for name in names:
        if name not in SECTIONS:
            raise PnbxValueError(f"analyze: section must be one of {', '.join(SECTIONS)}, got {name!r}")
    counted = costs.counted
    samples = numbered(counted.samples, f"{costs.part} sample")
    how = (
        f"Executed: counted on {samples} of {numbered(counted.steps, 'step')}; "
        f"{counted.input_density:.1%} of the inputs are not 0. An input that is constant over the steps is multiplied "
        "once a sample."
    )
    made = {
        "parameters": lambda: parameter_section(costs.model),
        "operations": lambda: operations_section(counted.rows, costs.run, how),
        "memory": lambda: memory_section(costs.packings, costs.state, costs.zeros),
        "energy": lambda: energy_section(step_scenarios(counted.rows, sum(costs.state.values()))),
        "activity": lambda: activity_section(costs),
    }
    return [made[name]() for name in SECTIONS if not names or name in names]


def write_report(costs: Costs, built: Sequence[Section], output: Path) -> Path:
    """Write ``index.html`` and ``report.json`` into a folder; return the page. A :class:`StorageError` if it cannot."""
    lead = [
        f"{numbered(len(costs.split.labels), f'{costs.part} sample')}: accuracy {costs.accuracy:.2%}.",
        "Every number says how it came to be: counted in the network, modelled from published energies, or measured.",
    ]
    title = f"{costs.run}: what it costs"
    write_json({"network": costs.run, "title": title}, built, output / "report.json")
    write_atomically(output / "index.html", page.render(title, lead, built).encode(), what="report")
    return output / "index.html"


def write_json(data: dict[str, Any], built: Sequence[Section], path: Path) -> None:
    """Write a report's numbers; those that are none become null. A :class:`StorageError` if it cannot."""
    make_folder(path.parent)
    whole = _plain({**data, "sections": {section.name: section.data for section in built}})
    write_atomically(path, (json.dumps(whole, indent=1, allow_nan=False) + "\n").encode(), what="report")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parameter_section(model: nn.Module) -> Section:
    """Return the numbers by part, of a PNB-X network beside the document's for its own configuration."""
    if isinstance(model, PNBX):
        counted = parameter_table(model)
        rows = [(r.part, [r.total, r.by_gradient, REFERENCE.get(r.part, 0)]) for r in counted]
        columns = ["part", "counted", "by gradient", "document"]
        note = "As the document counts: glia's numbers and the fast half of a hippocampus, which are state, included."
        data = {row.part: row.total for row in counted}
    else:
        parts = parameter_parts(model)
        rows = [(part["name"], [part["parameters"], part.get("weights", 0)]) for part in parts]
        columns, note = ["part", "counted", "of them ternary"], "Batch norms fold into thresholds when it is compiled."
        data = {part["name"]: part["parameters"] for part in parts}
    return Section("parameters", "Parameters", [], [table_with_sums(columns, rows, note)], {"counted": data})


def table_with_sums(columns: list[str], rows: Sequence[tuple[str, list[int]]], note: str) -> Table:
    """Return a table of the numbers of each part, and below them their sums."""
    sums = [sum(column) for column in zip(*(numbers for _, numbers in rows), strict=True)]
    cells = [[name, *(f"{number:,}" for number in numbers)] for name, numbers in [*rows, ("all", sums)]]
    return Table("Numbers by part (counted)", columns, cells, note)


def operations_section(rows: Sequence[Operations], whose: str, how: str) -> Section:
    """Return the operations of a step; ``how``: how it is known what is executed."""
    cells = [_operations(f"{r.part} {r.name}", r.kind, *totals([r])[r.kind]) for r in rows]
    kinds = totals(rows)
    cells += [_operations(f"all {kind}", "", *kinds[kind]) for kind in KINDS if kinds[kind][0]]
    note = (
        "An addition is a ternary weight met by an input, skipped where either is 0. Elementwise: one multiplication, "
        "addition, comparison or look-up."
    )
    columns = ["matrix", "kind", "dense", "executed", "skipped"]
    table = Table(f"Operations of a step, {whose}", columns, cells, note)
    skipped = skipped_share(rows)
    text = [how, f"Of all ternary additions {skipped:.1%} are skipped."]
    data = {"rows": [row._asdict() for row in rows], "skipped": skipped}
    return Section("operations", "Operations (counted)", text, [table], data)


def _operations(name: str, kind: str, dense: float | int, done: float | int) -> list[str]:
    return [name, kind, f"{dense:,.0f}", f"{done:,.0f}", f"{1 - done / dense:.0%}" if done < dense else "-"]


def memory_section(packings: Sequence[Packing], state: dict[str, int], zeros: float, note: str = "") -> Section:
    """Return weights by packing, and the state of a stream."""
    note = f"{zeros:.1%} of the ternary weights are 0{note}. Leaks and biases stay fp32."
    rows = [[p.name, f"{p.bits:.3g}", f"{p.total:,}"] for p in packings]
    weights = Table("Weights by packing (counted)", ["packing", "bits a ternary weight", "bytes"], rows, note)
    whole = {**state, "all, at every length": sum(state.values())}
    cells = [[part, f"{size:,}"] for part, size in whole.items()]
    states = Table("State of one stream (counted, fp32)", ["part", "bytes"], cells)
    data = {"packings": [p._asdict() | {"total": p.total} for p in packings], "state": state, "zeros": zeros}
    return Section("memory", "Memory", [], [weights, states], data)


def energy_section(scenarios: Sequence[Scenario]) -> Section:
    """Return modelled energies of a step, and the constants they rest on."""
    cells = []
    for s in scenarios:
        place, traffic = ("arithmetic alone", "-") if s.memory == "none" else (s.memory, interval_words(s.traffic))
        cells.append([s.who, s.sparsity, place, interval_words(s.compute), traffic, interval_words(s.total)])
    note = (
        "Memory: where weights, state and cache lie; each is moved once a step. Events: what is skipped costs nothing, "
        "and columns of silent inputs are not read."
    )
    columns = ["network", "sparsity", "memory", "arithmetic", "traffic", "together"]
    table = Table("Energy of a step or token (modelled)", columns, cells, note)
    constants = [[t.name, name, f"{pj:g}"] for t in TABLES for name, pj in t.operations.items()]
    for t in TABLES:
        ends = {place: dict.fromkeys(f"{end:g}" for end in pair) for place, pair in t.access.items()}
        constants += [[t.name, f"64 bits, {p}", " to ".join(pair)] for p, pair in ends.items() if p != "none"]
    sources = f"Sources: {'; '.join(f'{t.name}: {t.source}' for t in TABLES)}."
    folded = Table("Constants, pJ", ["table", "of", "pJ"], constants, sources, folded=True)
    text = [
        "Modelled, not measured: counted operations and bytes times published energies, from the lower of two tables "
        "to the higher. No control, no leakage, no wires: a lower bound.",
    ]
    of = [{"who": s.who, "sparsity": s.sparsity, "memory": s.memory, "joules": list(s.total)} for s in scenarios]
    return Section("energy", "Energy (modelled)", text, [table, folded], {"scenarios": of})


def activity_section(costs: Costs) -> Section:
    """Return how a run's neurons fire, and the raster of a sample."""
    glia: Any = costs.model.blocks[0].glia if isinstance(costs.model, PNBX) else None
    rows = []
    for layer in costs.activity:
        classes = [rate for rate in layer.by_class if rate == rate]  # without NaN
        shares = f"{layer.rate:.2%}", f"{float((layer.by_neuron == 0).mean()):.1%}", f"{layer.by_neuron.max():.1%}"
        rows.append([layer.name, *shares, f"{min(classes):.1%} to {max(classes):.1%}"])
    columns = ["layer", "mean", "never fire", "busiest neuron", "by class"]
    by_neuron = {layer.name: layer.by_neuron for layer in costs.activity}
    parts: list[Table | Figure] = [
        Table("Firing, spikes per neuron and step (measured)", columns, rows),
        page.histogram(by_neuron, title="Firing rates of the neurons", target=None if glia is None else glia.target),
        page.by_step({layer.name: layer.by_step for layer in costs.activity}, title="Firing over a sample"),
        page.raster(costs.raster, title="Raster"),
    ]
    samples = len(costs.split.labels)
    data = {
        "rates": {layer.name: layer.rate for layer in costs.activity},
        "by_class": {layer.name: layer.by_class.tolist() for layer in costs.activity},
        "input_density": costs.counted.input_density,
        "accuracy": costs.accuracy,
        "samples": samples,
    }
    text = [f"{numbered(samples, f'{costs.part} sample')}; accuracy on them {costs.accuracy:.2%}."]
    return Section("activity", "Activity (measured)", text, parts, data)
