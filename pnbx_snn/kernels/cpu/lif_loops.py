"""The loops of LIF neurons over all steps, forward and backward, one pass over memory each; compiled by numba.

The units of all samples lie on one axis, cut into tiles; threads share the tiles. A tile goes through the steps four at
a time: 64 units are taken through all four in registers, so that their membrane is read and written once. (Sixteen at
a time would wait for each other's results: a step is a chain of ten operations.) The forward pass keeps the membrane
before each four; the backward pass runs the four forward again, in registers too, before it goes back through them. So
nothing of the size of the input is saved but the input, and nothing is read twice.

Every choice is a constant of the kernel, so that its inner loops have no branches; what is used is compiled, once.
Units that hear each other run in ``lif_torus``.
"""

import functools

from pnbx_snn.kernels.cpu.compiled import Shared, inlined
from pnbx_snn.kernels.cpu.lanes import fetch
from pnbx_snn.kernels.cpu.lif_steps import RESETS, STEPS, SURROGATES, advance, retreat
from pnbx_snn.kernels.cpu.vectors import fill, lanes_of, load, store

AT_ONCE = 4
"""Steps that units take in registers; those left over go one by one. With eight, the first cache has too few ways."""
WIDE = 4
"""Registers of 64 bytes of a vector: 64 units in float32."""

AHEAD = 512
"""Numbers of a row that are asked for ahead."""

# All arrays are flat: what belongs to unit i at step t is at t * M + i, or at i where all steps are one.


@inlined
def _ask(wide, array, at):  # type: ignore[no-untyped-def]
    """Ask memory for what a later vector of units needs: rows are too short for a processor to foresee it."""
    if wide:
        for i in range(wide):
            fetch(array, at + AHEAD + i * 16)


@inlined
def _forward(  # type: ignore[no-untyped-def]
    wide, count, step, reset, traced, unit, x, at, stride, decays, thetas, v_last, spikes, membranes, row, M, past
):  # fmt: skip
    """Take a vector of units, from ``unit`` on, through ``count`` steps."""
    one = fill(wide, x.dtype.type(1.0))
    decay, theta, v = load(wide, decays, unit), load(wide, thetas, unit), load(wide, v_last, unit)
    for k in range(count):
        _ask(wide, x, at + k * stride)
        _, s, v = advance(step, reset, load(wide, x, at + k * stride), v, decay, theta, one - one, one)
        store(spikes, row + k * M, s, past)
        if traced:
            store(membranes, row + k * M, v, past)
    store(v_last, unit, v, 0)


@functools.cache
def forward_kernel(step: int, reset: int, traced: bool) -> Shared:
    """Make the forward kernel of a step and a reset."""

    def lif_forward(  # type: ignore[no-untyped-def]
        thread, threads, x, x_stride, decays, thetas, T, M, width, past, v_last, spikes, membranes, kept
    ):  # fmt: skip
        tiles, lanes = (M + width - 1) // width, lanes_of(WIDE, x)
        for tile in range(tiles * thread // threads, tiles * (thread + 1) // threads):
            first, last = tile * width, min(M, tile * width + width)
            whole = first + (last - first) // lanes * lanes
            t, blocks = 0, 0
            while t < T:
                at, row, mark = t * x_stride, t * M, blocks * M
                for i in range(first, whole, lanes):
                    store(kept, mark + i, load(WIDE, v_last, i), 0)
                    if t + AT_ONCE <= T:
                        _forward(
                            WIDE, AT_ONCE, step, reset, traced, i, x, at + i, x_stride, decays, thetas, v_last, spikes,
                            membranes, row + i, M, past,
                        )  # fmt: skip
                    else:
                        _forward(
                            WIDE, 1, step, reset, traced, i, x, at + i, x_stride, decays, thetas, v_last, spikes,
                            membranes, row + i, M, past,
                        )  # fmt: skip
                for i in range(whole, last):
                    store(kept, mark + i, load(0, v_last, i), 0)
                    for k in range(AT_ONCE if t + AT_ONCE <= T else 1):
                        _forward(
                            0, 1, step, reset, traced, i, x, at + k * x_stride + i, x_stride, decays, thetas, v_last,
                            spikes, membranes, row + k * M + i, M, past,
                        )  # fmt: skip
                t += AT_ONCE if t + AT_ONCE <= T else 1
                blocks += 1

    return Shared(lif_forward, f"_{STEPS[step]}_{RESETS[reset]}_{traced:d}")


@inlined
def _replay(wide, step, reset, x, at, stride, v, decay, theta, one):  # type: ignore[no-untyped-def]
    """Run four steps forward again: the potentials before the resets, and the membranes before the steps."""
    zero = one - one
    _ask(wide, x, at)
    _ask(wide, x, at + stride)
    _ask(wide, x, at + 2 * stride)
    _ask(wide, x, at + 3 * stride)
    u0, _, v1 = advance(step, reset, load(wide, x, at), v, decay, theta, zero, one)
    u1, _, v2 = advance(step, reset, load(wide, x, at + stride), v1, decay, theta, zero, one)
    u2, _, v3 = advance(step, reset, load(wide, x, at + 2 * stride), v2, decay, theta, zero, one)
    u3, _, _ = advance(step, reset, load(wide, x, at + 3 * stride), v3, decay, theta, zero, one)
    return (u0, u1, u2, u3), (v, v1, v2, v3)


@inlined
def _backward(  # type: ignore[no-untyped-def]
    wide, step, reset, surrogate, traced, k, u, v, x, gs, gm, gx, at, strides, past, decay, theta, p0, p1, one, g
):  # fmt: skip
    """Take ``g``, the gradient of the membrane after step ``k``, to that before it; those of decay and theta too."""
    _ask(wide, gs, at[1] + k * strides[1])
    if traced:
        g = g + load(wide, gm, at[2] + k * strides[2])
    of_x, g, of_decay, of_theta = retreat(
        step, reset, surrogate, u, v, load(wide, x, at[0] + k * strides[0]), decay, theta,
        load(wide, gs, at[1] + k * strides[1]), g, p0, p1, one,
    )  # fmt: skip
    store(gx, at[3] + k * strides[3], of_x, past)
    return g, of_decay, of_theta


@inlined
def _backward_block(  # type: ignore[no-untyped-def]
    wide, four, step, reset, surrogate, traced, learned, unit, x, decays, thetas, kept, mark, gs, gm, at, strides,
    past, p0, p1, gv, gx, g_decays, g_thetas,
):  # fmt: skip
    """Take a vector of units back through four steps or one."""
    one = fill(wide, x.dtype.type(1.0))
    p0, p1 = fill(wide, p0), fill(wide, p1)
    decay, theta, g = load(wide, decays, unit), load(wide, thetas, unit), load(wide, gv, unit)
    v = load(wide, kept, mark)
    if four:
        us, vs = _replay(wide, step, reset, x, at[0], strides[0], v, decay, theta, one)
        g, d3, t3 = _backward(
            wide, step, reset, surrogate, traced, 3, us[3], vs[3], x, gs, gm, gx, at, strides, past, decay, theta,
            p0, p1, one, g,
        )  # fmt: skip
        g, d2, t2 = _backward(
            wide, step, reset, surrogate, traced, 2, us[2], vs[2], x, gs, gm, gx, at, strides, past, decay, theta,
            p0, p1, one, g,
        )  # fmt: skip
        g, d1, t1 = _backward(
            wide, step, reset, surrogate, traced, 1, us[1], vs[1], x, gs, gm, gx, at, strides, past, decay, theta,
            p0, p1, one, g,
        )  # fmt: skip
        g, d0, t0 = _backward(
            wide, step, reset, surrogate, traced, 0, us[0], vs[0], x, gs, gm, gx, at, strides, past, decay, theta,
            p0, p1, one, g,
        )  # fmt: skip
        of_decay, of_theta = d3 + d2 + d1 + d0, t3 + t2 + t1 + t0
    else:
        u, _, _ = advance(step, reset, load(wide, x, at[0]), v, decay, theta, one - one, one)
        g, of_decay, of_theta = _backward(
            wide, step, reset, surrogate, traced, 0, u, v, x, gs, gm, gx, at, strides, past, decay, theta, p0, p1,
            one, g,
        )  # fmt: skip
    store(gv, unit, g, 0)
    if learned:
        store(g_decays, unit, load(wide, g_decays, unit) + of_decay, 0)
        store(g_thetas, unit, load(wide, g_thetas, unit) + of_theta, 0)


@functools.cache
def backward_kernel(step: int, reset: int, surrogate: int, traced: bool, learned: bool) -> Shared:
    """Make the backward kernel; ``learned`` asks for the gradients of decay and threshold."""

    def lif_backward(  # type: ignore[no-untyped-def]
        thread, threads, x, x_stride, decays, thetas, kept, gs, gs_stride, gm, gm_stride, p0, p1,
        T, M, width, past, gv, gx, g_decays, g_thetas,
    ):  # fmt: skip
        tiles, lanes = (M + width - 1) // width, lanes_of(WIDE, x)
        strides = (x_stride, gs_stride, gm_stride, M)
        for tile in range(tiles * thread // threads, tiles * (thread + 1) // threads):
            first, last = tile * width, min(M, tile * width + width)
            whole = first + (last - first) // lanes * lanes
            t, blocks = T, T // AT_ONCE + T % AT_ONCE
            while t > 0:
                four = t % AT_ONCE == 0
                t -= AT_ONCE if four else 1
                blocks -= 1
                for i in range(first, whole, lanes):
                    at = (t * x_stride + i, t * gs_stride + i, t * gm_stride + i, t * M + i)
                    if four:
                        _backward_block(
                            WIDE, 1, step, reset, surrogate, traced, learned, i, x, decays, thetas, kept,
                            blocks * M + i, gs, gm, at, strides, past, p0, p1, gv, gx, g_decays, g_thetas,
                        )  # fmt: skip
                    else:
                        _backward_block(
                            WIDE, 0, step, reset, surrogate, traced, learned, i, x, decays, thetas, kept,
                            blocks * M + i, gs, gm, at, strides, past, p0, p1, gv, gx, g_decays, g_thetas,
                        )  # fmt: skip
                for i in range(whole, last):
                    at = (t * x_stride + i, t * gs_stride + i, t * gm_stride + i, t * M + i)
                    if four:
                        _backward_block(
                            0, 1, step, reset, surrogate, traced, learned, i, x, decays, thetas, kept,
                            blocks * M + i, gs, gm, at, strides, past, p0, p1, gv, gx, g_decays, g_thetas,
                        )  # fmt: skip
                    else:
                        _backward_block(
                            0, 0, step, reset, surrogate, traced, learned, i, x, decays, thetas, kept,
                            blocks * M + i, gs, gm, at, strides, past, p0, p1, gv, gx, g_decays, g_thetas,
                        )  # fmt: skip

    tag = f"_{STEPS[step]}_{RESETS[reset]}_{SURROGATES[surrogate]}_{traced:d}{learned:d}"
    return Shared(lif_backward, tag)
