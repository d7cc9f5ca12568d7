"""The document's recommendations, each with a number: counted, measured here, measured before, or not measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from pnbx_snn.metrics.words import bytes_words, seconds
from studies.claims.closed_forms import parameters, state_bytes
from studies.claims.evidence import BENCH, MEASURE, NATIVE, QUOTED, Benchmarks, Measurements, missing
from studies.claims.spike_formats import DENSITIES, FORMATS, Timed, break_even, stored_bytes
from studies.claims.trained import Trained

RUN = "python -m studies.claims RUN"
ONE, MANY = "2048 x 2048 ternary x spikes, batch 1", "2048 x 2048 ternary x spikes, batch 128"


class Recommendation(NamedTuple):
    """A recommendation of section 10.2.

    Parameters
    ----------
    id, says
        As the claims have it.
    number, kind
        What it buys, and how that is known.
    verdict
        In words.
    command
        That gives the number.
    """

    id: str
    says: str
    number: str
    kind: str
    verdict: str
    command: str


def recommendations(
    measurements: Measurements, benchmarks: Benchmarks, run: Trained | None, formats: Sequence[Timed]
) -> list[Recommendation]:
    """Return a row for each recommendation."""
    return [
        _packing(benchmarks),
        _formats(formats),
        _mixed(run),
        Recommendation(
            "R04", "distil from a larger network", QUOTED["distillation"].text, "measured",
            "alone it gains nothing on the digits, where the student is already better", QUOTED["distillation"].command,
        ),
        _hardware(),
        _batches(benchmarks, run),
        _onnx(benchmarks),
        _benchmark(measurements),
    ]  # fmt: skip


def _packing(benchmarks: Benchmarks) -> Recommendation:
    listed = parameters()
    ternary = sum(listed.values()) - listed["membrane"] - listed["glia"] - listed["hippocampus"] // 2
    ours, int8 = benchmarks.seconds(ONE, "PNB-X native"), benchmarks.seconds(ONE, "ONNX Runtime int8")
    words = f"{bytes_words(ternary)} as int8, {bytes_words(ternary / 4)} at 2 bits"
    if ours is not None and int8 is not None:
        words += f"; a product takes {seconds(int8)} from int8 (ONNX Runtime), {seconds(ours)} from 2 bits (native)"
    else:
        words += f"; time {missing(BENCH)}"
    return Recommendation("R01", "true 2-bit packing", words, "counted, measured", "done: four times smaller", BENCH)


def _formats(formats: Sequence[Timed]) -> Recommendation:
    found = stored_bytes(2048, 0.188)
    words = ", ".join(f"{name} {found[name]:.0f} B" for name in FORMATS[1:]) + " at 18.8 %"
    times = {timed.format: timed.seconds for timed in formats if timed.density == 0.188}
    if times:
        words += "; a product: " + ", ".join(f"{name} {seconds(times[name])}" for name in FORMATS[1:])
    fastest = min(times, key=times.__getitem__) if times else ""
    verdict = f"no: at 18.8 % CSR is the largest; a bitmap is smaller than an index list from {break_even():.2%} on"
    if fastest:
        verdict += f"; of these, with torch's products, the {fastest} is fastest at 18.8 %"
    return Recommendation("R02", "CSR for spikes", words, "counted, measured", verdict, "python -m studies.claims")


def _mixed(run: Trained | None) -> Recommendation:
    says = "key layers in fp16"
    if run is None:
        return Recommendation("R03", says, missing(RUN), "not measured", "-", RUN)
    base, rest = run.mixed[0], run.mixed[1:]
    best = max(rest, key=lambda mixed: mixed.accuracy)
    words = f"all ternary {base.accuracy:.2%}, {base.weight_bytes:,} B; " + ", ".join(
        f"{x.name} {x.accuracy:.2%}, {x.weight_bytes:,} B" for x in rest
    )
    gain = 100 * (best.accuracy - base.accuracy)
    verdict = f"{gain:+.1f} points at best" + ("; a network would have to be trained so" if gain <= 0 else "")
    return Recommendation("R03", says, words, "measured", verdict, RUN)


def _hardware() -> Recommendation:
    there = torch.xpu.is_available()
    words = "an XPU is here: run `python -m studies.bench`" if there else "not measured: no Intel GPU on this machine"
    return Recommendation("R05", "Arc or Xeon for XMX", words, "not measured", "XMX has no ternary mode", BENCH)


def _batches(benchmarks: Benchmarks, run: Trained | None) -> Recommendation:
    state = sum(state_bytes().values())
    words = f"state {bytes_words(state)} a sequence, {bytes_words(128 * state)} for 128"
    one, many = benchmarks.seconds(ONE, "PNB-X native"), benchmarks.seconds(MANY, "PNB-X native")
    verdict = "memory grows with the batch"
    if one is not None and many is not None:
        verdict += f"; a sample in a batch of 128 is {128 * one / many:.1f} times faster in the native executor"
        words += f"; native product {seconds(one)} a sample alone, {seconds(many / 128)} in a batch of 128"
    if run is not None:
        rates = ", ".join(f"{x.samples_per_s:,.0f}/s at {x.batch}" for x in run.throughput)
        words += f"; {run.costs.run} in torch: {rates}"
        gain = run.throughput[-1].samples_per_s / run.throughput[0].samples_per_s
        verdict += f", {gain:.0f} times at {run.throughput[-1].batch} in torch"
    return Recommendation("R06", "large batches", words, "counted, measured", verdict, RUN)


def _onnx(benchmarks: Benchmarks) -> Recommendation:
    words, ratios = [], []
    for work in (ONE, MANY):
        theirs, ours = benchmarks.seconds(work, "ONNX Runtime int8"), benchmarks.seconds(work, "PNB-X native")
        if theirs is not None and ours is not None:
            words.append(f"{work}: {seconds(theirs)} against {seconds(ours)} (native)")
            ratios.append(theirs / ours)
    if not words:
        return Recommendation("R07", "ONNX Runtime, int8", missing(BENCH), "not measured", "-", BENCH)
    times = min(ratios)
    verdict = f"at least {times:.0f} times slower than 2 bits on spikes"
    return Recommendation("R07", "ONNX Runtime, int8", "; ".join(words), "measured", verdict, BENCH)


def _benchmark(measurements: Measurements) -> Recommendation:
    row = measurements.find("latency_p50", model=NATIVE, form="native", length=2048)
    slow = measurements.find("latency_p99", model=NATIVE, form="native", length=2048)
    words = missing(MEASURE)
    if row is not None and slow is not None:
        words = f"{seconds(float(row.value))} a step at 2,048, 99th percentile {seconds(float(slow.value))}"
    kind = "not measured" if row is None else "measured"
    return Recommendation("R08", "measure on the hardware", words, kind, "done" if row else "-", MEASURE)


def format_rows(formats: Sequence[Timed], neurons: int = 2048) -> list[list[str]]:
    """Return bytes and times of each format over the densities, as rows of a table."""
    rows = []
    for density in DENSITIES:
        sizes = stored_bytes(neurons, density)
        times = {timed.format: timed.seconds for timed in formats if timed.density == density}
        cells = [f"{sizes[name]:,.0f}" for name in FORMATS]
        cells += [seconds(times[name]) if name in times else "-" for name in FORMATS]
        rows.append([f"{density:.2%}", *cells])
    return rows
