"""The diagonal scan on a GPU: one kernel forward, one backward, real or complex; one source for cuda and xpu.

A thread runs one column, a state of one sample, through all steps, and asks for :data:`CHUNK` steps before it computes
the first of them. Complex numbers lie in memory as pairs. A product and a sum are rounded once, as in torch's
``addcmul``.

Few columns leave a GPU idle: the steps of one column are not run in parallel.
"""

import torch
import triton.language as tl
from torch import Tensor

from pnbx_snn.kernels.triton.jit import kernel, on_device

CHUNK = 8
"""Steps whose inputs are asked for together."""
BLOCK = 128
"""Columns, and threads, of a program."""

# Numbers are pairs: of a real one, the second is the first again, and never looked at.


@kernel
def _load(p, mask, COMPLEX: tl.constexpr):
    re = tl.load(p, mask=mask, other=0.0)
    im = re
    if COMPLEX:
        im = tl.load(p + 1, mask=mask, other=0.0)
    return re, im


@kernel
def _store(p, re, im, mask, COMPLEX: tl.constexpr):
    tl.store(p, re, mask=mask)
    if COMPLEX:
        tl.store(p + 1, im, mask=mask)


@kernel
def _multiply_add(a, ai, b, bi, c, ci, COMPLEX: tl.constexpr):
    """Return ``a * b + c``."""
    re = tl.fma(a, b, c)
    im = re
    if COMPLEX:
        re = tl.fma(-ai, bi, re)
        im = tl.fma(ai, b, tl.fma(a, bi, ci))
    return re, im


@kernel
def _forward(
    decay, inputs, initial, states, T, M, S, step,
    COMPLEX: tl.constexpr, MOVING: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """``step`` numbers lie between two steps of M columns; a decay that is not MOVING is S numbers for all steps."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < M
    PARTS: tl.constexpr = 2 if COMPLEX else 1
    o = i * PARTS
    s, si = _load(initial + o, inside, COMPLEX)
    if MOVING:
        decay += o
    else:
        d, di = _load(decay + i % S * PARTS, inside, COMPLEX)
    inputs += o
    states += o
    for t in range(0, T, CHUNK):
        xs = ()
        ds = ()
        for j in tl.static_range(CHUNK):
            live = inside & (t + j < T)
            xs = xs + _load(inputs, live, COMPLEX)
            inputs += step
            if MOVING:
                ds = ds + _load(decay, live, COMPLEX)
                decay += step
        for j in tl.static_range(CHUNK):
            if MOVING:
                s, si = _multiply_add(ds[2 * j], ds[2 * j + 1], s, si, xs[2 * j], xs[2 * j + 1], COMPLEX)
            else:
                s, si = _multiply_add(d, di, s, si, xs[2 * j], xs[2 * j + 1], COMPLEX)
            _store(states, s, si, inside & (t + j < T), COMPLEX)
            states += step


@kernel
def _add(total, lost, value):
    """Add, and keep what rounding takes away (Kahan): a sum over many steps loses no digits, without doubles."""
    value = value - lost
    after = total + value
    return after, (after - total) - value


@kernel
def _backward(
    decay, initial, states, grad, grad_inputs, grad_initial, grad_decay, T, M, S, step,
    COMPLEX: tl.constexpr, MOVING: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """All tensors of T steps but the states begin at their last step, the states at the one before."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < M
    PARTS: tl.constexpr = 2 if COMPLEX else 1
    o = i * PARTS
    first, first_i = _load(initial + o, inside, COMPLEX)
    g = tl.full((BLOCK,), 0.0, first.dtype)
    gi = tl.full((BLOCK,), 0.0, first.dtype)
    d = g  # nothing comes after the last step
    di = g
    total = g
    lost = g
    total_i = g
    lost_i = g
    constant, constant_i = g, g
    if MOVING:
        decay += o
        if grad_decay is not None:
            grad_decay += o
    else:
        constant, constant_i = _load(decay + i % S * PARTS, inside, COMPLEX)
    states += o
    grad += o
    grad_inputs += o
    for back in range(0, T, CHUNK):
        gs = ()
        ss = ()
        ds = ()
        for j in tl.static_range(CHUNK):
            live = inside & (back + j < T)
            gs = gs + _load(grad, live, COMPLEX)
            grad -= step
            if grad_decay is not None:
                ss = ss + _load(states, live & (back + j < T - 1), COMPLEX)
                states -= step
            if MOVING:
                ds = ds + _load(decay, live, COMPLEX)
                decay -= step
        for j in tl.static_range(CHUNK):
            live = back + j < T
            up, up_i = _multiply_add(d, -di, g, gi, gs[2 * j], gs[2 * j + 1], COMPLEX)  # times the conjugate
            _store(grad_inputs, up, up_i, inside & live, COMPLEX)
            grad_inputs -= step
            if grad_decay is not None:
                s = tl.where(back + j < T - 1, ss[2 * j], first)
                si = tl.where(back + j < T - 1, ss[2 * j + 1], first_i)
                of, of_i = up * s, up * s
                if COMPLEX:
                    of = tl.fma(up_i, si, of)
                    of_i = tl.fma(up_i, s, -(up * si))
                if MOVING:
                    _store(grad_decay, of, of_i, inside & live, COMPLEX)
                    grad_decay -= step
                else:
                    total, lost = _add(total, lost, tl.where(live, of, 0.0))
                    if COMPLEX:
                        total_i, lost_i = _add(total_i, lost_i, tl.where(live, of_i, 0.0))
            g = tl.where(live, up, g)
            gi = tl.where(live, up_i, gi)
            if MOVING:
                d = tl.where(live, ds[2 * j], d)
                di = tl.where(live, ds[2 * j + 1], di)
            else:
                d = constant
                di = constant_i
    zero = tl.full((BLOCK,), 0.0, g.dtype)
    g, gi = _multiply_add(d, -di, g, gi, zero, zero, COMPLEX)
    _store(grad_initial + o, g, gi, inside, COMPLEX)
    if grad_decay is not None:
        if not MOVING:
            _store(grad_decay + o, total, total_i, inside, COMPLEX)


def usable(tensor: Tensor) -> bool:
    """Whether the kernels can run on this tensor's dtype."""
    return tensor.dtype in (torch.float32, torch.float64, torch.complex64, torch.complex128)


def run_forward(decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """States ``[T, B, S]`` of a decay ``[S]`` or ``[T, B, S]``; all of one dtype."""
    states = torch.empty_like(inputs, memory_format=torch.contiguous_format)
    T, M, S, rows = len(inputs), initial.numel(), initial.shape[-1], _numbers(inputs)
    with on_device(inputs):
        _forward[_grid(M)](
            _numbers(decay), rows, _numbers(initial), _numbers(states), T, M, S, rows.numel() // T,
            COMPLEX=inputs.is_complex(), MOVING=decay.ndim == 3, CHUNK=CHUNK, BLOCK=BLOCK, num_warps=BLOCK // 32,
        )  # fmt: skip
    return states


def run_backward(
    decay: Tensor, initial: Tensor, states: Tensor, grad: Tensor, *, need_decay: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the decay (empty if not needed), the inputs and the initial state."""
    T, M, S, moving = len(states), initial.numel(), initial.shape[-1], decay.ndim == 3
    grad_inputs = torch.empty_like(states, memory_format=torch.contiguous_format)
    grad_initial = torch.empty_like(initial, memory_format=torch.contiguous_format)
    grad_decay = torch.empty_like(grad_inputs if moving else grad_initial) if need_decay else None
    decays, rows = _numbers(decay), _numbers(states)
    of_decay = None if grad_decay is None else _numbers(grad_decay)[-1 if moving else slice(None)]
    with on_device(states):
        _backward[_grid(M)](
            decays[-1] if moving else decays, _numbers(initial), rows[max(T - 2, 0)], _numbers(grad)[-1],
            _numbers(grad_inputs)[-1], _numbers(grad_initial), of_decay,
            T, M, S, rows.numel() // T,
            COMPLEX=states.is_complex(), MOVING=moving, CHUNK=CHUNK, BLOCK=BLOCK, num_warps=BLOCK // 32,
        )  # fmt: skip
    if grad_decay is None:
        return decay.new_empty(0), grad_inputs, grad_initial
    return grad_decay if moving else grad_decay.sum(0), grad_inputs, grad_initial


def _numbers(tensor: Tensor) -> Tensor:
    """Return contiguous memory, of complex numbers as pairs of real ones: a view where it is so already."""
    return (torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor).contiguous()


def _grid(M: int) -> tuple[int]:
    return ((M + BLOCK - 1) // BLOCK,)
