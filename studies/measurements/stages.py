"""The stages of the measurement: what is asked of the rivals, and the rows that come of it."""

from __future__ import annotations

import math
import random
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

from studies.measurements import training as measure_training
from studies.measurements.models import FULL, NATIVE, QUICK, TORCH_PNBX
from studies.measurements.process import ONNX, Rival, native_arguments, run, torch_arguments, why_not
from studies.measurements.record import Row, row

LENGTHS = (256, 512, 784, 1024, 2048, 4096, 8192)
LONG = (100_000, 1_000_000)
ROUNDS, STEPS_A_ROUND, NATIVE_STEPS_A_ROUND = 16, 16, 125
NATIVE_KEY = (NATIVE, "native")
INT8 = ("Transformer, equal", "int8, int8 KV")
ONNX_BYTES = [("Transformer, equal", f"{weights}, int8 KV, {ONNX}") for weights in ("int8", "int4")]
TOTAL: tuple[tuple[str, str], ...] = (
    NATIVE_KEY,
    *(("Transformer, equal", form) for form in ("fp32", "int8")),
    *((name, "fp32") for name in ("Transformer, document", "GRU", "SSM")),
)

Measure = Callable[["Bench", Sequence[Row]], list[Row]]


class Bench:
    """The processes of all rivals, each started when it is first asked for; all end with the ``with`` block.

    Attributes
    ----------
    unavailable : dict
        Why a rival cannot be had on this machine, by name and form.
    """

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self.unavailable: dict[str, str] = {}
        self.rivals: dict[tuple[str, str], Rival] = {}

    def __enter__(self) -> Bench:
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for rival in self.rivals.values():
            rival.close()
        self._folder.cleanup()

    def rival(self, key: tuple[str, str]) -> Rival:
        """Return the process of a network and a form."""
        if key not in self.rivals:
            self.rivals[key] = Rival(*key, self.arguments(key))
        return self.rivals[key]

    def available(self, keys: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Start these rivals side by side; return those that can be had, and note why the others cannot."""
        reasons = {key: why_not(key[1]) for key in keys}
        started = {key: self.rival(key) for key in keys if reasons[key] is None}
        reasons |= {key: rival.first().get("unavailable") for key, rival in started.items()}
        self.unavailable |= {", ".join(key): why for key, why in reasons.items() if why is not None}
        return [key for key in keys if reasons[key] is None]

    def arguments(self, key: tuple[str, str]) -> list[str]:
        """Return what starts the process."""
        if key != NATIVE_KEY:
            return torch_arguments(*key)
        if not (self.folder / "inputs.npy").exists():
            run(["-m", "studies.measurements.reference", str(self.folder), "256" if self.quick else "2048"])
        return native_arguments(self.folder)


def stages(*, quick: bool) -> list[tuple[str, Measure]]:
    """Return the stages by name, in order."""
    lengths = (256, 1024) if quick else LENGTHS
    found: list[tuple[str, Measure]] = [(f"steps at {length:,}", partial(steps, length=length)) for length in lengths]
    found += [(f"stream of {length:,}", partial(stream, length=length)) for length in ((2_000,) if quick else LONG)]
    found += [(f"whole sequences of {length:,}", partial(totals, length=length)) for length in lengths]
    found += [(f"products of a step at {length:,}", partial(bound, length=length)) for length in lengths]
    found += [("images", static), ("cold start and files", cold), ("training", training)]
    return [*found, ("ratios", ratios)]


def steps(bench: Bench, rows: Sequence[Row], *, length: int) -> list[Row]:
    """Measure single steps at position ``length``, all rivals taking turns, and their memory."""
    keys = bench.available(QUICK if bench.quick else FULL)
    rng, found = random.Random(length), []
    cpu: dict[tuple[str, str], list[float]] = {key: [] for key in keys}
    wall: dict[tuple[str, str], list[float]] = {key: [] for key in keys}
    for key in keys:
        bench.rival(key).ask("fill", length=length)
    for _ in range(2 if bench.quick else ROUNDS if length <= 2048 else ROUNDS // 2):
        rng.shuffle(keys)
        for key in keys:
            count = NATIVE_STEPS_A_ROUND if key == NATIVE_KEY else STEPS_A_ROUND
            answer = bench.rival(key).ask("steps", count=count + 2)
            cpu[key] += answer["cpu"][2:]  # the first ones bring back what the others drove out of the caches
            wall[key] += answer["wall"][2:]
    for key in cpu:
        found += _latency(key, length, cpu[key], wall[key])
        found += _memory(key, length, bench.rival(key).ask("memory"))
    return found


def _latency(key: tuple[str, str], length: int, cpu: Sequence[float], wall: Sequence[float]) -> list[Row]:
    low, middle, high = statistics.quantiles(cpu, n=4)
    return [
        row("latency_p50", *key, length, middle, "s", low=low, high=high),
        row("latency_p99", *key, length, _percentile(cpu, 99), "s"),
        row("latency_wall_p50", *key, length, statistics.median(wall), "s"),
        row("latency_wall_p99", *key, length, _percentile(wall, 99), "s"),
    ]


def _memory(key: tuple[str, str], length: int, memory: dict[str, Any]) -> list[Row]:
    return [
        row("memory_resident", *key, length, memory["resident"], "bytes"),
        row("memory_state", *key, length, memory["state"], "bytes"),
        row("memory_counted", *key, length, memory["weights"] + memory["state"], "bytes"),
    ]


def stream(bench: Bench, rows: Sequence[Row], *, length: int) -> list[Row]:
    """Run PNB-X native for ``length`` steps and look at what grew; and caches of bytes of that length, if they fit."""
    rival = bench.rival(NATIVE_KEY)
    rival.ask("fill", length=256)
    before = rival.ask("memory")
    seconds = rival.ask("total", length=length)["cpu"]
    after = rival.ask("memory")
    # A few at a time: the lists of a long answer would stay in the memory that the next stage looks at.
    answers = [rival.ask("steps", count=NATIVE_STEPS_A_ROUND) for _ in range(2 if bench.quick else ROUNDS)]
    cpu, wall = ([value for answer in answers for value in answer[clock]] for clock in ("cpu", "wall"))
    found = [
        *_memory(NATIVE_KEY, length, after),
        *_latency(NATIVE_KEY, length, cpu, wall),
        row("memory_growth", *NATIVE_KEY, length, after["resident"] - before["resident"], "bytes"),
        row("state_growth", *NATIVE_KEY, length, after["state"] - before["state"], "bytes"),
        row("total_time", *NATIVE_KEY, length, seconds, "s"),
    ]
    found += [
        row("firing_rate", *NATIVE_KEY, length, rate / (256 if bench.quick else 2048), "spikes per neuron and step")
        for rate in [sum(after["rates"].values()) / len(after["rates"])]
    ]
    if length <= 100_000:
        for key in bench.available([INT8] if bench.quick else [INT8, *ONNX_BYTES]):
            rival = bench.rival(key)
            rival.ask("fill", length=length)
            answer = rival.ask("steps", count=8)
            found += _latency(key, length, answer["cpu"], answer["wall"])
            found += _memory(key, length, rival.ask("memory"))
            rival.ask("fill", length=1)
    return found


def totals(bench: Bench, rows: Sequence[Row], *, length: int) -> list[Row]:
    """Measure whole sequences from the beginning: a Transformer's prefill at once, others step by step or scanned."""
    keys = [key for key in TOTAL if not bench.quick or key in QUICK]
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in keys}
    rng = random.Random(length)
    for _ in range(1 if bench.quick or length > 2048 else 3):
        rng.shuffle(keys)
        for key in keys:
            seconds[key].append(bench.rival(key).ask("total", length=length)["cpu"])
    found = [
        row("total_time", *key, length, statistics.median(values), "s", low=min(values), high=max(values))
        for key, values in seconds.items()
    ]
    return found + _decoding(rows, length)


def _decoding(rows: Sequence[Row], length: int) -> list[Row]:
    """Return the time of decoding ``length`` steps one by one, by trapezoids over the measured latencies."""
    found = []
    forms = {r["form"] for r in rows if r["model"] == "Transformer, equal" and r["quantity"] == "latency_p50"}
    for form in sorted(forms):
        points = sorted(
            (r["length"], r["value"])
            for r in rows
            if (r["quantity"], r["model"], r["form"]) == ("latency_p50", "Transformer, equal", form)
            and r["length"] <= length
        )
        if not points:
            continue
        points = [(0, points[0][1]), *points]
        sums = [(b - a) * (x + y) / 2 for (a, x), (b, y) in pairwise(points)]
        found.append(row("total_time", "Transformer, equal", f"{form}, decoding", length, math.fsum(sums), "s"))
    return found


def bound(bench: Bench, rows: Sequence[Row], *, length: int) -> list[Row]:
    """Measure a Transformer step's products and attention alone, PNB-X's whole step taking turns with them."""
    cases = measure_training.bound_cases(length)
    seconds: dict[str, list[float]] = {form: [] for form in cases}
    ours: list[float] = []
    for _ in range(3 if bench.quick else 60):
        for form, case in cases.items():
            case()  # brings back what the others drove out of the caches
            seconds[form].append(case())
        ours += bench.rival(NATIVE_KEY).ask("steps", count=10)["cpu"][2:]
    found = []
    for form, values in seconds.items():
        low, middle, high = statistics.quantiles(values, n=4)
        found.append(row("latency_bound", "Transformer, equal", form, length, middle, "s", low=low, high=high))
    best = min(found, key=lambda r: r["value"])
    name = f"Transformer, equal ({best['form']}) / {NATIVE} native"
    return [
        *found,
        row("latency_bound_ratio", name, best["form"], length, best["value"] / statistics.median(ours), "times"),
    ]


def static(bench: Bench, rows: Sequence[Row]) -> list[Row]:
    """Measure one image: PNB-X in two steps, as it sees MNIST, a perceptron of its size, and LeNet-5."""
    cases = measure_training.images_cases(quick=bench.quick)
    seconds: dict[tuple[str, str], list[float]] = {NATIVE_KEY: [], **{key: [] for key in cases}}
    for _ in range(5 if bench.quick else 200):
        seconds[NATIVE_KEY].append(bench.rival(NATIVE_KEY).ask("total", length=2)["cpu"])
        for key, case in cases.items():
            seconds[key].append(case())
    found = []
    for key, values in seconds.items():
        low, middle, high = statistics.quantiles(values, n=4)
        found.append(row("image_p50", *key, None, middle, "s", low=low, high=high))
    return found


def cold(bench: Bench, rows: Sequence[Row]) -> list[Row]:
    """Measure from nothing to the first step, and files. Torch's side: its import, then making the network and a step.

    The torch networks are made with random weights in place of a file's, which spares them the reading.
    """
    found: list[Row] = []
    bench.rival(NATIVE_KEY)  # makes the program, if no stage before did
    imports, native = [], []
    for _ in range(1 if bench.quick else 5):
        imports.append(run(["-c", "import torch"]))
        native.append(run(["-c", COLD_NATIVE, str(bench.folder / "program.npz"), str(bench.folder / "inputs.npy")]))
    found.append(
        row("cold_start", *NATIVE_KEY, None, statistics.median(native), "s", low=min(native), high=max(native))
    )
    for key in bench.available(QUICK if bench.quick else FULL):
        rival = bench.rival(key)
        found.append(row("file_size", *key, None, rival.ask("memory")["file"], "bytes"))
        if key not in (NATIVE_KEY, (TORCH_PNBX, "fp32")):
            made = rival.first()["make_s"]
            value = statistics.median(imports) + made
            found.append(row("cold_start", *key, None, value, "s", low=min(imports) + made, high=max(imports) + made))
    return found


COLD_NATIVE = """
import sys
import numpy
from neuromorphic.executors.native import NativeNetwork
NativeNetwork.from_file(sys.argv[1]).step(numpy.load(sys.argv[2])[0])
"""


def training(bench: Bench, rows: Sequence[Row]) -> list[Row]:
    """Measure training steps of networks of equal size, taking turns in one process."""
    found = []
    for name, seconds, tokens in measure_training.measure(quick=bench.quick):
        low, middle, high = statistics.quantiles([tokens / value for value in seconds], n=4)
        found.append(row("training_throughput", name, "fp32", None, middle, "tokens/s", low=low, high=high))
    return found


RATIOS = {"latency_ratio": "latency_p50", "memory_ratio": "memory_resident", "memory_counted_ratio": "memory_counted"}


def ratios(bench: Bench, rows: Sequence[Row]) -> list[Row]:
    """Return how many times the best Transformer form of equal size is above PNB-X native in what was measured."""
    found = []
    lengths = sorted({r["length"] for r in rows if r["quantity"] == "latency_p50" and r["model"] == NATIVE})
    for length in lengths:
        for quantity, source in RATIOS.items():
            at = [r for r in rows if (r["quantity"], r["length"]) == (source, length)]
            ours = [r["value"] for r in at if r["model"] == NATIVE]
            theirs = {r["form"]: r["value"] for r in at if r["model"] == "Transformer, equal"}
            if ours and theirs:
                best = min(theirs, key=theirs.__getitem__)
                name = f"Transformer, equal ({best}) / {NATIVE} native"
                found.append(row(quantity, name, best, length, theirs[best] / ours[0], "times"))
    return found


def _percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]
