"""The diagonal scan on a CPU: one pass over time, each step vectorised over samples and states, these in parallel.

Compiled by numba at the first call and kept in its cache. Importing this module needs numba;
:mod:`pnbx_snn.kernels.scan` does without where it is not installed, on another device or in another precision.

Arrays are ``[T, columns]``, a column being one state of one sample. Complex numbers are pairs on a last axis: with two
constant indices there LLVM makes vectors of them, with the odd and even places of a row it does not (5 times slower).
"""

from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from torch import Tensor

from pnbx_snn.kernels.cpu.compiled import Compiled, array
from pnbx_snn.kernels.cpu.memory import empty

WIDTH = 8192
"""Columns that run through time together: their state stays in the cache, and they are long pieces of memory."""

SHORT = 128
"""Steps whose contributions to the gradient of a constant decay are summed in single precision, then in double."""


def _multiply_add(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c``, rounded once where the machine can do that as fast: what torch's ``addcmul`` does too."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        name = "llvm.fmuladd.f32" if signature.return_type == types.float32 else "llvm.fmuladd.f64"
        function = builder.module.declare_intrinsic(name, (), ir.FunctionType(kind, [kind, kind, kind]))
        return builder.call(function, arguments)

    return a(a, a, a), build


_fma: Any = intrinsic(_multiply_add)


@Compiled
def _forward(decay, moving, inputs, initial, states, width):  # type: ignore[no-untyped-def]
    T, M = inputs.shape
    for c in numba.prange((M + width - 1) // width):
        lo, hi = c * width, min(M, (c + 1) * width)
        before = initial[lo:hi]
        for t in range(T):
            d, x, s = decay[t * moving, lo:hi], inputs[t, lo:hi], states[t, lo:hi]
            for i in range(hi - lo):
                s[i] = _fma(d[i], before[i], x[i])
            before = s


@Compiled
def _forward_complex(decay, moving, inputs, initial, states, width):  # type: ignore[no-untyped-def]
    T, M, _ = inputs.shape
    for c in numba.prange((M + width - 1) // width):
        lo, hi = c * width, min(M, (c + 1) * width)
        before = initial[lo:hi]
        for t in range(T):
            d, x, s = decay[t * moving, lo:hi], inputs[t, lo:hi], states[t, lo:hi]
            for i in range(hi - lo):
                re, im = before[i, 0], before[i, 1]
                s[i, 0] = _fma(-d[i, 1], im, _fma(d[i, 0], re, x[i, 0]))
                s[i, 1] = _fma(d[i, 1], re, _fma(d[i, 0], im, x[i, 1]))
            before = s


@Compiled
def _backward(  # type: ignore[no-untyped-def]
    decay, moving, initial, states, grad, grad_inputs, grad_initial, grad_decay, total, wanted, width
):  # fmt: skip
    T, M = grad.shape
    for c in numba.prange((M + width - 1) // width):
        lo, hi = c * width, min(M, (c + 1) * width)
        n = hi - lo
        recent, summed = np.zeros(n, grad.dtype), total[lo:hi]
        d = later = np.zeros(n, grad.dtype)  # nothing comes after the last step
        for back in range(T):
            t = T - 1 - back
            g, out = grad[t, lo:hi], grad_inputs[t, lo:hi]
            s = states[t - 1, lo:hi] if t > 0 else initial[lo:hi]
            if not wanted:
                for i in range(n):
                    out[i] = _fma(d[i], later[i], g[i])
            elif moving:
                of_decay = grad_decay[t, lo:hi]
                for i in range(n):
                    v = _fma(d[i], later[i], g[i])
                    out[i] = v
                    of_decay[i] = v * s[i]
            else:
                for i in range(n):
                    v = _fma(d[i], later[i], g[i])
                    out[i] = v
                    recent[i] = _fma(v, s[i], recent[i])
                if back % SHORT == SHORT - 1 or t == 0:
                    for i in range(n):
                        summed[i] += recent[i]
                        recent[i] = 0.0
            d, later = decay[t * moving, lo:hi], out
        first = grad_initial[lo:hi]
        for i in range(n):
            first[i] = d[i] * later[i]


@Compiled
def _backward_complex(  # type: ignore[no-untyped-def]
    decay, moving, initial, states, grad, grad_inputs, grad_initial, grad_decay, total, wanted, width
):  # fmt: skip
    T, M, _ = grad.shape
    for c in numba.prange((M + width - 1) // width):
        lo, hi = c * width, min(M, (c + 1) * width)
        n = hi - lo
        recent, summed = np.zeros((n, 2), grad.dtype), total[lo:hi]
        d = later = np.zeros((n, 2), grad.dtype)
        for back in range(T):
            t = T - 1 - back
            g, out = grad[t, lo:hi], grad_inputs[t, lo:hi]
            s = states[t - 1, lo:hi] if t > 0 else initial[lo:hi]
            for i in range(n):  # times the conjugate of the decay
                re, im = later[i, 0], later[i, 1]
                out[i, 0] = _fma(d[i, 1], im, _fma(d[i, 0], re, g[i, 0]))
                out[i, 1] = _fma(-d[i, 1], re, _fma(d[i, 0], im, g[i, 1]))
            d, later = decay[t * moving, lo:hi], out
            if wanted and moving:
                of_decay = grad_decay[t, lo:hi]
                for i in range(n):  # times the conjugate of the state
                    re, im = out[i, 0], out[i, 1]
                    of_decay[i, 0] = _fma(im, s[i, 1], re * s[i, 0])
                    of_decay[i, 1] = _fma(im, s[i, 0], -(re * s[i, 1]))
            elif wanted:
                for i in range(n):
                    re, im = out[i, 0], out[i, 1]
                    recent[i, 0] = _fma(im, s[i, 1], _fma(re, s[i, 0], recent[i, 0]))
                    recent[i, 1] = _fma(-re, s[i, 1], _fma(im, s[i, 0], recent[i, 1]))
                if back % SHORT == SHORT - 1 or t == 0:
                    for i in range(n):
                        for part in range(2):
                            summed[i, part] += recent[i, part]
                            recent[i, part] = 0.0
        first = grad_initial[lo:hi]
        for i in range(n):
            re, im = later[i, 0], later[i, 1]
            first[i, 0] = _fma(d[i, 1], im, d[i, 0] * re)
            first[i, 1] = _fma(d[i, 0], im, -(d[i, 1] * re))


def usable(tensor: Tensor) -> bool:
    """Whether the kernels can run on this tensor's dtype."""
    return tensor.dtype in (torch.float32, torch.float64, torch.complex64, torch.complex128)


def run_forward(decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """States ``[T, B, S]`` of a decay ``[S]`` or ``[T, B, S]``; all of one dtype."""
    states = empty(inputs.shape, inputs.dtype)
    kernel = _forward_complex if inputs.is_complex() else _forward
    first = _columns(initial.unsqueeze(0))[0]
    width = _width(initial.numel())
    kernel(_decays(decay, initial), int(decay.ndim == 3), _columns(inputs), first, _columns(states), width)
    return states


def run_backward(
    decay: Tensor, initial: Tensor, states: Tensor, grad: Tensor, *, need_decay: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the decay (empty if not needed), the inputs and the initial state."""
    moving, dtype = decay.ndim == 3, states.dtype
    grad_inputs, grad_initial = empty(states.shape, dtype), torch.empty(initial.shape, dtype=dtype)
    grad_decay = empty(decay.shape if need_decay and moving else (1, 1, 1), dtype)
    # Of a constant decay and for each sample, in double precision: a float32 sum over 100,000 steps has four digits.
    total = torch.zeros(initial.shape, dtype=torch.complex128 if dtype.is_complex else torch.float64)
    kernel = _backward_complex if dtype.is_complex else _backward
    first, of_first, summed = (_columns(row.unsqueeze(0))[0] for row in (initial, grad_initial, total))
    kernel(
        _decays(decay, initial), int(moving), first, _columns(states), _columns(grad), _columns(grad_inputs), of_first,
        _columns(grad_decay), summed, need_decay, _width(initial.numel()),
    )  # fmt: skip
    if not need_decay:
        return decay.new_empty(0), grad_inputs, grad_initial
    return grad_decay if moving else total.sum(0).to(dtype), grad_inputs, grad_initial


def _columns(tensor: Tensor) -> Any:
    """``[T, B, S]`` as an array ``[T, columns]``, of complex numbers ``[T, columns, 2]``."""
    flat = tensor.reshape(len(tensor), -1)
    if flat.is_complex():
        flat = torch.view_as_real(flat.resolve_conj())
    return array(flat.contiguous())


def _decays(decay: Tensor, initial: Tensor) -> Any:
    """``[T, columns]``, or one row of a constant decay."""
    return _columns(decay.expand(1, *initial.shape) if decay.ndim == 1 else decay)


def _width(columns: int) -> int:
    """Columns of a piece: as many pieces as threads if there is enough for all."""
    return min(WIDTH, max(256, -(-columns // torch.get_num_threads())))
