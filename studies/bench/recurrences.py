"""Other recurrences of training, forward and backward, against torch's loops, products and compiler.

Each row compares states and gradients with the plain loop in double precision before it is timed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pnbx_snn.kernels.gated_scan import gated_scan
from pnbx_snn.kernels.scan import diagonal_scan
from pnbx_snn.layers.fast_weights import _blocks, delta_read
from pnbx_snn.layers.hippocampus import Hippocampus
from studies.bench import limits
from studies.bench.scans import doubling
from studies.bench.scans import loop as diagonal_loop
from studies.bench.timing import Limit, Row, interleave

Form = Callable[..., Tensor]
COMPILED = 100
"""Steps up to which torch.compile is a rival: it unrolls the loop, and takes a minute for so many."""
DECAY, RATE = 31 / 32, 1 / 64


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def measure(work: str, leaves: Sequence[Tensor], forms: dict[str, Form], limit: Limit | None, seconds: float) -> Row:
    """Compare results and gradients of all forms with the loop's in double precision, then time them."""
    row = Row("recurrences", work, ("PNB-X",), limit=limit)
    for leaf in leaves:
        leaf.requires_grad_()

    def run(form: Form, given: Sequence[Tensor], grad: Tensor) -> list[Tensor]:
        result = form(*given)
        result.backward(grad)  # type: ignore[no-untyped-call]
        found = [result.detach(), *(leaf.grad for leaf in given if leaf.grad is not None)]
        for leaf in given:
            leaf.grad = None  # each frees what it took
        return found

    wide = [leaf.detach().to(torch.promote_types(leaf.dtype, torch.float64)).requires_grad_() for leaf in leaves]
    with torch.no_grad():
        upstream = torch.randn_like(forms["PNB-X"](*leaves))
    expected = run(forms["torch loop"], wide, upstream.to(torch.promote_types(upstream.dtype, torch.float64)))
    for name, form in forms.items():
        found = run(form, leaves, upstream)
        errors = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True)]
        row.checks.append(f"{name}: values and gradients differ from the loop in float64 by {max(errors):.1e}")
        if max(errors) > 1e-3:
            raise AssertionError(row.checks[-1])

    def timed(form: Form) -> Callable[[], list[Tensor]]:
        return lambda: run(form, leaves, upstream)

    row.times = interleave({name: timed(form) for name, form in forms.items()}, seconds=seconds)
    return row


def moved(values: float, forward: int, backward: int) -> Limit | None:
    """Return the limit of work that reads or writes so many arrays of ``values`` numbers once.

    In memory, whatever their size: the rivals take turns, and leave nothing in a cache.
    """
    return limits.least(torch.get_num_threads(), copied=4 * values * (forward + backward), held=math.inf)


def multiplied(count: float) -> Limit | None:
    """Return the limit of work that needs so many fp32 multiplications with additions."""
    return limits.least(torch.get_num_threads(), issued={"vfmadd231ps": count / (limits.vector_bits() // 32)})


def complex_row(T: int, B: int, S: int, seconds: float) -> Row:
    """Complex scan, one decay per state: reads x, writes s; reads g and s, writes the gradient of x."""
    magnitude, angle = torch.rand(S, generator=torch.Generator().manual_seed(0)), torch.linspace(0.0, 3.0, S)
    decay = torch.polar(0.5 + 0.49 * magnitude, angle)
    inputs, zeros = draw(T, B, S, dtype=torch.complex64), torch.zeros(B, S, dtype=torch.complex64)
    forms: dict[str, Form] = {"PNB-X": lambda d, x: diagonal_scan(d, x, zeros.to(x)), "torch loop": diagonal_loop}
    if T <= COMPILED:  # it takes 25 times as long as the loop for 1,000
        forms["torch doubling"] = doubling
    return measure(f"complex scan ({T}, {B}, {S})", [decay, inputs], forms, moved(2 * T * B * S, 2, 3), seconds)


def gated(gate: Tensor, candidate: Tensor) -> Tensor:
    """Return the states of a minimal GRU, or of a selective state space, from what their matrices answer."""
    return gated_scan(gate, candidate, torch.zeros_like(gate[0]))


def gated_loop(gate: Tensor, candidate: Tensor) -> Tensor:
    """Step by step; what needs no state is computed for all steps at once."""
    keep = torch.sigmoid(gate)
    inputs = (1 - keep) * candidate
    state, states = torch.zeros_like(gate[0]), []
    for d, x in zip(keep.unbind(0), inputs.unbind(0), strict=True):
        state = torch.addcmul(x, d, state)
        states.append(state)
    return torch.stack(states)


def gated_row(T: int, B: int, S: int, seconds: float) -> Row:
    """Minimal GRU: reads gate and candidate, writes s; reads g, gate, candidate and s, writes two gradients."""
    forms: dict[str, Form] = {"PNB-X": gated, "torch loop": gated_loop}
    if T <= COMPILED:
        forms["torch.compile"] = torch.compile(gated_loop, dynamic=False)
    leaves = [draw(T, B, S), draw(T, B, S, seed=1)]
    return measure(f"gated scan of min-GRU ({T}, {B}, {S})", leaves, forms, moved(T * B * S, 3, 6), seconds)


def delta_loop(keys: Tensor) -> Tensor:
    """Step by step; the error of a step is taken from the read of the one before."""
    B, r = keys.shape[1:]
    F, previous, read = keys.new_zeros(B, r, r), keys.new_zeros(B, r), keys.new_zeros(B, r)
    reads = []
    for k in keys.unbind(0):
        F = torch.baddbmm(F, (k - read).unsqueeze(2), previous.unsqueeze(1), beta=DECAY, alpha=RATE)
        read = torch.bmm(F, k.unsqueeze(2)).squeeze(2)
        reads.append(read)
        previous = k
    return torch.stack(reads)


def delta(keys: Tensor) -> Tensor:
    """Read by PNB-X's kernel."""
    B, r = keys.shape[1:]
    return delta_read(keys, DECAY, RATE, keys.new_zeros(B, r, r), keys.new_zeros(B, r))[0]


def delta_blocks(keys: Tensor) -> Tensor:
    """Matrix products over blocks of 64 steps and a triangular system in each (Yang et al. 2024, arXiv:2406.06484)."""
    B, r = keys.shape[1:]
    return _blocks("delta", keys, DECAY, RATE, keys.new_zeros(B, r, r), keys.new_zeros(B, r))[0]


def delta_row(T: int, B: int, r: int, seconds: float) -> Row:
    """Delta rule: in each step 2 r² multiplications forward and 5 r² backward.

    Forward one write of F and one read. Backward F is written once more, as no memory holds that of every step, its
    gradient is written once, and three products give the gradients of what reads, is written and addresses.
    """
    forms: dict[str, Form] = {"PNB-X": delta, "torch loop": delta_loop, "torch blocks": delta_blocks}
    if T <= COMPILED:
        forms["torch.compile"] = torch.compile(delta_loop, dynamic=False)
    keys = (0.7 * draw(T, B, r)).clamp(-1, 1)
    return measure(f"delta rule ({T}, {B}, {r})", [keys], forms, multiplied(7 * T * B * r * r), seconds)


def slots_loop(memory: Hippocampus) -> Form:
    """Step by step: a read of E, then a write, as the equations say."""

    def run(events: Tensor) -> Tensor:
        slow, alpha = memory.to(events.dtype)._ask(events)
        E, reads = events.new_zeros(events.shape[1], memory.slots, memory.d_hidden), []
        for e, a in zip(events.unbind(0), alpha.unbind(0), strict=True):
            reads.append(torch.bmm(a.unsqueeze(1), E).squeeze(1))
            write = memory.rate * a.unsqueeze(2)
            E = (1 - memory.decay - write) * E + write * e.unsqueeze(1)
        return alpha @ slow + torch.stack(reads)

    return run


def slots_row(T: int, B: int, H: int, M: int, seconds: float) -> Row:
    """Hippocampus: products only, the fewest of its two forms.

    In each step M H for the scores and M H for the slow half, and for the fast half 2 M H through a state, or
    (T / 2) (M + H) without one; twice as many backward.
    """
    torch.manual_seed(0)
    memory = Hippocampus(H, M)
    events = (torch.rand(T, B, H, generator=torch.Generator().manual_seed(0)) < 0.2).float()

    def ours(events: Tensor) -> Tensor:
        return memory.to(events.dtype)(events, keep_state=False)[0]  # type: ignore[no-any-return]

    forms: dict[str, Form] = {"PNB-X": ours, "torch loop": slots_loop(memory)}
    count = 3 * T * B * (2 * M * H + min(2 * M * H, T / 2 * (M + H)))
    return measure(f"hippocampus ({T}, {B}, {H}), {M} slots", [events], forms, multiplied(count), seconds)


def rows(seconds: float, *, quick: bool) -> list[Row]:
    """Measure the table of recurrences."""
    if quick:
        return [
            complex_row(20, 4, 16, seconds),
            gated_row(COMPILED + 1, 4, 16, seconds),
            delta_row(COMPILED + 1, 2, 16, seconds),
            slots_row(40, 2, 32, 8, seconds),
        ]
    return [
        complex_row(100, 32, 256, seconds),
        complex_row(1000, 32, 256, seconds),
        complex_row(10_000, 8, 64, seconds),
        gated_row(100, 32, 256, seconds),
        gated_row(1000, 32, 256, seconds),
        gated_row(10_000, 8, 64, seconds),
        delta_row(100, 32, 64, seconds),
        delta_row(1000, 16, 64, seconds),
        delta_row(10_000, 4, 32, seconds),
        slots_row(100, 8, 512, 64, seconds),
        slots_row(1000, 4, 512, 64, seconds),
        slots_row(10_000, 1, 256, 32, seconds),
    ]
