"""Sums of many terms, and limits, which decide how exact a sum has to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from neuromorphic.executors.onnx.graph import Operand, Tensor
from neuromorphic.executors.onnx.integers import EXACT
from neuromorphic.executors.onnx.lowering import INT32_END, SUMS, Lowering, fixed_value, is_number
from neuromorphic.executors.onnx.rules.shifts import shifted
from neuromorphic.executors.onnx.rules.wide import limbs
from neuromorphic.integers.symbols import Symbol


class Term(NamedTuple):
    """What a sum adds (``sign`` 1) or subtracts (-1): a tensor, its largest magnitude, and what becomes of it."""

    tensor: Operand
    peak: int
    sign: int
    order: int  # integers 0, constants 1, what float32 computes 2


def sum_of_terms(to: Lowering, s: Symbol) -> Tensor:
    """Add or subtract, with all that is added and subtracted before and read by nothing else."""
    return _total(to, s, list(_terms(to, s)))


def _terms(to: Lowering, s: Symbol, sign: int = 1, *, inner: bool = False) -> Iterator[tuple[int, Symbol]]:
    """Yield the symbols that a sum adds and subtracts, where nothing else reads its partial sums."""
    if s.kind not in SUMS or (inner and to.is_shared(s)) or fixed_value(s) is not None:
        yield sign, s
    else:
        yield from _terms(to, s.args[0], sign, inner=True)
        yield from _terms(to, s.args[1], sign if s.kind == "add" else -sign, inner=True)


def _total(
    to: Lowering,
    s: Symbol,
    terms: Sequence[tuple[int, Symbol]],
    limit: int = EXACT,
    cut: Mapping[int, tuple[Tensor, int]] = MappingProxyType({}),
) -> Tensor:
    """Sum terms: integers first, constants, then what float32 computes.

    Where the sum is limited to ``limit``, float32 may add the last: it only rounds what is beyond the limit.
    """
    g, parts = to.g, []
    for sign, term in terms:
        others = [t for _, t in terms if t is not term]
        tensor, peak = cut.get(id(term)) or (to.operand(term, s.shape, others), term.peak)
        order = 2 if tensor in g.soft else 0 if fixed_value(term) is None else 1
        parts.append(Term(tensor, peak, sign, order))
    soft = [part for part in parts if part.order == 2]
    hard = [part for part in parts if part.order < 2]
    soft_peak = sum(part.peak for part in soft)
    shared = to.is_shared(s)
    if not soft or soft_peak + sum(part.peak for part in hard) <= EXACT:
        return _added(to, parts, shared=shared)
    if soft_peak > EXACT or not hard:
        return _added(to, [part._replace(tensor=g.exact(part.tensor), order=0) for part in parts], shared=shared)
    late = _added(to, soft, shared=True)
    if soft_peak + limit > EXACT:
        late = g.exact(late)
    total = g.op("Add", _added(to, hard, shared=True), late)
    if late in g.soft:
        g.soft.add(total)
    if not shared:
        g.wide.add(total)
    return total


def _added(to: Lowering, parts: Sequence[Term], *, shared: bool) -> Tensor:
    added = [part for part in parts if part.sign > 0]
    first = min(added, key=lambda part: part.order) if added else Term(0, 0, 1, 1)
    total, peak = first.tensor, first.peak
    for part in sorted((p for p in parts if p is not first), key=lambda part: part.order):
        peak += part.peak
        if not (isinstance(part.tensor, int) and part.tensor == 0):
            kind = "Add" if part.sign > 0 else "Sub"
            total = to.g.integer(kind, total, part.tensor, peak=peak, shared=shared)
    return to.g.constant(total)


def clip(to: Lowering, s: Symbol) -> Tensor:
    """Limit to two constants."""
    (x,), least, most = s.args, s.facts["least"], s.facts["most"]
    if least <= x.span[0] and x.span[1] <= most:
        return to.tensor(x)
    return _clipped(to, x, least, most, shared=to.is_shared(s))


def _clipped(to: Lowering, x: Symbol, least: int, most: int, *, shared: bool = False) -> Tensor:
    limit, inside = max(abs(least), abs(most)), x.peak < INT32_END
    terms = list(_terms(to, x)) if x.kind in SUMS and not to.is_shared(x) and not to.is_real(x) else []
    if not inside and limit > 1 << 30:
        raise to.refused(f"a limit of {limit}")
    cut = {} if inside or not terms else _cut(to, terms, least, most)
    if x.kind == "right" and not is_number(x.args[1]) and fixed_value(x) is None:
        wide = shifted(to, x, limit)
    elif cut or (terms and inside):
        wide = _total(to, x, terms, limit, cut)
    elif inside:
        wide = to.tensor(x)
    elif x.kind == "right":
        wide = limbs(to, x.args[0]).floor(x.args[1].peak, limit)
    elif x.kind == "toward_zero":
        wide = limbs(to, x.args[0]).toward_zero(x.facts["bits"], limit)
    else:
        wide = limbs(to, x).floor(0, limit)
    return to.g.clip(wide, least, most, shared=shared)


def _cut(to: Lowering, terms: Sequence[tuple[int, Symbol]], least: int, most: int) -> dict[int, tuple[Tensor, int]]:
    """Limit the widest term of a sum to what the limits of the sum let through whatever the other terms are."""
    sign, widest = max(terms, key=lambda term: term[1].peak)
    ends = [sorted(other * end for end in t.span) for other, t in terms if t is not widest]
    low, high = (sum(end[side] for end in ends) for side in (0, 1))
    limits = sorted((sign * (least - high), sign * (most - low)))
    peak = max(map(abs, limits))
    if peak > 1 << 30 or peak + max(abs(low), abs(high)) >= INT32_END or len(ends) < len(terms) - 1:
        return {}
    return {id(widest): (_clipped(to, widest, *limits), peak)}
