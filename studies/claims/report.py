"""Build the report on the document: what a run or the reference network costs, and every claim beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import nn

from pnbx_snn.errors import PnbxValueError, StorageError
from pnbx_snn.files.atomic_write import write_atomically
from pnbx_snn.metrics import report as product
from pnbx_snn.metrics.memory import packings
from pnbx_snn.metrics.page import Section
from pnbx_snn.metrics.words import amount
from pnbx_snn.networks.cnn import SmallCNN
from studies.claims import charts, formats
from studies.claims.energy_scenarios import assumed_step, landauer, pnbx_scenarios
from studies.claims.evidence import FILE, MEASURE, QUOTED, Benchmarks, Measurements
from studies.claims.facts import Facts, findings
from studies.claims.recommendations import recommendations
from studies.claims.sections import (
    RIVALS,
    claims_section,
    recommendations_section,
    reference_network,
    reference_sections,
)
from studies.claims.sections_measured import accuracy_figure, measured_section
from studies.claims.spike_formats import measure_products
from studies.claims.trained import Trained
from studies.measurements.machine import machine
from studies.rivals import LeNet5, count, mlp

SECTIONS = (*product.SECTIONS, "measurements", "recommendations", "claims")
TEACHER_CHANNELS = 16
"""Of pnbx_snn/configs/mnist_teacher.toml."""


class Written(NamedTuple):
    """Files of a report."""

    html: Path
    markdown: Path
    json: Path


def build_report(
    output: Path, *, run: Trained | None = None, names: Sequence[str] = (), measurements: Path | None = None
) -> Written:
    """Write ``index.html``, ``report.md`` (with ``figures/``) and ``report.json`` into a folder.

    Parameters
    ----------
    output
        The folder; made if it is not there.
    run
        A run that was analysed; ``None``: the reference network.
    names
        Only these of :data:`SECTIONS`; empty: all that there are.
    measurements
        A ``measurements.json``; ``None``: the one in ``output``, if it is there.
    """
    for name in names:
        if name not in SECTIONS:
            raise PnbxValueError(f"claims: section must be one of {', '.join(SECTIONS)}, got {name!r}")
        if name == "activity" and run is None:
            raise PnbxValueError("claims: section 'activity' needs a run; the reference network has no data")
    if measurements is not None and not measurements.exists():
        raise StorageError(f"{measurements}: no such file; it is written by {MEASURE}")
    m = Measurements(output / FILE if measurements is None else measurements)
    if "measurements" in names and not m:
        raise PnbxValueError(
            f"claims: section 'measurements' needs {output / FILE}; make it with --measure or {MEASURE}"
        )
    built = [section for section in _sections(run, names, m) if not names or section.name in names]
    here, network = machine(), "reference" if run is None else run.costs.run
    lead = [
        "Every number says how it came to be: counted in the code, modelled from published energies, measured on a "
        "machine, or not measured and by what command it would be.",
        f"Built on {here['processor']}, {here['vectors']}, Python {here['python']}, torch {here['versions']['torch']}.",
        *findings(m),
    ]
    if run is not None:
        samples = len(run.costs.split.labels)
        lead.insert(0, f"{samples} {run.costs.part} samples: accuracy {run.costs.accuracy:.2%}.")
    title = f"{'The reference network' if run is None else network}: what it costs"
    text, figures = formats.markdown(title, lead, built)
    found = Written(output / "index.html", output / "report.md", output / "report.json")
    data = {"network": network, "machine": here, "quick": m.quick, "title": title, "findings": lead}
    product.write_json(data, built, found.json)
    (output / "figures").mkdir(exist_ok=True)
    for name, content in figures.items():
        write_atomically(output / "figures" / name, content, what="figure")
    write_atomically(found.html, formats.html(title, lead, built).encode(), what="report")
    write_atomically(found.markdown, text.encode(), what="report")
    return found


def _sections(run: Trained | None, names: Sequence[str], m: Measurements) -> list[Section]:
    """Return the sections of a report; those that take long to make only if they are asked for."""
    bench = Benchmarks()
    if run is None:
        model, rows = reference_network(), assumed_step()
        found = reference_sections(model, m)
        found["memory"].parts.append(accuracy_figure(None, _quoted_points(model)))
    else:
        rows = run.costs.counted.rows
        found = {section.name: section for section in product.sections(run.costs)}
        found["parameters"].parts.append(RIVALS)
        found["memory"].parts.append(accuracy_figure(run, {}))
        scenarios = pnbx_scenarios(rows, sum(run.costs.state.values()))
        found["energy"].parts.insert(0, charts.intervals(scenarios, title="Energy of a step (modelled)"))
    bits = 32 * sum(row.dense if row.executed is None else row.executed for row in rows)
    found["energy"].data["landauer_joules"] = landauer(bits)
    found["energy"].text.append(
        f"Physics: erasing {amount(bits)} bits (32 for every operation of a step) takes at least "
        f"{landauer(bits):.1e} J at 300 K (Landauer)."
    )
    built = [*found.values(), measured_section(m)]
    if not names or "recommendations" in names:
        timed = measure_products()
        built.append(recommendations_section(recommendations(m, bench, run, timed), timed))
    return [*built, claims_section(Facts(m, bench, run))]


def _quoted_points(model: nn.Module) -> dict[str, list[tuple[float, float]]]:
    """Return MNIST accuracies of the results page over the bytes that were counted here."""

    def accuracy(key: str) -> float:
        return float(QUOTED[key].text.split(" ")[0])

    def in_fp32(rival: nn.Module, key: str) -> list[tuple[float, float]]:
        return [(4.0 * count(rival), accuracy(key))]

    packed = packings(model)  # type: ignore[arg-type]
    return {
        "PNB-X, MNIST, by packing": [(float(p.total), accuracy("mnist")) for p in packed[:5]],
        "its teacher, a CNN in fp32": in_fp32(SmallCNN(28, 28, 10, channels=TEACHER_CHANNELS), "teacher"),
        "PNB-X, no distortion, no teacher": [(float(packed[3].total), accuracy("mnist plain"))],
        "perceptron in fp32, no distortion": in_fp32(mlp(784, 1908, 1908, 10), "mnist perceptron"),
        "LeNet-5 in fp32, no distortion": in_fp32(LeNet5(), "mnist lenet5"),
    }
