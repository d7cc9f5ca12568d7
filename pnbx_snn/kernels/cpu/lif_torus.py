"""The loops of LIF neurons that hear their neighbours on a torus, forward and backward; compiled by numba.

Every step needs the spikes of all neurons of a sample in the step before, so the torus of one sample is what a thread
takes through time. The forward pass keeps membranes and spikes of every eighth step; the backward pass runs eight steps
forward again, in the second cache, before it goes back through them.
"""

import functools

from pnbx_snn.kernels.cpu.compiled import Shared, inlined
from pnbx_snn.kernels.cpu.lif_steps import RESETS, STEPS, SURROGATES, advance, retreat
from pnbx_snn.kernels.cpu.vectors import fill, lanes_of, load, store

CHUNK = 8
"""Steps between two that are kept."""
WIDE = 2
"""Registers of 64 bytes of a vector."""


@inlined
def _add_rows(out, first, size, a, b, sides, weight):  # type: ignore[no-untyped-def]
    """Write ``((a + b) + side) * weight`` of ``size`` units; a and b say where those above and below begin."""
    heard, side, above, below = out[first : first + size], sides[first : first + size], a[:size], b[:size]
    for i in range(size):
        heard[i] = ((above[i] + below[i]) + side[i]) * weight


@inlined
def _neighbours(z, out, sides, three, rows, columns, weight):  # type: ignore[no-untyped-def]
    """Sum over the eight neighbours on the torus, times the weight; all arrays are [rows * columns].

    Rows are taken together, as if each went on in the next, which is mended at their ends: they may be short.
    """
    w = rows * columns
    inner, left, right = sides[1 : w - 1], z[: w - 2], z[2:w]
    for i in range(w - 2):  # slices: loops over them count from 0 and are vectorised
        inner[i] = left[i] + right[i]
    for r in range(rows):
        first, last = r * columns, (r + 1) * columns - 1
        sides[first] = z[last] + z[first + 1]
        sides[last] = z[last - 1] + z[first]
    here = z[:w]
    for i in range(w):
        three[i] = sides[i] + here[i]
    _add_rows(out, columns, w - 2 * columns, three, three[2 * columns :], sides, weight)
    _add_rows(out, 0, columns, three[w - columns :], three[columns:], sides, weight)
    _add_rows(out, w - columns, columns, three[w - 2 * columns :], three, sides, weight)


# One step of some units. All arrays are flat: what belongs to unit i at step t is at t * M + i, or at i where all steps
# are one; those of a torus alone begin with its first unit.


@inlined
def _forward(wide, step, reset, traced, i, o, x, at, decays, thetas, heard, v_last, spikes, membranes, row):  # type: ignore[no-untyped-def]
    """Take units from the ``i``-th of a torus on through a step; the torus begins at unit ``o``."""
    one = fill(wide, x.dtype.type(1.0))
    decay, theta = load(wide, decays, o + i), load(wide, thetas, o + i)
    v, h = load(wide, v_last, o + i), load(wide, heard, i)
    _, s, v = advance(step, reset, load(wide, x, at + i), v, decay, theta, h, one)
    store(spikes, row + i, s, 0)
    store(v_last, o + i, v, 0)
    if traced:
        store(membranes, row + i, v, 0)


@inlined
def _replay(wide, step, reset, i, o, x, at, decays, thetas, heard, us, vs, j, z):  # type: ignore[no-untyped-def]
    """Take them through a step again: ``us`` and ``vs`` are the potentials and membranes of the steps of a chunk."""
    one = fill(wide, x.dtype.type(1.0))
    theta, h, w = load(wide, thetas, o + i), load(wide, heard, i), len(z)
    v = load(wide, vs, j * w + i)
    u, s, v = advance(step, reset, load(wide, x, at + i), v, load(wide, decays, o + i), theta, h, one)
    store(us, j * w + i, u, 0)
    store(vs, j * w + w + i, v, 0)
    store(z, i, s, 0)


@inlined
def _backward(  # type: ignore[no-untyped-def]
    wide, step, reset, surrogate, traced, learned, i, o, w, j, at, x, decays, thetas, heard, us, vs, gs, gm, p0, p1,
    gv, gx, g_decays, g_thetas,
):  # fmt: skip
    """Take the gradient of their membranes after a step to that of the membranes before it."""
    one = fill(wide, x.dtype.type(1.0))
    g = load(wide, gv, o + i)
    if traced:
        g = g + load(wide, gm, at[2] + i)
    of_x, g, of_decay, of_theta = retreat(
        step, reset, surrogate, load(wide, us, j * w + i), load(wide, vs, j * w + i), load(wide, x, at[0] + i),
        load(wide, decays, o + i), load(wide, thetas, o + i), load(wide, gs, at[1] + i) + load(wide, heard, i), g,
        fill(wide, p0), fill(wide, p1), one,
    )  # fmt: skip
    store(gx, at[3] + i, of_x, 0)
    store(gv, o + i, g, 0)
    if learned:
        store(g_decays, o + i, load(wide, g_decays, o + i) + of_decay, 0)
        store(g_thetas, o + i, load(wide, g_thetas, o + i) + of_theta, 0)


@functools.cache
def forward_kernel(step: int, reset: int, traced: bool) -> Shared:
    """Make the forward kernel of a step and a reset."""

    def lif_torus_forward(  # type: ignore[no-untyped-def]
        thread, threads, x, x_stride, decays, thetas, z0, T, M, rows, columns, weight, v_last, spikes, membranes, kept,
        kept_z, scratch,
    ):  # fmt: skip
        w, lanes = rows * columns, lanes_of(WIDE, x)
        whole, tori = w // lanes * lanes, M // w
        heard, sides, three = scratch[thread, 0], scratch[thread, 1], scratch[thread, 2]
        for torus in range(tori * thread // threads, tori * (thread + 1) // threads):
            o = torus * w
            for t in range(T):
                row, at = t * M + o, t * x_stride + o
                z = z0[o : o + w] if t == 0 else spikes[row - M : row - M + w]
                _neighbours(z, heard, sides, three, rows, columns, weight)
                if t % CHUNK == 0:
                    mark = t // CHUNK * M + o
                    kept[mark : mark + w] = v_last[o : o + w]
                    kept_z[mark : mark + w] = z
                for i in range(0, whole, lanes):
                    _forward(
                        WIDE, step, reset, traced, i, o, x, at, decays, thetas, heard, v_last, spikes, membranes, row
                    )
                for i in range(whole, w):
                    _forward(0, step, reset, traced, i, o, x, at, decays, thetas, heard, v_last, spikes, membranes, row)

    return Shared(lif_torus_forward, f"_{STEPS[step]}_{RESETS[reset]}_{traced:d}")


@functools.cache
def backward_kernel(step: int, reset: int, surrogate: int, traced: bool, learned: bool) -> Shared:
    """Make the backward kernel; ``learned`` asks for the gradients of decay and threshold."""

    def lif_torus_backward(  # type: ignore[no-untyped-def]
        thread, threads, x, x_stride, decays, thetas, kept, kept_z, gs, gs_stride, gm, gm_stride, p0, p1, T, M, rows,
        columns, weight, gv, gx, g_decays, g_thetas, gz0, scratch, replayed,
    ):  # fmt: skip
        w, lanes = rows * columns, lanes_of(WIDE, x)
        whole, tori = w // lanes * lanes, M // w
        heard, sides, three, z = scratch[thread, 0], scratch[thread, 1], scratch[thread, 2], scratch[thread, 3]
        us, vs = replayed[thread, : CHUNK * w], replayed[thread, CHUNK * w :]
        for torus in range(tori * thread // threads, tori * (thread + 1) // threads):
            o = torus * w
            for c in range((T - 1) // CHUNK, -1, -1):
                first, n = c * CHUNK, min(CHUNK, T - c * CHUNK)
                vs[:w] = kept[c * M + o : c * M + o + w]
                z[:] = kept_z[c * M + o : c * M + o + w]
                for j in range(n):
                    at = (first + j) * x_stride + o
                    _neighbours(z, heard, sides, three, rows, columns, weight)
                    for i in range(0, whole, lanes):
                        _replay(WIDE, step, reset, i, o, x, at, decays, thetas, heard, us, vs, j, z)
                    for i in range(whole, w):
                        _replay(0, step, reset, i, o, x, at, decays, thetas, heard, us, vs, j, z)
                for j in range(n - 1, -1, -1):
                    t = first + j
                    places = (t * x_stride + o, t * gs_stride + o, t * gm_stride + o, t * M + o)
                    if t + 1 < T:
                        after = (t + 1) * M + o
                        _neighbours(gx[after : after + w], heard, sides, three, rows, columns, weight)
                    else:
                        heard[:] = 0
                    for i in range(0, whole, lanes):
                        _backward(
                            WIDE, step, reset, surrogate, traced, learned, i, o, w, j, places, x, decays, thetas, heard,
                            us, vs, gs, gm, p0, p1, gv, gx, g_decays, g_thetas,
                        )  # fmt: skip
                    for i in range(whole, w):
                        _backward(
                            0, step, reset, surrogate, traced, learned, i, o, w, j, places, x, decays, thetas, heard,
                            us, vs, gs, gm, p0, p1, gv, gx, g_decays, g_thetas,
                        )  # fmt: skip
            _neighbours(gx[o : o + w], gz0[o : o + w], sides, three, rows, columns, weight)

    tag = f"_{STEPS[step]}_{RESETS[reset]}_{SURROGATES[surrogate]}_{traced:d}{learned:d}"
    return Shared(lif_torus_backward, tag)
