"""Energy of a step of PNB-X and of a Transformer, *modelled*: work and traffic, with and without sparsity."""

from __future__ import annotations

from collections.abc import Sequence

from studies.claims.closed_forms import (
    EQUAL,
    REFERENCE,
    Operations,
    Sizes,
    TransformerSizes,
    cache_bytes,
    operations,
    state_bytes,
    transformer_macs,
    transformer_parameters,
    transformer_step_macs,
)
from studies.claims.energy import Interval, Memory, Scenario, compute_energy, traffic_energy
from studies.counted.operations import totals

FORM_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
PLACES: tuple[Memory, ...] = ("none", "SRAM 1 MB", "DRAM")
ASSUMED_RATE, ASSUMED_INPUTS, ASSUMED_ZEROS = 0.188, 0.19, 0.25
"""Where nothing ran: the target rate, MNIST's share of pixels that are not 0, the zeros of uniform weights."""


def compiled(sizes: Sizes) -> Sizes:
    """Return the sizes as a compiled program has them: one memory slot answers."""
    return sizes._replace(hippocampus=sizes.hippocampus.replace("softmax", "winner"))


def assume(
    rows: list[Operations], *, rate: float, input_density: float, zeros: float, winner: bool = True
) -> list[Operations]:
    """Return closed forms with what would be executed at assumed activities: where nothing ran.

    Parameters
    ----------
    rows
        Of :func:`studies.claims.closed_forms.operations`.
    rate
        Spikes per neuron and step, of all layers.
    input_density
        Share of the inputs that are not 0.
    zeros
        Share of zeros among the weights.
    winner
        One memory slot answers, as in a compiled program; ``False``: all do.

    Examples
    --------
    >>> rows = [Operations("ssm", "A", "additions from events", 1000)]
    >>> assume(rows, rate=0.2, input_density=1.0, zeros=0.25)[0].executed
    150.0
    """
    found = []
    for row in rows:
        if "additions" not in row.kind:
            found.append(row)
            continue
        density = rate if row.kind == "additions from events" else 1.0
        if row.part == "encoder":
            density = input_density
        if row.name.endswith("recalled") and winner:
            slots = next(other.dense for other in rows if other.name.endswith("asked"))
            neurons = next(other.dense for other in rows if other.part == "readout" and other.name == "mean")
            density = neurons / slots
        found.append(row._replace(executed=row.dense * density * (1 - zeros), density=density))
    return found


def assumed_step(sizes: Sizes = REFERENCE) -> list[Operations]:
    """Return a step of a compiled network at the assumed activities."""
    rows = operations(compiled(sizes))
    return assume(rows, rate=ASSUMED_RATE, input_density=ASSUMED_INPUTS, zeros=ASSUMED_ZEROS)


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


def pnbx_scenarios(rows: Sequence[Operations], state: int, *, who: str = "PNB-X, ternary, integers") -> list[Scenario]:
    """Return a step of PNB-X in every scenario.

    Parameters
    ----------
    rows
        Operations of a step, with what was executed.
    state
        Bytes from step to step; read and written in each.
    who
        Name.
    """
    found = []
    kinds = totals(list(rows))
    for sparsity in ("dense", "events"):
        pick = 1 if sparsity == "events" else 0
        additions = kinds["additions from events"][pick] + kinds["additions from values"][pick]
        work = {"ternary addition": additions, "int32 MAC": kinds["multiply-accumulates"][0]}
        compute = compute_energy({**work, "elementwise": kinds["elementwise"][0]})
        moved = step_traffic(rows, state, events=sparsity == "events")
        found += [Scenario(who, sparsity, place, compute, traffic_energy(moved, place)) for place in PLACES]
    return found


def transformer_scenarios(
    position: int, *, form: str = "int8", sizes: TransformerSizes = EQUAL, who: str = "Transformer, equal"
) -> list[Scenario]:
    """Return the decoding of one token that attends to ``position`` tokens, weights and cache in one form."""
    size = FORM_BYTES[form]
    compute = compute_energy({f"{form} MAC": transformer_step_macs(position, sizes)})
    moved = transformer_parameters(sizes) * size + cache_bytes(position + 1, sizes, bytes_per_number=size)
    name = f"{who}, {form}, token {position:,}"
    return [Scenario(name, "dense", place, compute, traffic_energy(moved, place)) for place in PLACES]


def prefill_energy(length: int, memory: Memory, *, form: str, sizes: TransformerSizes) -> Interval:
    """Return the energy of a whole causal sequence at once: weights are read once, keys and values written once."""
    size = FORM_BYTES[form]
    work = compute_energy({f"{form} MAC": transformer_macs(length, sizes, causal=True)})
    moved = transformer_parameters(sizes) * size + 2 * cache_bytes(length, sizes, bytes_per_number=size)
    return work + traffic_energy(moved, memory)


def scaled(interval: Interval, times: float | int) -> Interval:
    """Return an interval so many times."""
    return Interval(interval.low * times, interval.high * times)


def reference_state() -> int:
    """Return the bytes of the reference network's state."""
    return sum(state_bytes(REFERENCE).values())
