"""Membranes that hear their neighbours on a torus, on a GPU: a program runs one sample through all steps.

All neurons of a sample need each other's spikes in every step, so they stay in the registers of one program and
exchange them there. Nothing can be run forward again in registers: the forward pass keeps the potential before the
reset of every step (and the membrane before the first), which is all that the backward pass reads.
"""

from collections.abc import Sequence

import triton.language as tl
from torch import Tensor

from pnbx_snn.kernels.triton.jit import EXACT, kernel, power_of_two
from pnbx_snn.kernels.triton.lif_steps import advance, retreat

MOST = 8192
"""Neurons of the largest torus: they are exchanged through 32 KiB (in double precision 64) of shared memory."""


@kernel
def _neighbours(z, left, right, up, down, weight):
    """Sum over the eight neighbours, times the weight; the arguments are numbers of neurons."""
    sides = tl.gather(z, left, 0) + tl.gather(z, right, 0)
    three = sides + z
    return ((tl.gather(three, up, 0) + tl.gather(three, down, 0)) + sides) * weight


@kernel
def _numbers(i, N, columns):
    """Numbers of each neuron's neighbours; what is beyond the last neuron hears the first."""
    column = i % columns
    inside = i < N
    left = tl.where(inside, tl.where(column == 0, i + columns - 1, i - 1), 0)
    right = tl.where(inside, tl.where(column == columns - 1, i - columns + 1, i + 1), 0)
    up = tl.where(inside, tl.where(i < columns, i + N - columns, i - columns), 0)
    down = tl.where(inside, tl.where(i >= N - columns, i - N + columns, i + columns), 0)
    return left, right, up, down


@kernel
def _forward(
    x, decay, theta, v_last, z0, spikes, membranes, kept, T, M, x_stride, N, columns, weight,
    RESET: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.arange(0, BLOCK)
    inside = i < N
    left, right, up, down = _numbers(i, N, columns)
    o = tl.program_id(0) * N + i
    d = tl.load(decay + o, mask=inside, other=0.0)
    th = tl.load(theta + o, mask=inside, other=0.0)
    v = tl.load(v_last + o, mask=inside, other=0.0)
    z = tl.load(z0 + o, mask=inside, other=0.0)
    x += o
    spikes += o
    kept += o
    if membranes is not None:
        membranes += o
    tl.store(kept, v, mask=inside)
    for step in range(T):
        current = tl.load(x, mask=inside, other=0.0)
        heard = _neighbours(z, left, right, up, down, weight)
        u, z, v = advance(current, v, d, th, heard, "membrane", RESET)
        kept += M
        tl.store(kept, u, mask=inside)
        tl.store(spikes, z, mask=inside)
        if membranes is not None:
            tl.store(membranes, v, mask=inside)
            membranes += M
        x += x_stride
        spikes += M
    tl.store(v_last + o, v, mask=inside)


@kernel
def _backward(
    decay, theta, kept, g_spikes, g_membranes, g_v, g_x, g_decay, g_theta, g_z,
    T, M, gs_stride, gm_stride, N, columns, weight, p0, p1,
    RESET: tl.constexpr, SURROGATE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Tensors of all steps begin at their last row."""
    i = tl.arange(0, BLOCK)
    inside = i < N
    left, right, up, down = _numbers(i, N, columns)
    o = tl.program_id(0) * N + i
    d = tl.load(decay + o, mask=inside, other=0.0)
    th = tl.load(theta + o, mask=inside, other=0.0)
    g = tl.load(g_v + o, mask=inside, other=0.0)
    heard = tl.full((BLOCK,), 0.0, g.dtype)
    of_decay = tl.full((BLOCK,), 0.0, g.dtype)
    of_theta = tl.full((BLOCK,), 0.0, g.dtype)
    kept += o
    g_x += o
    if g_spikes is not None:
        g_spikes += o
    if g_membranes is not None:
        g_membranes += o
    u = tl.load(kept, mask=inside, other=0.0)
    for back in range(T):
        kept -= M
        before = tl.load(kept, mask=inside, other=0.0)  # a potential, and in the end the first membrane
        fired = ((before > th) & (back < T - 1)).to(g.dtype)
        v = before
        if RESET == "zero":
            v = before - fired * before
        elif RESET == "subtract":
            v = before - fired * th
        gv = g
        if g_membranes is not None:
            gv = g + tl.load(g_membranes, mask=inside, other=0.0)
            g_membranes -= gm_stride
        g_fired = heard
        if g_spikes is not None:
            g_fired = tl.load(g_spikes, mask=inside, other=0.0) + heard
            g_spikes -= gs_stride
        gx, g, gd, gt = retreat(u, v, v, d, th, g_fired, gv, p0, p1, "membrane", RESET, SURROGATE)
        tl.store(g_x, gx, mask=inside)
        g_x -= M
        heard = _neighbours(gx, left, right, up, down, weight)
        if g_decay is not None:
            of_decay += gd
            of_theta += gt
        u = before
    tl.store(g_v + o, g, mask=inside)
    tl.store(g_z + o, heard, mask=inside)
    if g_decay is not None:
        tl.store(g_decay + o, of_decay, mask=inside)
        tl.store(g_theta + o, of_theta, mask=inside)


def forward(
    x: Tensor, decay: Tensor, theta: Tensor, v_last: Tensor, z0: Tensor, spikes: Tensor, membranes: Tensor | None,
    kept: Tensor, T: int, x_stride: int, torus: Sequence[int], reset: str,
) -> None:  # fmt: skip
    """Fill spikes, membranes and ``kept`` ``[T + 1, M]``; ``v_last`` holds the first membrane, then the last."""
    N, block, weight = _sizes(torus)
    M = v_last.numel()
    _forward[(M // N,)](
        x, decay, theta, v_last, z0, spikes, membranes, kept, T, M, x_stride, N, torus[1], weight,
        RESET=reset, BLOCK=block, num_warps=_warps(block), **EXACT,
    )  # fmt: skip


def backward(
    decay: Tensor, theta: Tensor, kept: Tensor, g_spikes: Tensor | None, g_membranes: Tensor | None, g_v: Tensor,
    g_x: Tensor, g_decay: Tensor | None, g_theta: Tensor | None, g_z: Tensor, T: int, gs_stride: int, gm_stride: int,
    slope: Sequence[float], torus: Sequence[int], reset: str, surrogate: str,
) -> None:  # fmt: skip
    """Fill all gradients; those of all steps are given by their last row."""
    N, block, weight = _sizes(torus)
    M = g_v.numel()
    _backward[(M // N,)](
        decay, theta, kept[-1], g_spikes, g_membranes, g_v, g_x, g_decay, g_theta, g_z,
        T, M, gs_stride, gm_stride, N, torus[1], weight, slope[0], slope[1],
        RESET=reset, SURROGATE=surrogate, BLOCK=block, num_warps=_warps(block), **EXACT,
    )  # fmt: skip


def _sizes(torus: Sequence[int]) -> tuple[int, int, float]:
    rows, columns, shift = torus
    return rows * columns, power_of_two(rows * columns), 2.0 ** -(shift + 3)


def _warps(block: int) -> int:
    """Two neurons a thread (of 56 registers in the backward pass), and no more threads than a program may have."""
    return min(32, max(1, block // 64))
