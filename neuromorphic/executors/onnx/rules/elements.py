"""What is computed element by element: products, masks, magnitudes, comparisons and choices."""

from __future__ import annotations

from neuromorphic.executors.onnx.graph import BOOL, INT32, Tensor
from neuromorphic.executors.onnx.integers import EXACT
from neuromorphic.executors.onnx.lowering import INT32_END, Lowering, fixed_value
from neuromorphic.executors.onnx.rules.wide import limbs
from neuromorphic.integers.symbols import Symbol


def multiply(to: Lowering, s: Symbol) -> Tensor:
    """Multiply."""
    a, b = to.operands(s, s.args)
    if 1 in (a, b):
        return to.g.constant(b if a == 1 else a)
    return to.g.integer("Mul", a, b, peak=max(s.peak, *(x.peak for x in s.args)), shared=to.is_shared(s))


def mask(to: Lowering, s: Symbol) -> Tensor:
    """Mask with a constant."""
    x, bits = s.args
    if bits.peak >= INT32_END:
        raise to.refused("a mask")
    return to.tensor(x) if x.span[0] >= 0 and x.peak <= bits.peak else to.g.bits(to.tensor(x), bits.peak)


def absolute(to: Lowering, s: Symbol) -> Tensor:
    """Return the magnitude."""
    (x,) = s.args
    if x.peak >= INT32_END:
        raise to.refused("a magnitude")
    return to.g.integer("Abs", to.tensor(x), peak=x.peak, shared=to.is_shared(s))


def comparison(to: Lowering, s: Symbol) -> Tensor:
    """Compare: 1 or 0."""
    return to.g.softened(to.g.cast(_compared(to, s), INT32))


def _compared(to: Lowering, s: Symbol) -> Tensor:
    """Return a comparison as booleans."""
    g, (a, b), strict = to.g, s.args, s.kind == "greater"
    if max(a.peak, b.peak) <= EXACT:
        x, y = (g.narrow(g.constant(t)) for t in to.operands(s, s.args))
        return g.op("Greater" if strict else "GreaterOrEqual", x, y)
    if strict:  # a > b: b - a is negative; a >= b: a - b is not
        a, b = b, a
    if a.peak + b.peak < INT32_END:
        apart = g.sealed(g.op("Sub", *(g.exact(t) for t in to.operands(s, (a, b)))))
    else:
        apart = (limbs(to, a) + limbs(to, b).negative()).carried()[1][-1]
    less = g.op("Less", g.exact(apart), 0)
    return less if strict else g.op("Equal", g.cast(less, INT32), 0)


def where(to: Lowering, s: Symbol) -> Tensor:
    """Choose."""
    g, (condition, x, y) = to.g, s.args
    ends = fixed_value(x), fixed_value(y)
    if condition.shape == s.shape and all(e is not None and (e == n).all() for e, n in zip(ends, (1, 0), strict=True)):
        return to.tensor(condition)
    compared = condition.kind in ("greater", "greater_equal") and fixed_value(condition) is None
    chosen = _compared(to, condition) if compared else g.cast(to.tensor(condition), BOOL)
    if max(x.peak, y.peak) > EXACT and not to.is_shared(condition):  # no chain from float32 to more bits
        chosen = g.cast(g.sealed(g.cast(chosen, INT32)), BOOL)
    chosen = to.ranked(chosen, condition, len(s.shape))
    return g.integer("Where", chosen, *to.operands(s, (x, y)), peak=max(x.peak, y.peak), shared=to.is_shared(s))
