r"""A matrix that in every step decays, is written to and is read: fast weights, and each of their gradients.

.. math::

    u_t = \eta (v_t - y_{t-1}), \qquad S_t = \lambda S_{t-1} + w_t u_t^\top, \qquad y_t = \rho S_t^\top q_t

with :math:`y_{t-1}` only in the delta rule. Columns of S do not need each other: a thread takes 16 or 32 of them
through all steps. Four steps are one pass over S to read it and one to write it: what the four read of each other's
writes needs only the products of their :math:`q` with their :math:`w`. Sums have a fixed order, whatever the number of
threads. Compiled by numba at the first call and kept in its cache.
"""

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from pnbx_snn.kernels.cpu.compiled import Shared, array, inlined, num_threads
from pnbx_snn.kernels.cpu.lanes import (
    fetch,
    filled,
    load,
    multiply_add,
    nothing,
    repeat,
    spread,
    store,
    totals,
)
from pnbx_snn.kernels.cpu.memory import empty

STEPS = 4
PART = 16
"""Rows of vectors are filled with zeros to a multiple of it."""

LINE = 16
"""Numbers of a line of the cache, in single precision."""

AHEAD = 4
"""Steps before they are needed that rows are asked for."""

ALONE = 1 << 18
"""Multiplications that are not worth a second thread."""


@inlined
def _product(q, at_q, w, at_w, rows):  # type: ignore[no-untyped-def]
    """Product of two rows, to be summed."""
    found = load(q, at_q, PART) * load(w, at_w, PART)
    for n in range(PART, rows, PART):
        found = multiply_add(load(q, at_q + n, PART), load(w, at_w + n, PART), found)
    return found


@inlined
def _target(delta, lanes, v, last, written, at):  # type: ignore[no-untyped-def]
    """Return what is to be written: v, and in the delta rule the error, which is kept."""
    if not delta:
        return load(v, at, lanes)
    error = load(v, at, lanes) - last
    store(written, at, error)
    return error


@inlined
def _answer(adding, lanes, y, at, value):  # type: ignore[no-untyped-def]
    store(y, at, load(y, at, lanes) + value if adding else value)


@inlined
def _one(delta, adding, lanes, w, v, q, y, written, S, powers, last, kept, width, rows, at, col, s, wr, rr):  # type: ignore[no-untyped-def]
    """Run a step, from row ``at`` and the columns from ``col``, ``s`` of S; ``kept`` is the power of the decay."""
    p = nothing(S, lanes)
    for n in range(rows):
        p = multiply_add(repeat(q, at + n, lanes), load(S, s + n * width, lanes), p)
    decay = filled(S, powers[kept], lanes)
    u = wr * _target(delta, lanes, v, last, written, at + col)
    last = rr * multiply_add(spread(totals((_product(q, at, w, at, width),)), 0, lanes), u, decay * p)
    _answer(adding, lanes, y, at + col, last)
    for n in range(rows):
        i = s + n * width
        store(S, i, multiply_add(repeat(w, at + n, lanes), u, decay * load(S, i, lanes)))
    return last


@inlined
def _reads(lanes, q, S, width, rows, a, b, c, d, s):  # type: ignore[no-untyped-def]
    """Return what S recalls by the four rows of q."""
    p = nothing(S, lanes)
    pa, pb, pc, pd = p, p, p, p
    for n in range(rows):
        x = load(S, s + n * width, lanes)
        pa = multiply_add(repeat(q, a + n, lanes), x, pa)
        pb = multiply_add(repeat(q, b + n, lanes), x, pb)
        pc = multiply_add(repeat(q, c + n, lanes), x, pc)
        pd = multiply_add(repeat(q, d + n, lanes), x, pd)
    return pa, pb, pc, pd


@inlined
def _answers(delta, adding, lanes, w, v, q, y, written, powers, last, kept, width, a, b, c, d, col, wr, rr, p):  # type: ignore[no-untyped-def]
    """Add to four reads what the four steps write; return what they write, and the last answer."""
    # What does not wait for the step before comes first.
    pa = filled(w, powers[kept], lanes) * p[0]
    pb = filled(w, powers[kept + 1], lanes) * p[1]
    pc = filled(w, powers[kept + 2], lanes) * p[2]
    pd = filled(w, powers[kept + 3], lanes) * p[3]
    products = (
        _product(q, a, w, a, width), _product(q, b, w, a, width), _product(q, c, w, a, width),
        _product(q, d, w, a, width), _product(q, b, w, b, width), _product(q, c, w, b, width),
        _product(q, d, w, b, width), _product(q, c, w, c, width), _product(q, d, w, c, width),
        _product(q, d, w, d, width),
    )  # fmt: skip
    each = totals(products) * load(powers, STEPS + 1, PART)
    aa, ba, ca, da = spread(each, 0, lanes), spread(each, 1, lanes), spread(each, 2, lanes), spread(each, 3, lanes)
    bb, cb, db = spread(each, 4, lanes), spread(each, 5, lanes), spread(each, 6, lanes)
    cc, dc, dd = spread(each, 7, lanes), spread(each, 8, lanes), spread(each, 9, lanes)
    ua = wr * _target(delta, lanes, v, last, written, a + col)
    last = rr * multiply_add(aa, ua, pa)
    _answer(adding, lanes, y, a + col, last)
    ub = wr * _target(delta, lanes, v, last, written, b + col)
    last = rr * multiply_add(bb, ub, multiply_add(ba, ua, pb))
    _answer(adding, lanes, y, b + col, last)
    uc = wr * _target(delta, lanes, v, last, written, c + col)
    last = rr * multiply_add(cc, uc, multiply_add(cb, ub, multiply_add(ca, ua, pc)))
    _answer(adding, lanes, y, c + col, last)
    ud = wr * _target(delta, lanes, v, last, written, d + col)
    pd = multiply_add(dc, uc, multiply_add(db, ub, multiply_add(da, ua, pd)))
    last = rr * multiply_add(dd, ud, pd)
    _answer(adding, lanes, y, d + col, last)
    ua, ub = filled(w, powers[3], lanes) * ua, filled(w, powers[2], lanes) * ub
    return ua, ub, filled(w, powers[1], lanes) * uc, ud, last


@inlined
def _writes(lanes, w, S, decay, width, rows, a, b, c, d, s, u):  # type: ignore[no-untyped-def]
    decay = filled(S, decay, lanes)
    for n in range(rows):
        i = s + n * width
        x = multiply_add(repeat(w, a + n, lanes), u[0], decay * load(S, i, lanes))
        x = multiply_add(repeat(w, c + n, lanes), u[2], multiply_add(repeat(w, b + n, lanes), u[1], x))
        store(S, i, multiply_add(repeat(w, d + n, lanes), u[3], x))


@inlined
def _fetch(w, v, q, y, written, width, at, stride, col):  # type: ignore[no-untyped-def]
    """Ask for rows of four steps: they lie far from each other, where no processor expects them."""
    for _ in range(STEPS):
        for n in range(0, width, LINE):
            fetch(w, at + n)
            fetch(q, at + n)
        for n in range(0, 32, LINE):
            fetch(v, at + col + n)
            fetch(y, at + col + n)
            fetch(written, at + col + n)
        at += stride


@functools.cache
def _kernel(delta: bool, adding: bool, lanes: int) -> Shared:
    def fast_weights(  # type: ignore[no-untyped-def]
        thread, threads, w, v, q, y, written, S, before, powers, first_kept, T, B, width, rows, step, write_rate,
        read_rate,
    ):  # fmt: skip
        """Rows of ``width`` numbers ``[T, B, width]``, S ``[B, rows, width]``; ``step`` -1 goes from the end."""
        panels, stride = width // lanes, step * B * width
        wr, rr = filled(S, write_rate, lanes), filled(S, read_rate, lanes)
        for piece in range(thread, B * panels, threads):
            sample, col = piece // panels, piece % panels * lanes
            s, at = sample * rows * width + col, (sample if step > 0 else (T - 1) * B + sample) * width
            last, kept = load(before, sample * width + col, lanes), first_kept
            for _ in range(T // STEPS):
                a, b, c, d = at, at + stride, at + 2 * stride, at + 3 * stride
                _fetch(w, v, q, y, written, width, at + AHEAD * stride, stride, col)
                p = _reads(lanes, q, S, width, rows, a, b, c, d, s)
                u = _answers(
                    delta, adding, lanes, w, v, q, y, written, powers, last, kept, width, a, b, c, d, col, wr, rr, p
                )
                _writes(lanes, w, S, powers[kept + 3], width, rows, a, b, c, d, s, u)
                last, at, kept = u[4], at + STEPS * stride, 1
            for _ in range(T % STEPS):
                last = _one(
                    delta, adding, lanes, w, v, q, y, written, S, powers, last, kept, width, rows, at, col, s, wr, rr
                )
                at, kept = at + stride, 1

    return Shared(fast_weights, f"_{'delta' if delta else 'hebbian'}{'_adding' if adding else ''}_{lanes}")


def usable(tensor: Tensor) -> bool:
    """Whether the kernels can run on this tensor's dtype."""
    return tensor.dtype in (torch.float32, torch.float64)


class _Passes(NamedTuple):
    """What all passes over a sequence share."""

    rows: int
    width: int
    powers: Any

    def run(
        self, w: Tensor, v: Tensor, q: Tensor, y: Tensor, S: Tensor, *, last: Tensor | None = None,
        written: Tensor | None = None, adding: bool = False, write_rate: float = 1.0, read_rate: float = 1.0,
        backwards: bool = False, end: bool = False,
    ) -> None:  # fmt: skip
        """Fill y ``[T, B, width]``, or add to it, and change S ``[B, rows, width]``.

        In the delta rule ``last`` is the answer before the first step, and the errors fill ``written``. At the ``end``,
        the first step does not let S decay: it is the gradient of what the last step left.
        """
        T, B, width = v.shape
        if T == 0:
            return
        number, delta = self.powers.dtype.type, last is not None
        lanes = 32 if width % 32 == 0 and v.dtype == torch.float32 else 16
        pieces = B * width // lanes
        threads = min(num_threads(), pieces) if T * B * self.rows * width > ALONE else 1
        known = (w, v, q, y, y if written is None else written, S, S if last is None else last)
        _kernel(delta, adding, lanes)(
            threads, *(array(x).reshape(-1) for x in known), self.powers, 0 if end else 1,
            T, B, width, self.rows, -1 if backwards else 1, number(write_rate), number(read_rate),
        )  # fmt: skip


def run_forward(
    keys: Tensor, F0: Tensor, key0: Tensor, decay: float, rate: float, delta: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the reads ``[T, B, r]``, the last fast weights ``[B, r, r]``, and the errors (none without delta rule)."""
    r, run = keys.shape[2], _passes(keys, decay).run
    k, k0, S = _wide(keys), _wide(key0).unsqueeze(0), _state(F0.mT)
    y, errors, last = empty(k.shape, k.dtype), empty(k.shape if delta else (1, *k.shape[1:]), k.dtype), None
    if delta:  # what is recalled by the key before the first: a step that writes nothing
        last, none = torch.empty_like(k0), torch.zeros_like(k0)
        run(k0, none, k0, last, S, last=none, written=errors[:1], end=True)
    run(k0, k[:1], k[:1], y[:1], S, last=last, written=errors[:1], write_rate=rate)
    run(k[:-1], k[1:], k[1:], y[1:], S, last=y[0] if delta else None, written=errors[1:], write_rate=rate)
    return _narrow(y, r), _narrow(S, r).mT.contiguous(), _narrow(errors, r) if delta else keys.new_empty(0)


def run_backward(
    keys: Tensor, F0: Tensor, key0: Tensor, errors: Tensor, g_reads: Tensor, g_F: Tensor, decay: float, rate: float,
    delta: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return the gradients of keys, F0 and key0.

    Three passes: the gradients of what is written, by that of F from the end; then those of the keys as addresses of
    writes, by the same from the other side; then those of the keys that read, by F itself, which is made anew.
    """
    r, passes, T = keys.shape[2], _passes(keys, decay), len(keys)
    run = passes.run
    k, k0, g_y = _wide(keys), _wide(key0).unsqueeze(0), _wide(g_reads)
    d, z = (_wide(errors), empty(k.shape, k.dtype)) if delta else (k, g_y)
    g_keys, g_key0, none = empty(k.shape, k.dtype), torch.zeros_like(k0), torch.zeros_like(k0)

    S = _state(g_F.mT)
    back: Any = functools.partial(passes.run, read_rate=rate, backwards=True)
    back(k[1:], g_y[1:], k[:-1], g_keys[1:], S, last=none if delta else None, written=z[1:], end=True)
    later = (g_keys[1] if T > 1 else none) if delta else None
    back(k[:1], g_y[:1], k0, g_keys[:1], S, last=later, written=z[:1], end=T == 1)
    g_F0, g_first = decay * _narrow(S, r).mT, -g_keys[:1]

    S = _state(g_F)
    back(z[1:], k[1:], d[1:], g_keys[:-1], S, adding=True, end=True)
    back(z[:1], k[:1], d[:1], g_key0, S, adding=True, end=T == 1)

    S = _state(F0)
    if delta:  # of the first error, which is taken from what F0 recalls by key0
        run(none, none, g_first, g_key0, S, adding=True, end=True)
        g_F0 = g_F0 + _narrow(g_first[0], r).unsqueeze(2) * key0.unsqueeze(1)
    run(d[:1], k0, z[:1], g_keys[:1], S, adding=True, write_rate=rate)
    run(d[1:], k[:-1], z[1:], g_keys[1:], S, adding=True, write_rate=rate)
    return _narrow(g_keys, r), g_F0, _narrow(g_key0[0], r)


def _passes(keys: Tensor, decay: float) -> _Passes:
    """Powers of the decay, and those by which each of four steps sees the writes of those before: of 0, 1, 2 and 3."""
    exponents = [*range(STEPS + 1), 0, 1, 2, 3, 0, 1, 2, 0, 1, 0, *[0] * 6]
    powers = torch.pow(decay, torch.tensor(exponents, dtype=torch.float64)).to(keys.dtype)
    return _Passes(keys.shape[2], -(-keys.shape[2] // PART) * PART, array(powers))


def _wide(x: Tensor) -> Tensor:
    """Fill the last axis with zeros, to whole vectors."""
    more = -x.shape[-1] % PART
    return pad(x, (0, more)) if more else x.contiguous()


def _state(x: Tensor) -> Tensor:
    """Copy fast weights ``[B, r, r]`` to rows of whole vectors."""
    B, r, _ = x.shape
    more = -r % PART
    state = x.new_zeros(B, r, r + more) if more else torch.empty(B, r, r, dtype=x.dtype)
    state[..., :r] = x
    return state


def _narrow(x: Tensor, r: int) -> Tensor:
    return x[..., :r].contiguous()
