"""What stands beside a claim: counted, modelled and measured values of the reference network, each as a sentence.

And what a report says first: the goals of the comparison, met or missed, and where the rivals win.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pnbx_snn.metrics.energy import HOROWITZ_45, JOUPPI_7, TABLES, Interval
from pnbx_snn.metrics.operations import skipped_share, totals
from pnbx_snn.metrics.words import amount, interval_words
from studies.claims import document as doc
from studies.claims.closed_forms import DOCUMENT, EQUAL, operations, parameters, state_bytes, transformer_parameters
from studies.claims.energy_scenarios import landauer, pnbx_scenarios, prefill_energy, transformer_scenarios
from studies.claims.evidence import BENCH, MEASURE, NATIVE, QUOTED, Benchmarks, Measurements, missing
from studies.claims.evidence import EQUAL as TRANSFORMER
from studies.claims.trained import Trained
from studies.claims.words import bytes_words, seconds
from studies.measurements.fits import Fit, fit

LENGTHS = (256, 512, 784, 1024, 2048, 4096, 8192)
ANALYZE, RUN, GPU = "pnbx-snn analyze RUN", "python -m studies.claims RUN", "python -m studies.claims --measure"


class Facts:
    """Sentences by key, as :class:`studies.claims.claims.Claim` asks for them.

    Parameters
    ----------
    measurements, benchmarks
        What was measured; empty ones are said to be.
    run
        A run that was analysed; ``None``: what only a run shows is said to be missing.

    Attributes
    ----------
    counted, modelled, measured : dict of str to str
    """

    def __init__(self, measurements: Measurements, benchmarks: Benchmarks, run: Trained | None = None) -> None:
        self.counted = _counted(run, benchmarks)
        self.modelled = _modelled(measurements)
        self.measured = _measured(measurements, benchmarks, run)


def _counted(run: Trained | None, benchmarks: Benchmarks) -> dict[str, str]:
    listed, state, rows = parameters(), state_bytes(), operations()
    kinds = totals(rows)
    ternary = listed["encoder"] + listed["ssm"] + listed["rnn"] + listed["fast_weights"] + listed["readout"]
    ternary += listed["hippocampus"] // 2
    found = {f"parameters {part}": f"{number:,}" for part, number in listed.items()}
    found |= {f"state {part}": f"{number:,} B" for part, number in state.items()}
    found |= {
        "parameters": f"{sum(listed.values()):,}, of them {sum(listed.values()) - 257_024:,} by gradient",
        "parameters transformer": f"{transformer_parameters():,}",
        "parameter ratio": f"{transformer_parameters() / sum(listed.values()):.4f}; an equal one has "
        f"{transformer_parameters(EQUAL):,}",
        "state bytes": f"{sum(state.values()):,} B at every length (torch, fp32)",
        "packing int8": bytes_words(ternary + 4 * listed["membrane"]),
        "packing 2 bits": f"{bytes_words(ternary / 4 + 4 * listed['membrane'])}, {ternary:,} ternary weights",
        "packing entropy": f"{_entropy(1 / 3):.3f} bits at most, {_entropy(0.25):.3f} with a quarter zeros (untrained)",
        "operations": ", ".join(f"{amount(dense)} {kind}" for kind, (dense, _) in kinds.items()) + " a step",
        "operations messages": f"{amount(9 * 2048)} elementwise: 8 spikes, a shift, a sum",
        "native memory": _native(benchmarks),
        "skipped": missing(ANALYZE),
        "mixed precision": missing(RUN),
    }
    for part in ("encoder", "ssm", "rnn", "membrane"):
        of = [row for row in rows if row.part == part]
        words = [f"{amount(dense)} {kind}" for kind, (dense, _) in totals(of).items() if dense]
        found[f"operations {part}"] = ", ".join(words)
    if run is not None:
        found["skipped"] = f"{skipped_share(run.costs.counted.rows):.1%} of the ternary additions in {run.costs.run}"
        best = max(run.mixed, key=lambda mixed: (mixed.accuracy, -mixed.weight_bytes))
        found["mixed precision"] = (
            f"{run.costs.run}: best is {best.name}, {best.accuracy:.2%} at {best.weight_bytes:,} B"
        )
    return found


def _entropy(zeros: float) -> float:
    """Return the bits of a ternary weight with this share of zeros and as many 1 as -1."""
    return -zeros * math.log2(zeros) - (1 - zeros) * math.log2((1 - zeros) / 2)


def _native(benchmarks: Benchmarks) -> str:
    weights, state = benchmarks.deployed("weight_bytes"), benchmarks.deployed("state_bytes")
    if weights is None or state is None:
        return missing(BENCH)
    return f"{bytes_words(weights)} packed weights and {bytes_words(state)} state (native executor)"


def _modelled(measurements: Measurements) -> dict[str, str]:
    step = {(s.sparsity, s.memory): s.total for s in pnbx_scenarios()}
    rival = {s.memory: s.total for s in transformer_scenarios(784)}
    ours, theirs = step["events", "SRAM 1 MB"], rival["SRAM 1 MB"]
    low, high = theirs.over(ours)
    bare = [f"{end:.1f}" for end in rival["none"].over(step["events", "none"])]
    document = prefill_energy(784, "DRAM", form="fp32", sizes=DOCUMENT)
    ratios = [doc.mac_pj("fp32", table) / doc.mac_pj("int8", table) for table in TABLES]
    return {
        "mac ratio": f"{min(ratios):.1f} to {max(ratios):.1f} (FP32 over INT8 with a 32-bit sum, two tables)",
        "mac pj": f"INT8 {doc.mac_pj('int8', JOUPPI_7):.2f} to {doc.mac_pj('int8', HOROWITZ_45):.2f} pJ, "
        f"FP32 {doc.mac_pj('fp32', JOUPPI_7):.2f} to {doc.mac_pj('fp32', HOROWITZ_45):.2f} pJ",
        "energy pnbx step": f"{interval_words(step['events', 'none'])} of arithmetic, "
        f"{interval_words(ours)} with SRAM, a step",
        "energy pnbx 784": _steps(step["events", "none"], ours, 784),
        "energy transformer 784": f"{interval_words(document)} (fp32, causal, weights from DRAM once)",
        "energy ratio": f"a step at position 784 against an equal int8 Transformer: {low:.1f} to {high:.1f} with SRAM, "
        f"{bare[0]} to {bare[1]} of arithmetic alone",
        "landauer": f"{landauer(5e6):.2e} J for 5 M bits at 300 K",
    }


def _steps(bare: Interval, whole: Interval, number: int) -> str:
    """Return the energy of so many steps."""
    times = [interval_words(Interval(number * low, number * high)) for low, high in (bare, whole)]
    return f"{times[0]} of arithmetic, {times[1]} with weights and state in SRAM"


def _measured(m: Measurements, benchmarks: Benchmarks, run: Trained | None) -> dict[str, str]:
    found = {
        "file size": _row(m, "file_size", NATIVE, "native", None, lambda v: bytes_words(v)),
        "state bytes": _row(m, "memory_state", NATIVE, "native", 8192, lambda v: f"{v:,.0f} B (native)"),
        "state growth": _growth(m),
        "firing rate": _row(m, "firing_rate", NATIVE, None, None, lambda v: f"{v:.1%} (random weights)"),
        "latency growth": _latency_growth(m),
        "total time fit": _total_fit(m),
        "gpu joules": _gpu(m),
        "mnist accuracy": quoted("mnist"),
        "distillation": quoted("distillation"),
        "native product": _bench(benchmarks, "PNB-X native", "torch fp32"),
        "onnxruntime": _bench(benchmarks, "ONNX Runtime int8", "PNB-X native"),
        "batch throughput": missing(RUN),
    }
    for length in LENGTHS:
        found[f"memory {length}"] = _row(
            m, "memory_resident", NATIVE, "native", length, lambda v: f"{bytes_words(v)} resident (native)"
        )
        found[f"latency {length}"] = _row(m, "latency_p50", NATIVE, "native", length, lambda v: f"{seconds(v)} a step")
        found[f"document transformer memory {length}"] = _row(
            m, "memory_resident", "Transformer, document", "fp32", length, lambda v: f"{bytes_words(v)} resident"
        )
        for key, quantity in (("latency ratio", "latency_ratio"), ("memory ratio", "memory_ratio")):
            found[f"{key} {length}"] = _row(m, quantity, None, None, length, lambda v: f"{v:.1f} times (equal size)")
        found[f"total time ratio {length}"] = _total_ratio(m, length)
    if run is not None:
        rates = ", ".join(f"{layer.name} {layer.rate:.1%}" for layer in run.costs.activity)
        found["firing rate"] = f"{rates} ({run.costs.run}, {len(run.costs.split.labels)} {run.costs.part} samples)"
        ends = run.throughput[0], run.throughput[-1]
        found["batch throughput"] = (
            f"{ends[0].samples_per_s:,.0f} samples/s at batch {ends[0].batch}, "
            f"{ends[1].samples_per_s:,.0f} at {ends[1].batch} ({run.costs.run})"
        )
    return found


def _row(
    m: Measurements,
    quantity: str,
    model: str | None,
    form: str | None,
    length: int | None,
    show: Callable[[float], str],
) -> str:
    row = m.find(quantity, model=model, form=form, length=length)
    return missing(MEASURE) if row is None else show(float(row.value)) + (" (quick)" if m.quick else "")


def quoted(key: str) -> str:
    """Return a figure measured before, and the page it is on."""
    return f"{QUOTED[key].text}; {QUOTED[key].page}"


def _growth(m: Measurements) -> str:
    rows = m.all("state_growth", model=NATIVE)
    if not rows:
        return missing(MEASURE)
    resident = m.find("memory_growth", model=NATIVE, length=rows[-1].length)
    more = "" if resident is None else f", resident memory {resident.value:,.0f} B"
    return f"{rows[-1].value:,.0f} B of state from step 256 to {rows[-1].length:,}{more}"


def _latency_growth(m: Measurements) -> str:
    rows = m.all("latency_p50", model=TRANSFORMER, form="int8")
    ours = m.all("latency_p50", model=NATIVE, form="native")
    if len(rows) < 2 or len(ours) < 2:
        return missing(MEASURE)
    slope = (rows[-1].value - rows[0].value) / ((rows[-1].length or 0) - (rows[0].length or 0))
    return (
        f"a token of an equal int8 Transformer takes {1e9 * slope:,.0f} ns more for each token before; PNB-X "
        f"{seconds(float(ours[0].value))} at {ours[0].length:,}, {seconds(float(ours[-1].value))} at "
        f"{ours[-1].length:,}"
    )


def total_fits(m: Measurements) -> dict[str, Fit]:
    """Return fits of the time of whole sequences, by rival; only those with at least three lengths."""
    found: dict[str, Fit] = {}
    keys = dict.fromkeys((row.model, row.form) for row in m.all("total_time"))
    for model, form in keys:
        rows = m.all("total_time", model=model, form=form)
        points = {row.length: float(row.value) for row in rows if row.length and row.value > 0}
        if len(points) >= 3:
            found[f"{model}, {form}"] = fit(list(points), list(points.values()))
    return found


def _total_fit(m: Measurements) -> str:
    fits = total_fits(m)
    names = [f"{NATIVE}, native", f"{TRANSFORMER}, fp32"]
    if not all(name in fits for name in names):
        return missing(MEASURE)
    return "; ".join(f"{name}: {fits[name].words(8192)}" for name in names)


def _total_ratio(m: Measurements, length: int) -> str:
    ours = m.find("total_time", model=NATIVE, form="native", length=length)
    rows = [r for r in m.all("total_time", model=TRANSFORMER) if r.length == length and "decoding" not in r.form]
    if ours is None or not rows:
        return missing(MEASURE)
    best = min(rows, key=lambda row: row.value)
    return f"{best.value / ours.value:.1f} times (whole sequence, equal size, {best.form})"


def _gpu(m: Measurements) -> str:
    rows = m.all("gpu_joules_token")
    if rows:
        return ", ".join(f"{row.model} {amount(float(row.value))}J a token" for row in rows)
    why = m.machine.get("gpu")
    return f"not measured: {why}" if why else missing(GPU)


def _bench(benchmarks: Benchmarks, name: str, other: str) -> str:
    work = "2048 x 2048 ternary x spikes, batch 1"
    one, two = benchmarks.seconds(work, name), benchmarks.seconds(work, other)
    if one is None or two is None:
        return missing(BENCH)
    return f"{work}: {name} {seconds(one)}, {other} {seconds(two)}"


GOALS: tuple[tuple[str, int, float, str], ...] = (
    ("latency_ratio", 2048, 20, "a step at 2,048"),
    ("latency_ratio", 8192, 20, "a step at 8,192"),
    ("memory_ratio", 8192, 10, "resident memory at 8,192"),
    ("memory_ratio", 100_000, 100, "resident memory at 100,000"),
)


def findings(m: Measurements) -> list[str]:
    """Return sentences on what was measured: goals first, then what the rivals do better.

    Examples
    --------
    >>> findings(Measurements())
    ['Nothing here was timed: not measured on this machine: python -m studies.measurements FOLDER']
    """
    if not m:
        return [f"Nothing here was timed: {missing(MEASURE)}"]
    met = []
    for quantity, length, goal, words in GOALS:
        row = m.find(quantity, length=length)
        if row is not None:
            said = f"goal {goal:g}: {'met' if row.value >= goal else 'missed'}"
            met.append(f"{words}: the best equal Transformer takes {row.value:,.1f} times as much ({said})")
    growth = m.all("state_growth", model=NATIVE)
    if growth:
        said = "met" if growth[-1].value == 0 else "missed"
        met.append(f"growth up to {growth[-1].length:,} steps: {growth[-1].value:,.0f} bytes (goal 0: {said})")
    found = [f"PNB-X native, one stream: {'; '.join(met)}."] if met else []
    return found + _rivals(m)


def _rivals(m: Measurements) -> list[str]:
    """Return where others are better, or nearly as good."""
    better = []
    ours = m.find("training_throughput", model=NATIVE)
    for row in m.all("training_throughput"):
        if ours is not None and row.model != NATIVE and not row.model.startswith(NATIVE) and row.value > ours.value:
            better.append(f"{row.model} trains {row.value / ours.value:.2f} times faster")
    step = m.find("latency_p50", model=NATIVE, form="native")
    gru = m.find("latency_p50", model="GRU", form="int8")
    if step is not None and gru is not None:
        better.append(
            f"a GRU of equal size in int8 has a constant state too, and takes {gru.value / step.value:.1f} times as "
            f"long a step ({seconds(float(gru.value))})"
        )
    length = min((row.length or 0 for row in m.all("total_time", model=NATIVE)), default=0)
    rows = [r for r in m.all("total_time", model=TRANSFORMER) if r.length == length and "decoding" not in r.form]
    whole = m.find("total_time", model=NATIVE, form="native", length=length)
    if rows and whole is not None:
        best = min(rows, key=lambda row: row.value)
        ratio = best.value / whole.value
        words = f"reading {length:,} tokens at once narrows the gap: {best.form} {ratio:.1f} times PNB-X's time"
        better.append(words if ratio >= 1 else f"{words}: the Transformer wins")
    mlp = m.find("image_p50", model="MLP", form="int8")
    image = m.find("image_p50", model=NATIVE)
    if mlp is not None and image is not None:
        better.append(f"for one static image an int8 perceptron takes {mlp.value / image.value:.1f} times as long")
    if not better:
        return []
    return [f"Where the gap is small or rivals win: {'; '.join(better)}. What networks remember is another question: "
            "see the memory tasks of docs/beside_transformers.md."]  # fmt: skip
