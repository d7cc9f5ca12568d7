"""Energy, *modelled*: counted operations and bytes times published energies, as an interval over two tables.

Nothing here is measured. The tables are estimates of arithmetic units and memories in isolation: no control, no
leakage, no interconnect, so every number is a lower bound of what a chip takes; ratios say more than numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pnbx_snn.errors import PnbxValueError
from pnbx_snn.metrics.operations import Operations, totals

Memory = Literal["none", "SRAM 8 KB", "SRAM 32 KB", "SRAM 1 MB", "DRAM"]
MEMORIES: tuple[Memory, ...] = ("none", "SRAM 8 KB", "SRAM 32 KB", "SRAM 1 MB", "DRAM")
PLACES: tuple[Memory, ...] = ("none", "SRAM 1 MB", "DRAM")
"""Where weights and state lie in the scenarios."""


class Interval(NamedTuple):
    """Lowest and highest estimate in joules."""

    low: float
    high: float

    def __add__(self, other: object) -> Interval:
        """Add ends: both estimates of a table belong together."""
        if not isinstance(other, Interval):
            return NotImplemented
        return Interval(self.low + other.low, self.high + other.high)

    def over(self, other: Interval) -> tuple[float, float]:
        """Return how many times more than ``other``, table by table: smaller ratio first."""
        ratios = (self.low / other.low, self.high / other.high)
        return min(ratios), max(ratios)


class Table(NamedTuple):
    """Published energies of one process.

    Parameters
    ----------
    name, source
        Of the process, and where the numbers stand.
    operations
        pJ an operation.
    access
        pJ for 64 bits from a memory, lowest and highest.
    """

    name: str
    source: str
    operations: Mapping[str, float]
    access: Mapping[Memory, tuple[float, float]]


HOROWITZ_45 = Table(
    "45 nm, 0.9 V",
    'M. Horowitz, "Computing\'s Energy Problem (and what we can do about it)", ISSCC 2014, fig. 1.1.9',
    {
        "int8 add": 0.03, "int8 multiply": 0.2, "int32 add": 0.1, "int32 multiply": 3.1,
        "fp16 add": 0.4, "fp16 multiply": 1.1, "fp32 add": 0.9, "fp32 multiply": 3.7,
    },
    {"none": (0, 0), "SRAM 8 KB": (10, 10), "SRAM 32 KB": (20, 20), "SRAM 1 MB": (100, 100), "DRAM": (1300, 2600)},
)  # fmt: skip
JOUPPI_7 = Table(
    "7 nm",
    'N. Jouppi et al., "Ten Lessons From Three Generations Shaped Google\'s TPUv4i", ISCA 2021, table 2',
    {
        "int8 add": 0.007, "int8 multiply": 0.07, "int32 add": 0.03, "int32 multiply": 1.48,
        "fp16 add": 0.16, "fp16 multiply": 0.34, "fp32 add": 0.38, "fp32 multiply": 1.31,
    },
    # DRAM: HBM2 to DDR4.
    {"none": (0, 0), "SRAM 8 KB": (7.5, 7.5), "SRAM 32 KB": (8.5, 8.5), "SRAM 1 MB": (14, 14), "DRAM": (250, 1300)},
)  # fmt: skip
TABLES = (JOUPPI_7, HOROWITZ_45)

WORK: dict[str, tuple[tuple[str, float], ...]] = {
    "fp32 MAC": (("fp32 multiply", 1), ("fp32 add", 1)),
    "fp16 MAC": (("fp16 multiply", 1), ("fp16 add", 1)),
    "int8 MAC": (("int8 multiply", 1), ("int32 add", 1)),  # the sum needs 32 bits
    "ternary addition": (("int32 add", 1),),
    "int32 MAC": (("int32 multiply", 1), ("int32 add", 1)),
    "elementwise": (("int32 add", 1),),
    "fp32 elementwise": (("fp32 add", 1),),
}
"""What is counted, in the tables' operations. Most elementwise operations are additions, comparisons and shifts; a
multiplication by a 12-bit gate lies between the int8 and the int32 one."""


def compute_energy(work: Mapping[str, float | int]) -> Interval:
    """Return the energy of counted work, from the cheaper to the dearer table.

    Parameters
    ----------
    work
        How many of each kind of :data:`WORK`.

    Raises
    ------
    PnbxValueError
        Another kind, or a negative number.

    Examples
    --------
    >>> [round(1e12 * end, 3) for end in compute_energy({"ternary addition": 1, "fp32 MAC": 1})]
    [1.72, 4.7]
    """
    ends = []
    for table in TABLES:
        total = 0.0
        for kind, count in work.items():
            if kind not in WORK or not count >= 0:
                raise PnbxValueError(
                    f"compute_energy: work must count {', '.join(WORK)}, each at least 0, got {kind!r}: {count}"
                )
            total += count * sum(times * table.operations[name] for name, times in WORK[kind])
        ends.append(total * 1e-12)
    return Interval(min(ends), max(ends))


def traffic_energy(num_bytes: float | int, memory: Memory) -> Interval:
    """Return the energy of moving bytes from or to a memory, in accesses of 64 bits.

    Raises
    ------
    PnbxValueError
        Another memory, or negative bytes.

    Examples
    --------
    >>> [round(1e12 * end, 2) for end in traffic_energy(8, "SRAM 1 MB")]
    [14.0, 100.0]
    """
    if memory not in MEMORIES or not num_bytes >= 0:
        raise PnbxValueError(
            f"traffic_energy: memory must be one of {', '.join(MEMORIES)} and bytes at least 0, "
            f"got {memory!r}, {num_bytes}"
        )
    ends = [1e-12 * num_bytes / 8 * end for table in TABLES for end in table.access[memory]]
    return Interval(min(ends), max(ends))


class Scenario(NamedTuple):
    """Modelled energy of one step or token.

    Parameters
    ----------
    who, sparsity, memory
        What was modelled: ``sparsity`` is ``"dense"`` or ``"events"`` (what is skipped costs nothing).
    compute, traffic
        Both intervals; ``traffic`` of weights and state.
    """

    who: str
    sparsity: str
    memory: Memory
    compute: Interval
    traffic: Interval

    @property
    def total(self) -> Interval:
        """Compute and traffic."""
        return self.compute + self.traffic


def step_traffic(rows: Sequence[Operations], state: int, *, events: bool) -> float:
    """Return the bytes that a step moves: two bits a weight that is read, and the state in and out.

    With ``events`` only the columns of active inputs are read, as the native executor does.
    """
    weights = 0.0
    for row in rows:
        if "additions" in row.kind:
            touched = 1.0 if row.density is None or not events else row.density
            weights += row.dense * touched / 4
    return weights + 2 * state


def step_scenarios(rows: Sequence[Operations], state: int, *, who: str = "ternary, integers") -> list[Scenario]:
    """Return a step of a ternary network in every scenario.

    Parameters
    ----------
    rows
        Operations of a step, with what was executed.
    state
        Bytes from step to step; read and written in each.
    who
        Name.
    """
    found, kinds = [], totals(rows)
    for pick, sparsity in enumerate(("dense", "events")):
        additions = kinds["additions from events"][pick] + kinds["additions from values"][pick]
        work = {"ternary addition": additions, "int32 MAC": kinds["multiply-accumulates"][0]}
        compute = compute_energy({**work, "elementwise": kinds["elementwise"][0]})
        moved = step_traffic(rows, state, events=sparsity == "events")
        found += [Scenario(who, sparsity, place, compute, traffic_energy(moved, place)) for place in PLACES]
    return found
