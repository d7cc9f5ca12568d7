"""LIF neurons over all steps on a GPU: one kernel forward, one backward; one source for cuda and xpu.

The units of all samples lie on one axis, a thread runs one of them through all steps. It asks for the inputs of
:data:`CHUNK` steps before it computes the first of them: the memory of a GPU is far away, and only what many threads
have asked for at once arrives at its full rate. The forward pass keeps the membrane before each chunk; the backward
pass runs a chunk forward again, in registers, before it goes back through it. So 5 1/4 streams of the input's size
cross the memory (x, spikes; x, gradients in, gradients out) and an eighth is saved beside the input.

Neurons that hear their neighbours are in :mod:`pnbx_snn.kernels.triton.lif_torus`.
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from pnbx_snn.kernels.triton import lif_torus as lif_torus_triton
from pnbx_snn.kernels.triton.jit import EXACT, by_step, by_unit, kernel, on_device
from pnbx_snn.kernels.triton.lif_steps import advance, retreat

CHUNK = 8
"""Steps between two kept membranes: 62 registers a thread in the backward pass on sm_90, 115 with 16 steps."""
BLOCK = 128
"""Units, and threads, of a program."""
MOST_TOGETHER = lif_torus_triton.MOST
"""Neurons of the largest torus."""


@kernel
def _rows(row, stride, n, inside, CHUNK: tl.constexpr):
    """Load a chunk whose first ``n`` steps exist, beginning at its last row; the last is the first of the tuple."""
    rows = ()
    for back in tl.static_range(CHUNK):
        rows = rows + (tl.load(row, mask=inside & (CHUNK - 1 - back < n), other=0.0),)
        row -= stride
    return rows


@kernel
def _forward(
    x, decay, theta, v_last, spikes, membranes, kept, T, M, x_stride,
    STEP: tl.constexpr, RESET: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """``v_last`` holds the membrane before the first step, and in the end after the last."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < M
    d = tl.load(decay + i, mask=inside, other=0.0)
    th = tl.load(theta + i, mask=inside, other=0.0)
    v = tl.load(v_last + i, mask=inside, other=0.0)
    x += i
    spikes += i
    kept += i
    if membranes is not None:
        membranes += i
    for t in range(0, T, CHUNK):
        tl.store(kept, v, mask=inside)
        kept += M
        xs = ()
        for j in tl.static_range(CHUNK):
            xs = xs + (tl.load(x, mask=inside & (t + j < T), other=0.0),)
            x += x_stride
        for j in tl.static_range(CHUNK):
            live = t + j < T
            _, s, after = advance(xs[j], v, d, th, None, STEP, RESET)
            tl.store(spikes, s, mask=inside & live)
            spikes += M
            if membranes is not None:
                tl.store(membranes, after, mask=inside & live)
                membranes += M
            v = tl.where(live, after, v)
    tl.store(v_last + i, v, mask=inside)


@kernel
def _backward(
    x, decay, theta, kept, g_spikes, g_membranes, g_v, g_x, g_decay, g_theta,
    T, M, chunks, x_stride, gs_stride, gm_stride, p0, p1,
    STEP: tl.constexpr, RESET: tl.constexpr, SURROGATE: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Tensors of all steps begin at their last row. ``g_v``: gradient of the last membrane, in the end of the first."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < M
    d = tl.load(decay + i, mask=inside, other=0.0)
    th = tl.load(theta + i, mask=inside, other=0.0)
    g = tl.load(g_v + i, mask=inside, other=0.0)
    of_decay = tl.full((BLOCK,), 0.0, g.dtype)
    of_theta = tl.full((BLOCK,), 0.0, g.dtype)
    short = chunks * CHUNK - T  # steps that the last chunk lacks
    x += i + short * x_stride
    g_x += i + short * M
    kept += i
    if g_spikes is not None:
        g_spikes += i + short * gs_stride
    if g_membranes is not None:
        g_membranes += i + short * gm_stride
    for c in range(chunks):
        n = T - (chunks - 1 - c) * CHUNK  # steps of this chunk, or more
        xs = _rows(x, x_stride, n, inside, CHUNK)
        if g_spikes is not None:
            gs = _rows(g_spikes, gs_stride, n, inside, CHUNK)
            g_spikes -= CHUNK * gs_stride
        if g_membranes is not None:
            gm = _rows(g_membranes, gm_stride, n, inside, CHUNK)
            g_membranes -= CHUNK * gm_stride
        v = tl.load(kept, mask=inside, other=0.0)
        us = ()
        vs = ()
        for j in tl.static_range(CHUNK):
            u, _, after = advance(xs[CHUNK - 1 - j], v, d, th, None, STEP, RESET)
            us = us + (u,)
            vs = vs + (v,)
            v = after
        for back in tl.static_range(CHUNK):
            live = CHUNK - 1 - back < n
            gv = g
            if g_membranes is not None:
                gv = g + gm[back]
            g_fired = tl.full((BLOCK,), 0.0, g.dtype)
            if g_spikes is not None:
                g_fired = gs[back]
            gx, before, gd, gt = retreat(
                us[CHUNK - 1 - back], vs[CHUNK - 1 - back], xs[back], d, th, g_fired, gv, p0, p1, STEP, RESET, SURROGATE
            )
            tl.store(g_x, gx, mask=inside & live)
            g_x -= M
            g = tl.where(live, before, g)
            if g_decay is not None:
                of_decay += tl.where(live, gd, 0.0)
                of_theta += tl.where(live, gt, 0.0)
        x -= CHUNK * x_stride
        kept -= M
    tl.store(g_v + i, g, mask=inside)
    if g_decay is not None:
        tl.store(g_decay + i, of_decay, mask=inside)
        tl.store(g_theta + i, of_theta, mask=inside)


def num_kept(T: Any, M: Any, torus: Sequence[int]) -> Any:
    """Return how many numbers the forward pass keeps for the backward; T and M may be symbols of torch."""
    return (T + 1) * M if torus[0] else (T + CHUNK - 1) // CHUNK * M


def saved(x: Tensor, kept: Tensor, torus: Sequence[int]) -> Tensor:
    """Return what the backward pass takes for x: with a torus the kept potentials, since it reads only the shape."""
    return kept[x[0].numel() :].view(x.shape) if torus[0] else x


def run_forward(
    x: Tensor, decay: Tensor, theta: Tensor, v0: Tensor, z0: Tensor | None, kind: str, torus: Sequence[int],
    traced: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return spikes ``[T, ...]``, the last membrane ``[...]``, all membranes (if traced) and what is kept.

    ``kind`` names step, reset and surrogate: ``"leaky/zero/atan"``.
    """
    step, reset, _ = kind.split("/")
    rows, x_stride = by_step(x)
    T, M = len(x), rows.shape[1]
    spikes = torch.empty_like(x, memory_format=torch.contiguous_format)
    membranes = torch.empty_like(spikes) if traced else None
    v_last = v0.clone(memory_format=torch.contiguous_format)
    kept = x.new_empty(num_kept(T, M, torus))
    tensors = (rows, by_unit(decay, v0), by_unit(theta, v0), v_last)
    with on_device(x):
        if torus[0]:
            assert z0 is not None
            z = z0.to(x.dtype).contiguous()
            lif_torus_triton.forward(*tensors, z, spikes, membranes, kept, T, x_stride, torus, reset)
        else:
            _forward[_grid(M)](
                *tensors, spikes, membranes, kept, T, M, x_stride,
                STEP=step, RESET=reset, CHUNK=CHUNK, BLOCK=BLOCK, num_warps=BLOCK // 32, **EXACT,
            )  # fmt: skip
    return spikes, v_last, x.new_empty(0) if membranes is None else membranes, kept


def run_backward(
    x: Tensor, decay: Tensor, theta: Tensor, kept: Tensor, g_spikes: Tensor | None, g_v: Tensor | None,
    g_membranes: Tensor | None, kind: str, slope: Sequence[float], torus: Sequence[int], learned: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return the gradients of x, decay, theta (summed to their shapes; zeros unless learned), v0 and z0.

    The numbers in ``slope`` are rounded to single precision, in double precision too.
    """
    step, reset, surrogate = kind.split("/")
    rows, x_stride = by_step(x)
    T, M = len(x), rows.shape[1]
    of_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    of_v = x.new_zeros(x.shape[1:]) if g_v is None else g_v.clone(memory_format=torch.contiguous_format)
    of_z = torch.zeros_like(of_v)
    of_decay, of_theta = (torch.empty_like(of_v) if learned else None for _ in range(2))
    upstream = [(None, 0) if g is None else by_step(g) for g in (g_spikes, g_membranes)]
    (gs, gs_stride), (gm, gm_stride) = ((None if g is None else g[-1], stride) for g, stride in upstream)
    parameters = (by_unit(decay, of_v), by_unit(theta, of_v))
    with on_device(x):
        if torus[0]:
            lif_torus_triton.backward(
                *parameters, kept.view(T + 1, M), gs, gm, of_v, of_x[-1], of_decay, of_theta, of_z, T,
                gs_stride, gm_stride, slope, torus, reset, surrogate,
            )  # fmt: skip
        else:
            chunks = (T + CHUNK - 1) // CHUNK
            _backward[_grid(M)](
                rows[-1], *parameters, kept.view(chunks, M)[-1], gs, gm, of_v, of_x[-1], of_decay, of_theta,
                T, M, chunks, x_stride, gs_stride, gm_stride, slope[0], slope[1],
                STEP=step, RESET=reset, SURROGATE=surrogate, CHUNK=CHUNK, BLOCK=BLOCK, num_warps=BLOCK // 32, **EXACT,
            )  # fmt: skip
    if of_decay is None or of_theta is None:
        return of_x, torch.zeros_like(decay), torch.zeros_like(theta), of_v, of_z
    sums = [of.sum_to_size(p.shape).to(p.dtype) for of, p in ((of_decay, decay), (of_theta, theta))]
    return of_x, sums[0], sums[1], of_v, of_z


def _grid(M: int) -> tuple[int]:
    return ((M + BLOCK - 1) // BLOCK,)
