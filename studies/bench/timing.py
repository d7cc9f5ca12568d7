"""Time rivals fairly: warmed up, interleaved in one run, medians and quartiles."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MIN_SAMPLE_S = 2e-3
MIN_ROUNDS, MAX_ROUNDS = 7, 400
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def readable(seconds: float) -> str:
    """Return seconds with three digits and a unit."""
    rounded = float(f"{seconds:.3g}")  # 999.9 us are 1 ms
    scale, unit = next((scale, unit) for scale, unit in UNITS if rounded >= scale or unit == "ns")
    return f"{seconds / scale:.3g} {unit}"


@dataclass(frozen=True)
class Timing:
    """Seconds per call: median, quartiles, and how many samples they are of."""

    median_s: float
    low_s: float
    high_s: float
    samples: int


@dataclass(frozen=True)
class Limit:
    """The least seconds that a piece of work can take on this machine, from what was measured in the same run.

    ``binds`` says what sets it: ``"82 MB at 25.1 GB/s, memory"``. The rest is what a roofline needs: the bytes that
    must move and the level they lie in, and the instructions, with the name of those that take longest.
    """

    seconds: float
    binds: str
    threads: int = 1
    bytes: float = 0.0
    level: str = ""
    instructions: float = 0.0
    instruction: str = ""


@dataclass
class Row:
    """One line of a table: a piece of work, the time each rival takes, and what was compared before timing.

    ``ours`` names the entries that are this project's, the first of them the one that counts; ``bounds`` those that do
    only a part of the work, for comparison. ``limit`` is the machine's.
    """

    table: str
    work: str
    ours: tuple[str, ...]
    times: dict[str, Timing] = field(default_factory=dict)
    checks: list[str] = field(default_factory=list)
    bounds: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    limit: Limit | None = None

    @property
    def share(self) -> float:
        """What part of the machine's limit is reached: the limit's time as a part of ours."""
        assert self.limit is not None
        return self.limit.seconds / self.times[self.ours[0]].median_s

    @property
    def best_rival(self) -> str:
        """Fastest entry that is not ours and does the whole work; empty where there is none."""
        rivals = [name for name in self.times if name not in self.ours + self.bounds]
        return min(rivals, key=lambda n: self.times[n].median_s, default="")

    @property
    def speedup(self) -> float:
        """How many times faster than the best rival."""
        return self.times[self.best_rival].median_s / self.times[self.ours[0]].median_s


def interleave(
    cases: Mapping[str, Callable[[], Any]], *, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Timing]:
    """Time all cases, which take turns, in random order within a round, for about ``seconds`` in all.

    A case faster than 2 ms is called several times a sample. ``time.thread_time`` as ``clock`` counts what one thread
    worked: on a machine that others use too, of cases that use no other thread.
    """
    repeats: dict[str, int] = {}
    for name, case in cases.items():
        case()
        started = clock()
        case()
        once = clock() - started
        repeats[name] = max(1, round(MIN_SAMPLE_S / max(once, 1e-8)))
        for _ in range(repeats[name]):
            case()
    samples: dict[str, list[float]] = {name: [] for name in cases}
    order, rng = list(cases), random.Random(0)
    end = time.perf_counter() + seconds
    for round_number in range(MAX_ROUNDS):
        if round_number >= MIN_ROUNDS and time.perf_counter() > end:
            break
        rng.shuffle(order)
        for name in order:
            case, count = cases[name], repeats[name]
            started = clock()
            for _ in range(count):
                case()
            samples[name].append((clock() - started) / count)
    return {name: _summary(values) for name, values in samples.items()}


def _summary(values: list[float]) -> Timing:
    low, middle, high = statistics.quantiles(values, n=4)
    return Timing(middle, low, high, len(values))
