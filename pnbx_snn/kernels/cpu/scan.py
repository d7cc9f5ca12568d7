"""The diagonal scan on a CPU: one pass over memory forward, one backward, at the speed of the memory.

A kernel takes a vector of columns (a column is one state of one sample) through four steps in registers before it goes
to the next: what is carried from step to step is loaded and stored once for four rows, and the rows themselves are long
pieces of memory. Results too large for a cache are written past it: a line that is written as a whole need not be read
first. Compiled by numba at the first call and kept in its cache.

Complex numbers are pairs of columns. Sums and products have a fixed order, whatever the number of threads.
"""

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pnbx_snn.kernels.cpu.compiled import Shared, array, inlined, num_threads
from pnbx_snn.kernels.cpu.lanes import (
    LINE_BYTES,
    conjugate,
    fetch,
    finish,
    imaginaries,
    load,
    multiply_add,
    reals,
    store,
    stream,
    swapped,
)  # fmt: skip
from pnbx_snn.kernels.cpu.memory import empty

WIDTH = 8192
"""Numbers of a row that run through time together: what they carry stays in the cache, and they are long pieces."""

STEPS = 4
"""Steps that a vector runs through in registers; 8 took as long."""

AHEAD = 512
"""Numbers ahead in a row that are asked for: processors do not look beyond a page. 128 and 2,048 took 5 % longer."""

SHORT = 128
"""Steps whose contributions to the gradient of a constant decay are summed in single precision, then in double."""

STREAMED = 4 << 20
"""Bytes from which a result is written past the caches."""

ALONE = 1 << 16
"""Numbers that are not worth a second thread."""


@inlined
def put(target, at, value, streaming):  # type: ignore[no-untyped-def]
    """Write a vector, past the caches if ``streaming``, which is a constant of the kernel."""
    if streaming:
        stream(target, at, value)
    else:
        store(target, at, value)


@inlined
def _advance(pairs, d, s, x):  # type: ignore[no-untyped-def]
    """Return ``d * s + x``."""
    if pairs:
        return multiply_add(swapped(conjugate(imaginaries(d))), swapped(s), multiply_add(reals(d), s, x))
    return multiply_add(d, s, x)


@inlined
def _retreat(pairs, d, later, g):  # type: ignore[no-untyped-def]
    """Return the conjugate of ``d``, times ``later``, plus ``g``."""
    if pairs:
        return multiply_add(conjugate(imaginaries(d)), swapped(later), multiply_add(reals(d), later, g))
    return multiply_add(d, later, g)


@inlined
def _of_decay(pairs, g, s):  # type: ignore[no-untyped-def]
    """Return ``g`` times the conjugate of ``s``."""
    if pairs:
        return multiply_add(imaginaries(g), swapped(s), conjugate(reals(g) * s))
    return g * s


@inlined
def _add_of_decay(pairs, g, s, total):  # type: ignore[no-untyped-def]
    """Return ``total`` and the same."""
    if pairs:
        return multiply_add(conjugate(swapped(g)), imaginaries(s), multiply_add(g, reals(s), total))
    return multiply_add(g, s, total)


@inlined
def _of_initial(pairs, d, g):  # type: ignore[no-untyped-def]
    """Return the conjugate of ``d`` times ``g``."""
    if pairs:
        return multiply_add(swapped(d), imaginaries(g), conjugate(d) * reals(g))
    return d * g


@inlined
def _forward_steps(  # type: ignore[no-untyped-def]
    pairs, lanes, streaming, steps, decay, moving, inputs, carried, states, M, t, lo, hi
):  # fmt: skip
    for i in range(lo, hi, lanes):
        s = load(carried, i, lanes)
        for k in range(t, t + steps):
            fetch(inputs, k * M + i + AHEAD)
            s = _advance(pairs, load(decay, k * moving + i, lanes), s, load(inputs, k * M + i, lanes))
            put(states, k * M + i, s, streaming)
        store(carried, i, s)


@inlined
def _backward_steps(  # type: ignore[no-untyped-def]
    pairs, lanes, streaming, steps, inside, decay, moving, initial, states, grad, carried, grad_inputs, grad_decay,
    recent, wanted, T, M, t, lo, hi,
):  # fmt: skip
    """Go back from step t; ``inside`` where none of the steps is the first or the last of all."""
    for i in range(lo, hi, lanes):
        g, of_decay = load(carried, i, lanes), load(recent, i, lanes)
        for k in range(t, t - steps, -1):
            here = k * M + i
            fetch(grad, here + AHEAD)
            if inside or k + 1 < T:
                g = _retreat(pairs, load(decay, (k + 1) * moving + i, lanes), g, load(grad, here, lanes))
            else:
                g = load(grad, here, lanes)
            put(grad_inputs, here, g, streaming)
            if wanted:
                fetch(states, here - M + AHEAD)
                s = load(states, here - M, lanes) if inside or k > 0 else load(initial, i, lanes)
                if moving > 0:
                    put(grad_decay, here, _of_decay(pairs, g, s), streaming)
                else:
                    of_decay = _add_of_decay(pairs, g, s, of_decay)
        store(carried, i, g)
        store(recent, i, of_decay)


@functools.cache
def _forward(pairs: bool, lanes: int, streaming: bool) -> Shared:
    """All arrays are rows of M numbers, of which the columns ``first`` to ``last`` are run; ``carried`` is one row."""

    def scan_forward(  # type: ignore[no-untyped-def]
        thread, threads, decay, moving, inputs, carried, states, T, M, first, last, width
    ):  # fmt: skip
        for lo in range(first + thread * width, last, threads * width):
            hi = min(lo + width, last)
            for t in range(0, T, STEPS):
                if t + STEPS <= T:
                    _forward_steps(
                        pairs, lanes, streaming, STEPS, decay, moving, inputs, carried, states, M, t, lo, hi
                    )  # fmt: skip
                else:
                    _forward_steps(
                        pairs, lanes, streaming, T - t, decay, moving, inputs, carried, states, M, t, lo, hi
                    )  # fmt: skip
        finish()

    return Shared(scan_forward, _tag(pairs, lanes, streaming))


@functools.cache
def _backward(pairs: bool, lanes: int, streaming: bool) -> Shared:
    """As above; ``carried`` and ``recent`` are rows of zeros, ``total`` a row of doubles."""

    def scan_backward(  # type: ignore[no-untyped-def]
        thread, threads, decay, moving, initial, states, grad, carried, grad_inputs, grad_decay, recent, total, wanted,
        T, M, first, last, width,
    ):  # fmt: skip
        for lo in range(first + thread * width, last, threads * width):
            hi = min(lo + width, last)
            for back in range(0, T, STEPS):
                if back > 0 and back + STEPS < T:
                    _backward_steps(
                        pairs, lanes, streaming, STEPS, True, decay, moving, initial, states, grad, carried,
                        grad_inputs, grad_decay, recent, wanted, T, M, T - 1 - back, lo, hi,
                    )  # fmt: skip
                else:
                    _backward_steps(
                        pairs, lanes, streaming, min(STEPS, T - back), False, decay, moving, initial, states, grad,
                        carried, grad_inputs, grad_decay, recent, wanted, T, M, T - 1 - back, lo, hi,
                    )  # fmt: skip
                if wanted and (back % SHORT == SHORT - STEPS or back + STEPS >= T):
                    for i in range(lo, hi):
                        total[i] += recent[i]
                        recent[i] = 0.0
            for i in range(lo, hi, lanes):
                store(carried, i, _of_initial(pairs, load(decay, i, lanes), load(carried, i, lanes)))
        finish()

    return Shared(scan_backward, _tag(pairs, lanes, streaming))


def _tag(pairs: bool, lanes: int, streaming: bool) -> str:
    return f"_{'complex' if pairs else 'real'}_{lanes}{'_streaming' if streaming else ''}"


def usable(tensor: Tensor) -> bool:
    """Whether the kernels can run on this tensor's dtype."""
    return tensor.dtype in (torch.float32, torch.float64, torch.complex64, torch.complex128)


def run_forward(decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """States ``[T, B, S]`` of a decay ``[S]`` or ``[T, B, S]``; all of one dtype."""
    states = empty(inputs.shape, inputs.dtype)
    decays, moving = _decays(decay, initial)
    run(_forward, states, decays, moving, numbers(inputs), numbers(initial).copy(), numbers(states))
    return states


def run_backward(
    decay: Tensor, initial: Tensor, states: Tensor, grad: Tensor, *, need_decay: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the decay (empty if not needed), the inputs and the initial state."""
    of_each, dtype = decay.ndim == 3, states.dtype
    grad_inputs, grad_initial = empty(states.shape, dtype), torch.zeros(initial.shape, dtype=dtype)
    grad_decay = empty(decay.shape if need_decay and of_each else (1, 1, 1), dtype)
    # Of a constant decay and for each sample, in double precision: a float32 sum over 100,000 steps has four digits.
    total = torch.zeros(initial.shape, dtype=torch.complex128 if dtype.is_complex else torch.float64)
    decays, moving = _decays(decay, initial)
    first = numbers(initial)
    run(
        _backward, states, decays, moving, first, numbers(states), numbers(grad), numbers(grad_initial),
        numbers(grad_inputs), numbers(grad_decay), np.zeros_like(first), numbers(total), need_decay,
    )  # fmt: skip
    if not need_decay:
        return decay.new_empty(0), grad_inputs, grad_initial
    return grad_decay if of_each else total.sum(0).to(dtype), grad_inputs, grad_initial


def run(kernel: Any, states: Tensor, *arguments: Any) -> None:
    """Run a kernel on whole vectors, then, by one of few lanes, on the columns that are left at the end of a row."""
    pairs = states.is_complex()
    parts = 2 if pairs else 1
    T, M = len(states), states[0].numel() * parts
    lanes = LINE_BYTES // (states.dtype.itemsize // parts)
    whole = M - M % lanes
    threads = num_threads() if T * M > ALONE else 1
    width = min(WIDTH, -(-whole // (threads * lanes)) * lanes)
    streaming = whole == M and states.numel() * states.dtype.itemsize >= STREAMED
    if whole:
        kernel(pairs, lanes, streaming)(min(threads, -(-whole // width)), *arguments, T, M, 0, whole, width)
    if whole < M:
        kernel(pairs, parts, False)(1, *arguments, T, M, whole, M, WIDTH)


def numbers(tensor: Tensor) -> Any:
    """All numbers of a tensor in a row, complex ones as pairs; on the same memory where it is contiguous."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return array(tensor.reshape(-1).contiguous())


def _decays(decay: Tensor, initial: Tensor) -> tuple[Any, int]:
    """Return the decays, and how many numbers lie between two steps: none of a constant one."""
    if decay.ndim == 1:
        return numbers(decay.expand(initial.shape)), 0
    return numbers(decay), initial.numel() * (2 if decay.is_complex() else 1)
