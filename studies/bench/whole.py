"""Whole pieces of work around a program: compile a network, load and prove a large program, make a step on Lava.

Each beside what it was before: the agreement measured on the NumPy reference, and a Lava process for every operation.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from neuromorphic import LIF, Dense, Input, Program, compare, run
from neuromorphic.bounds import prove
from neuromorphic.compiler import answers, compile_model, measure_agreement
from neuromorphic.errors import LavaNotFoundError
from neuromorphic.executors.lava.executor import LavaSession
from neuromorphic.executors.lava.grouping import Processes
from neuromorphic.integers.numbers import STATE_MAX
from neuromorphic.ops import Delay
from pnbx_snn import PNBX
from studies.bench.timing import Row, Timing, interleave
from studies.measurements.reference import images, settled

LAVA: dict[str, Processes] = {
    "a process a block": "block",
    "one process": "one",
    "a process an operation": "operation",
}


def _turns(cases: Mapping[str, Callable[[], float]], count: int) -> dict[str, Timing]:
    """Time cases that take seconds: a few turns each, by the seconds that each returns."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(max(count, 2)):
        for name, case in cases.items():
            seconds[name].append(case())
    found = {}
    for name, values in seconds.items():
        low, middle, high = statistics.quantiles(values, n=4)
        found[name] = Timing(middle, low, high, len(values))
    return found


def compile_row(*, quick: bool) -> list[Row]:
    """Measure compiling the reference network, its agreement included, of many images and of few on either executor."""
    torch.manual_seed(0)
    model = PNBX(in_features=784, num_classes=10, num_steps=4, d_hidden=64 if quick else 2048)
    shown = images(128)
    model.calibrate(shown)
    settled(model, model.encode(shown))
    found: dict[str, dict[str, Any]] = {}

    def compiled(number: int, executor: str) -> float:
        given = model.encode(images(number))
        started = time.perf_counter()
        with patch.object(answers, "WORTH_PREPARING", {"native": 0, "numpy": 1 << 62}[executor]):
            program = compile_model(model)
            found[executor] = measure_agreement(model, program, given, torch.zeros(number, dtype=torch.int64))
        return time.perf_counter() - started

    rows = []
    many, few = (256, 128) if quick else (10_000, 256)
    for number, executors in ((few, ("native", "numpy")), (many, ("native",))):
        names = {"native": "PNB-X native", "numpy": "NumPy reference"}
        row = Row("whole", f"compile the reference network, agreement on {number:,} images", ("PNB-X native",))
        cases = {names[one]: partial(compiled, number, one) for one in executors}
        row.times = _turns(cases, 1 if quick else 3)
        if len(executors) > 1:
            if found["native"] != found["numpy"]:
                raise AssertionError(f"{row.work}: the executors measure {found}")
            row.checks.append("both executors measure the same agreement")
        rows.append(row)
    return rows


def slow_loops(number: int, num_steps: int) -> Program:
    """Return a program of so many loops of neurons that hardly leak: four operations each, 420 bytes an operation."""
    one, unit = np.ones(4, dtype=np.int32), np.eye(4, dtype=np.int8)
    ops: list[Any] = [Input("x", 4)]
    for i in range(number):
        names = (f"driven{i}", f"heard{i}")
        ops += [Delay(f"last{i}", f"lif{i}", 4), Dense(names[1], f"last{i}", unit), Dense(names[0], ops[-1].name, unit)]
        ops.append(LIF(f"lif{i}", names, 4095 * one, STATE_MAX * one, 0 * one, 0, reset="subtract"))
    return Program(tuple(ops), num_steps=num_steps)


def program_rows(seconds: float, *, quick: bool) -> list[Row]:
    """Measure loading and proving a file of thousands of operations."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.npz"
        slow_loops(30 if quick else 750, 4096).save(path)
        program = Program.load(path)
        what = f"{len(program.ops):,} operations, {path.stat().st_size / 1e6:.2f} MB, {program.num_steps:,} steps"
        for work, case in (("load", lambda: Program.load(path)), ("prove", lambda: prove(program))):
            row = Row("whole", f"{work} a program of {what}", ("PNB-X",))
            row.times = interleave({"PNB-X": case}, seconds=seconds / 2, clock=time.thread_time)
            rows.append(row)
    return rows


def lava_row(*, quick: bool) -> list[Row]:
    """Measure a step of a PNB-X network in Lava's own runtime, by what has a process; none where Lava is not there."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"d_hidden": 48, "d_ssm": 6, "d_rnn": 4, "rank": 4, "slots": 4}
    model = PNBX(in_features=6, num_classes=3, num_steps=20 if quick else 200, threshold=0.4, **sizes)
    x = torch.rand(2, 6)
    model.calibrate(x)
    program = compile_model(model.eval())
    codes = program.prepare_inputs(x.numpy())
    expected = run(program, codes)
    steps = int(codes.shape[0] * codes.shape[1])
    row = Row("whole", f"a step of a PNB-X network of {len(program.ops)} operations on Lava", tuple(LAVA)[:2])
    row.bounds = ("NumPy without Lava",)
    with ExitStack() as sessions:
        try:
            session = sessions.enter_context(LavaSession())
        except LavaNotFoundError:
            return []

        def on_lava(name: str) -> float:
            got = session.execute(program, codes, processes=LAVA[name])
            if not compare(expected, got).equal:
                raise AssertionError(f"{row.work}: {name} differs")
            row.facts[name] = got.metadata["processes"]
            return float(got.metadata["us_per_step"]) * 1e-6

        def without_lava() -> float:
            alone = (run(program, codes[:, b : b + 1]) for b in range(codes.shape[1]))
            return float(sum(recording.metadata["seconds"] for recording in alone)) / steps

        cases: dict[str, Callable[[], float]] = {name: partial(on_lava, name) for name in LAVA}
        cases[row.bounds[0]] = without_lava
        row.times = _turns(cases, 1 if quick else 5)
    row.checks.append("every spike and state equals the reference's")
    return [row]


def rows(seconds: float, *, quick: bool) -> list[Row]:
    """Measure all."""
    return [*compile_row(quick=quick), *program_rows(seconds, quick=quick), *lava_row(quick=quick)]
