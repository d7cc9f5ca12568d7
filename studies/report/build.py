"""Build a report: what a run or the reference network costs, counted, modelled and measured, in three formats."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from pnbx_snn.errors import PnbxValueError, StorageError
from pnbx_snn.networks.classifier import SpikingClassifier
from pnbx_snn.networks.cnn import SmallCNN
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.storage import write_atomically
from studies.claims.evidence import FILE, MEASURE, QUOTED, Benchmarks, Measurements
from studies.claims.facts import Facts
from studies.claims.findings import findings
from studies.claims.recommendations import recommendations
from studies.claims.spike_formats import measure_products
from studies.counted.packing import packings
from studies.counted.run_analysis import RunAnalysis
from studies.measurements.machine import machine
from studies.report import html, markdown
from studies.report.report_parts import Report, Section
from studies.report.sections_claims import claims_section, recommendations_section
from studies.report.sections_counted import memory_section, operations_section, parameter_section, reference_network
from studies.report.sections_energy import activity_section, energy_section
from studies.report.sections_measured import accuracy_figure, measured_section
from studies.rivals import LeNet5, count, mlp

SECTIONS = (
    "parameters",
    "operations",
    "memory",
    "energy",
    "activity",
    "measurements",
    "recommendations",
    "claims",
)

TEACHER_CHANNELS = 16
"""Of examples/configs/mnist_teacher.toml."""


class Written(NamedTuple):
    """Files of a report."""

    html: Path
    markdown: Path
    json: Path


def build_report(
    output: Path,
    *,
    run: RunAnalysis | None = None,
    claims: bool = False,
    sections: Sequence[str] = (),
    measurements: Path | None = None,
    benchmarks: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Written:
    """Write ``index.html``, ``report.md`` (with ``figures/``) and ``report.json`` into a folder.

    Parameters
    ----------
    output
        The folder; made if it is not there.
    run
        A run that was analysed; ``None``: the reference network.
    claims
        Add the source document, claim by claim.
    sections
        Only these of :data:`SECTIONS`; empty: all that there are.
    measurements
        A ``measurements.json``; ``None``: the one in ``output``, if it is there.
    benchmarks
        A ``results.json`` of ``make bench``; ``None``: that of the source tree.
    say
        Called with the name of each section as it begins.

    Raises
    ------
    PnbxValueError
        If a section is asked for that does not exist, or that this report has not: the message says why.
    StorageError
        If measurements are named and not there, broken, or the report cannot be written.
    """
    wanted = _wanted(sections, run, claims)
    if measurements is not None and not measurements.exists():
        raise StorageError(f"{measurements}: no such file; it is written by {MEASURE}")
    m = Measurements(output / FILE if measurements is None else measurements)
    if "measurements" in sections and not m:
        raise PnbxValueError(
            f"analyze: section 'measurements' needs {output / FILE}; make it with --measure or {MEASURE}"
        )
    bench = Benchmarks(benchmarks)
    model = reference_network() if run is None else run.model
    assert isinstance(model, PNBX | SpikingClassifier)
    built: list[Section] = []
    for name in wanted:
        if say is not None:
            say(name)
        built.append(_section(name, model, run, m, bench))
    report = Report(
        f"{'The reference network' if run is None else run.run}: what it costs",
        [*_lead(run), *findings(m)],
        built,
        {"network": "reference" if run is None else run.run, "machine": machine(), "quick": m.quick},
    )
    return write(report, output)


def _wanted(sections: Sequence[str], run: RunAnalysis | None, claims: bool) -> list[str]:
    for name in sections:
        if name not in SECTIONS:
            raise PnbxValueError(f"analyze: section must be one of {', '.join(SECTIONS)}, got {name!r}")
        if name == "activity" and run is None:
            raise PnbxValueError("analyze: section 'activity' needs a run; the reference network has no data")
        if name == "claims" and not claims:
            raise PnbxValueError("analyze: section 'claims' needs --claims")
    there = [name for name in SECTIONS if (name != "activity" or run is not None) and (name != "claims" or claims)]
    return [name for name in there if not sections or name in sections]


def _section(
    name: str, model: PNBX | SpikingClassifier, run: RunAnalysis | None, m: Measurements, bench: Benchmarks
) -> Section:
    if name == "parameters":
        return parameter_section(model)
    if name == "operations":
        return operations_section(run)
    if name == "memory":
        section = memory_section(model, run, m)
        section.parts.append(accuracy_figure(run, _quoted_points(model) if run is None else {}))
        return section
    if name == "energy":
        return energy_section(model, run)
    if name == "activity":
        assert run is not None
        return activity_section(run)
    if name == "measurements":
        return measured_section(m)
    if name == "recommendations":
        formats = measure_products()
        return recommendations_section(recommendations(m, bench, run, formats), formats)
    return claims_section(Facts(m, bench, run))


def _quoted_points(model: PNBX | SpikingClassifier) -> dict[str, list[tuple[float, float]]]:
    """Return MNIST accuracies of the results page over the bytes that were counted here."""

    def accuracy(key: str) -> float:
        return float(QUOTED[key].text.split(" ")[0])

    def in_fp32(rival: nn.Module, key: str) -> list[tuple[float, float]]:
        return [(4.0 * count(rival), accuracy(key))]

    packed = packings(model)
    return {
        "PNB-X, MNIST, by packing": [(float(p.total), accuracy("mnist")) for p in packed[:5]],
        "its teacher, a CNN in fp32": in_fp32(SmallCNN(28, 28, 10, channels=TEACHER_CHANNELS), "teacher"),
        "PNB-X, no distortion, no teacher": [(float(packed[3].total), accuracy("mnist plain"))],
        "perceptron in fp32, no distortion": in_fp32(mlp(784, 1908, 1908, 10), "mnist perceptron"),
        "LeNet-5 in fp32, no distortion": in_fp32(LeNet5(), "mnist lenet5"),
    }


def _lead(run: RunAnalysis | None) -> list[str]:
    here = machine()
    what = (
        "Every number says how it came to be: counted in the code, modelled from published energies, measured on a "
        "machine, or not measured and by what command it would be."
    )
    where = (
        f"Built on {here['processor']}, {here['vectors']}, Python {here['python']}, torch {here['versions']['torch']}."
    )
    if run is None:
        return [what, where]
    return [f"{run.samples} {run.part} samples: accuracy {run.accuracy:.2%}.", what, where]


def write(report: Report, output: Path) -> Written:
    """Write a report's three forms.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    text, figures = markdown.render(report)
    try:
        (output / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{output}: the folder could not be made ({error.strerror})") from error
    for name, content in figures.items():
        write_atomically(output / "figures" / name, content, what="figure")
    data = {**report.data, "title": report.title, "findings": report.lead}
    data["sections"] = {section.name: section.data for section in report.sections}
    found = Written(output / "index.html", output / "report.md", output / "report.json")
    write_atomically(found.html, html.render(report).encode(), what="report")
    write_atomically(found.markdown, text.encode(), what="report")
    write_atomically(found.json, (json.dumps(_plain(data), indent=1, allow_nan=False) + "\n").encode(), what="report")
    return found


def _plain(value: Any) -> Any:
    """Return what JSON can hold; numbers that are none become null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
