"""Energy of a step of PNB-X and of a Transformer, *modelled*, where nothing ran: work and traffic from closed forms."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pnbx_snn.metrics.energy import PLACES, Interval, Memory, Scenario, compute_energy, step_scenarios, traffic_energy
from pnbx_snn.metrics.operations import Operations
from studies.claims.closed_forms import (
    EQUAL,
    TransformerSizes,
    cache_bytes,
    operations,
    state_bytes,
    transformer_macs,
    transformer_parameters,
    transformer_step_macs,
)

FORM_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
ASSUMED_RATE, ASSUMED_INPUTS, ASSUMED_ZEROS = 0.188, 0.19, 0.25
"""Where nothing ran: the target rate, MNIST's share of pixels that are not 0, the zeros of uniform weights."""
BOLTZMANN = 1.380649e-23
"""J/K, exact by the definition of the kelvin (SI 2019)."""


def landauer(bits: float | int = 1, *, kelvin: float | int = 300) -> float:
    """Return k T ln 2 for each bit that is erased, in joules: physics, not engineering.

    References
    ----------
    Landauer 1961, IBM Journal of Research and Development 5.

    Examples
    --------
    >>> f"{landauer():.3e}"
    '2.871e-21'
    """
    return bits * BOLTZMANN * kelvin * math.log(2)


def assume(rows: Sequence[Operations], *, rate: float, input_density: float, zeros: float) -> list[Operations]:
    """Return a compiled network's operations with what is executed at assumed activities.

    Parameters
    ----------
    rows
        Of :func:`studies.claims.closed_forms.operations`; one memory slot answers.
    rate
        Spikes per neuron and step, of all layers.
    input_density, zeros
        Share of the inputs that are not 0, and of zeros among the weights.

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
        if row.name.endswith("recalled"):
            slots = next(other.dense for other in rows if other.name.endswith("asked"))
            density = next(other.dense for other in rows if other.name == "mean") / slots
        found.append(row._replace(executed=row.dense * density * (1 - zeros), density=density))
    return found


def assumed_step() -> list[Operations]:
    """Return a step of the compiled reference network at the assumed activities."""
    rows = operations(winner=True)
    return assume(rows, rate=ASSUMED_RATE, input_density=ASSUMED_INPUTS, zeros=ASSUMED_ZEROS)


def pnbx_scenarios(rows: Sequence[Operations] | None = None, state: int | None = None) -> list[Scenario]:
    """Return a step of PNB-X in every scenario; without ``rows`` and ``state`` of the reference network."""
    state = sum(state_bytes().values()) if state is None else state
    return step_scenarios(assumed_step() if rows is None else rows, state, who="PNB-X, ternary, integers")


def transformer_scenarios(position: int, *, form: str = "int8") -> list[Scenario]:
    """Return the decoding of one token by an equal Transformer, which attends to ``position`` tokens."""
    size = FORM_BYTES[form]
    compute = compute_energy({f"{form} MAC": transformer_step_macs(position, EQUAL)})
    moved = transformer_parameters(EQUAL) * size + cache_bytes(position + 1, EQUAL, bytes_per_number=size)
    name = f"Transformer, equal, {form}, token {position:,}"
    return [Scenario(name, "dense", place, compute, traffic_energy(moved, place)) for place in PLACES]


def prefill_energy(length: int, memory: Memory, *, form: str, sizes: TransformerSizes) -> Interval:
    """Return the energy of a whole causal sequence at once: weights are read once, keys and values written once."""
    size = FORM_BYTES[form]
    work = compute_energy({f"{form} MAC": transformer_macs(length, sizes, causal=True)})
    moved = transformer_parameters(sizes) * size + 2 * cache_bytes(length, sizes, bytes_per_number=size)
    return work + traffic_energy(moved, memory)
