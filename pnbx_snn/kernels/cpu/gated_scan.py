"""The gated scan on a CPU: gate, scan and all their gradients in one pass over memory each way.

As :mod:`pnbx_snn.kernels.cpu.scan`, whose columns, pieces and streaming these are; only torch's sigmoid is a pass of
its own, for its bits.
"""

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pnbx_snn.kernels.cpu.compiled import Shared, inlined
from pnbx_snn.kernels.cpu.lanes import filled, finish, load, multiply_add, store
from pnbx_snn.kernels.cpu.memory import empty
from pnbx_snn.kernels.cpu.scan import STEPS, numbers, put, run


@inlined
def _forward_steps(lanes, streaming, steps, keep, inputs, carried, states, M, t, lo, hi):  # type: ignore[no-untyped-def]
    one = filled(keep, 1.0, lanes)
    for i in range(lo, hi, lanes):
        s = load(carried, i, lanes)
        for k in range(t, t + steps):
            d = load(keep, k * M + i, lanes)
            s = multiply_add(d, s, (one - d) * load(inputs, k * M + i, lanes))
            put(states, k * M + i, s, streaming)
        store(carried, i, s)


@inlined
def _backward_steps(  # type: ignore[no-untyped-def]
    lanes, streaming, steps, inside, keep, inputs, initial, states, grad, carried, kept, grad_gate, grad_inputs, M, t,
    lo, hi,
):  # fmt: skip
    """Go back from step t; ``inside`` where none of the steps is the first of all. ``kept`` is the decay after t."""
    one = filled(keep, 1.0, lanes)
    for i in range(lo, hi, lanes):
        g, d = load(carried, i, lanes), load(kept, i, lanes)
        for k in range(t, t - steps, -1):
            here = k * M + i
            g = multiply_add(d, g, load(grad, here, lanes))
            d = load(keep, here, lanes)
            s = load(states, here - M, lanes) if inside or k > 0 else load(initial, i, lanes)
            lost = one - d
            put(grad_inputs, here, g * lost, streaming)
            of_keep = g * (s - load(inputs, here, lanes))
            put(grad_gate, here, of_keep * lost * d, streaming)
        store(carried, i, g)
        store(kept, i, d)


@functools.cache
def _forward(_: bool, lanes: int, streaming: bool) -> Shared:
    def gated_forward(  # type: ignore[no-untyped-def]
        thread, threads, keep, inputs, carried, states, T, M, first, last, width
    ):  # fmt: skip
        for lo in range(first + thread * width, last, threads * width):
            hi = min(lo + width, last)
            for t in range(0, T, STEPS):
                if t + STEPS <= T:
                    _forward_steps(lanes, streaming, STEPS, keep, inputs, carried, states, M, t, lo, hi)
                else:
                    _forward_steps(lanes, streaming, T - t, keep, inputs, carried, states, M, t, lo, hi)
        finish()

    return Shared(gated_forward, f"_{lanes}{'_streaming' if streaming else ''}")


@functools.cache
def _backward(_: bool, lanes: int, streaming: bool) -> Shared:
    """``carried`` and ``kept`` are rows of zeros; the gradient of the initial state is left in ``carried``."""

    def gated_backward(  # type: ignore[no-untyped-def]
        thread, threads, keep, inputs, initial, states, grad, carried, kept, grad_gate, grad_inputs, T, M, first, last,
        width,
    ):  # fmt: skip
        for lo in range(first + thread * width, last, threads * width):
            hi = min(lo + width, last)
            for back in range(0, T, STEPS):
                t = T - 1 - back
                if back + STEPS < T:
                    _backward_steps(
                        lanes, streaming, STEPS, True, keep, inputs, initial, states, grad, carried, kept, grad_gate,
                        grad_inputs, M, t, lo, hi,
                    )  # fmt: skip
                else:
                    _backward_steps(
                        lanes, streaming, T - back, False, keep, inputs, initial, states, grad, carried, kept,
                        grad_gate, grad_inputs, M, t, lo, hi,
                    )  # fmt: skip
            for i in range(lo, hi, lanes):
                store(carried, i, load(kept, i, lanes) * load(carried, i, lanes))
        finish()

    return Shared(gated_backward, f"_{lanes}{'_streaming' if streaming else ''}")


def run_forward(gate: Tensor, inputs: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
    """States ``[T, B, S]`` and what is kept in each step."""
    keep, states = empty(gate.shape, gate.dtype), empty(gate.shape, gate.dtype)
    torch.sigmoid(gate, out=keep)
    run(_forward, states, numbers(keep), numbers(inputs), numbers(initial).copy(), numbers(states))
    return states, keep


def run_backward(
    keep: Tensor, inputs: Tensor, initial: Tensor, states: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the gate, the inputs and the initial state."""
    grad_gate, grad_inputs = empty(states.shape, states.dtype), empty(states.shape, states.dtype)
    grad_initial, first = torch.zeros(initial.shape, dtype=states.dtype), numbers(initial)
    arrays: list[Any] = [numbers(x) for x in (keep, inputs)]
    run(
        _backward, states, *arrays, first, numbers(states), numbers(grad), numbers(grad_initial), np.zeros_like(first),
        numbers(grad_gate), numbers(grad_inputs),
    )  # fmt: skip
    return grad_gate, grad_inputs, grad_initial
