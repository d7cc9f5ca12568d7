"""The loops of LIF neurons over all steps, forward and backward, one pass over memory each; compiled by numba.

The units of all samples lie on one axis, cut into tiles that fit the first cache; threads share the tiles. The forward
pass keeps the membrane of every 32nd step; the backward pass runs 32 steps forward again, in the second cache, before
it goes back through them. So nothing of the size of the input is saved but the input.

Every choice is a constant of the kernel, so that its inner loops have no branches; what is used is compiled, once.
No operation is contracted or reordered: spikes and membranes are those of the plain loop, bit for bit.
"""

import functools
import math

from pnbx_snn.kernels.compiled import Shared, inlined

STEPS = ("leaky", "delayed", "lif_box", "membrane")
"""``snntorch.Leaky`` with ``reset_delay`` False and True, Norse's ``lif_box``, and the step of ``Membrane``."""

RESETS = ("zero", "subtract", "none")
SURROGATES = (
    "atan", "fast_sigmoid", "sigmoid", "straight_through_estimator", "triangular", "heaviside", "spike_rate_escape",
    "sparse_fast_sigmoid",
)  # fmt: skip
_LEAKY, _DELAYED, _BOX, _MEMBRANE = range(4)
_ZERO, _SUBTRACT, _NONE = range(3)
_ATAN, _FAST, _SIGMOID, _STRAIGHT, _TRIANGULAR, _HEAVISIDE, _ESCAPE, _SPARSE = range(8)

# The equations: scalars in, a scalar out. ``one`` carries the dtype.


@inlined
def _fired_before(step, v, theta, one):  # type: ignore[no-untyped-def]
    """Return snnTorch's R: whether the membrane stands above the threshold before the input arrives."""
    above = one if v > theta else one - one
    return one - one if step == _BOX or step == _MEMBRANE else above  # noqa: SIM109


@inlined
def _charge(step, reset, x, v, r, decay, theta, heard, one):  # type: ignore[no-untyped-def]
    """Potential after decay and input. ``decay`` is beta, and 1 - beta for lif_box."""
    if step == _BOX:
        return v + decay * (x - v)
    if step == _MEMBRANE:
        return (decay * v + x) + heard
    if reset == _ZERO:
        return decay * ((one - r) * v) + x
    if reset == _SUBTRACT:
        return (decay * v + x) - r * theta
    return decay * v + x


@inlined
def _settle(step, reset, u, s, r, theta, one):  # type: ignore[no-untyped-def]
    """Membrane after the reset of a spike ``s``."""
    if step == _DELAYED or reset == _NONE:
        return u
    if step == _BOX:
        return (one - s) * u if reset == _ZERO else (one - s) * u + s * (u - theta)
    return u - (s - r) * (u if reset == _ZERO else theta)


@inlined
def _through(surrogate, g, d, s, p0, p1, one):  # type: ignore[no-untyped-def]
    """Return the gradient ``g`` of a spike times its surrogate slope at ``d = u - theta``, in the library's order."""
    if surrogate == _ATAN:
        a = p1 * d
        return p0 / (one + a * a) * g
    if surrogate == _FAST:
        a = p0 * abs(d) + one
        return g / (a * a)
    if surrogate == _SPARSE:
        a = p0 * abs(d) + one
        return g / (a * a) * (one if d > p1 else one - one)
    if surrogate == _SIGMOID:
        e = math.exp(-p0 * d)
        return g * p0 * e / ((e + one) * (e + one))
    if surrogate == _ESCAPE:
        return g * p0 * math.exp(-p1 * abs(d - one))
    if surrogate == _TRIANGULAR:
        return -(g * p0) if d >= one - one else g * p0
    if surrogate == _HEAVISIDE:
        return g * s
    return g


@inlined
def _neighbours(z, out, sides, three, rows, columns, weight):  # type: ignore[no-untyped-def]
    """Sum over the eight neighbours on the torus, times the weight; all arrays are [rows * columns]."""
    for r in range(rows):  # slices: loops over them count from 0 and are vectorised
        i, end = r * columns, (r + 1) * columns
        here, side, both, left, right = z[i:end], sides[i:end], sides[i + 1 : end - 1], z[i : end - 2], z[i + 2 : end]
        for c in range(columns - 2):
            both[c] = left[c] + right[c]
        side[0] = here[columns - 1] + here[1]
        side[columns - 1] = here[columns - 2] + here[0]
        column = three[i:end]
        for c in range(columns):
            column[c] = side[c] + here[c]
    for r in range(rows):
        i, up, down = r * columns, (r - 1) % rows * columns, (r + 1) % rows * columns
        heard, side = out[i : i + columns], sides[i : i + columns]
        above, below = three[up : up + columns], three[down : down + columns]
        for c in range(columns):
            heard[c] = ((above[c] + below[c]) + side[c]) * weight


# One step of a tile. What a step does not need is not read: every argument before the arrays is a constant.


@inlined
def _forward_step(step, reset, messages, traced, one, x, decay, theta, heard, v, fired, after):  # type: ignore[no-untyped-def]
    """Run forward: spikes to ``fired``, the membrane to ``v`` and, if traced, to ``after``."""
    for i in range(len(v)):
        r, h = _fired_before(step, v[i], theta[i], one), heard[i] if messages else one - one
        u = _charge(step, reset, x[i], v[i], r, decay[i], theta[i], h, one)
        s = one if u > theta[i] else one - one
        settled = _settle(step, reset, u, s, r, theta[i], one)
        fired[i] = s
        v[i] = settled
        if traced:
            after[i] = settled


@inlined
def _replay_step(step, reset, messages, one, x, decay, theta, heard, v, potential, after):  # type: ignore[no-untyped-def]
    """Run forward again: the potential before the reset, and the membrane after it."""
    for i in range(len(v)):
        r, h = _fired_before(step, v[i], theta[i], one), heard[i] if messages else one - one
        u = _charge(step, reset, x[i], v[i], r, decay[i], theta[i], h, one)
        s = one if u > theta[i] else one - one
        potential[i] = u
        after[i] = _settle(step, reset, u, s, r, theta[i], one)


@inlined
def _backward_step(  # type: ignore[no-untyped-def]
    step, reset, surrogate, messages, traced, learned, p0, p1, one,
    x, decay, theta, heard, v, potential, g_fired, g_after, g, g_x, g_decay, g_theta,
):  # fmt: skip
    """Take ``g``, the gradient of the membrane after a step, to that of the membrane before it."""
    for i in range(len(v)):
        u, r = potential[i], _fired_before(step, v[i], theta[i], one)
        s = one if u > theta[i] else one - one
        gv = g[i] + g_after[i] if traced else g[i]
        gz = g_fired[i] + heard[i] if messages else g_fired[i]
        gu, reset_now = gv, s - r
        if step == _DELAYED:
            reset_now = one - one
        elif reset == _ZERO:
            gz -= gv * u
            gu -= gv * reset_now
        elif reset == _SUBTRACT:
            gz -= gv * theta[i]
        through = _through(surrogate, gz, u - theta[i], s, p0, p1, one)
        gu += through
        if learned:
            decayed = (one - r) * v[i] if reset == _ZERO else v[i]
            g_decay[i] += gu * (x[i] - v[i] if step == _BOX else decayed)
            g_theta[i] -= through + gv * reset_now + gu * r if reset == _SUBTRACT else through
        g_x[i] = gu * decay[i] if step == _BOX else gu
        if step == _BOX:
            g[i] = gu - gu * decay[i]
        else:
            g[i] = gu * decay[i] * (one - r) if reset == _ZERO else gu * decay[i]


# The loops. All arrays are flat: what belongs to unit i at step t is at t * M + i, or at i where all steps are one.


@functools.cache
def forward_kernel(step: int, reset: int, messages: bool, traced: bool) -> Shared:
    """Make the forward kernel of a step and a reset; with messages, a tile is a torus."""

    def lif_forward(  # type: ignore[no-untyped-def]
        thread, threads, x, x_stride, decays, thetas, z0, T, M, chunk, width, rows, columns, weight, scratch,
        v_last, spikes, membranes, kept,
    ):  # fmt: skip
        one = x.dtype.type(1.0)
        tiles = (M + width - 1) // width
        heard, sides, three = scratch[thread, 0], scratch[thread, 1], scratch[thread, 2]
        for tile in range(tiles * thread // threads, tiles * (thread + 1) // threads):
            o = tile * width
            w = min(width, M - o)
            v, decay, theta = v_last[o : o + w], decays[o : o + w], thetas[o : o + w]
            for t in range(T):
                row = t * M + o
                if messages:
                    z = z0[o : o + w] if t == 0 else spikes[row - M : row - M + w]
                    _neighbours(z, heard, sides, three, rows, columns, weight)
                if t % chunk == 0:
                    at = t // chunk * M + o
                    for i in range(w):
                        kept[at + i] = v[i]
                        if messages:
                            kept[len(kept) // 2 + at + i] = z[i]
                _forward_step(
                    step, reset, messages, traced, one, x[t * x_stride + o : t * x_stride + o + w], decay, theta,
                    heard, v, spikes[row : row + w], membranes[row : row + w] if traced else v,
                )  # fmt: skip

    return Shared(lif_forward, f"_{STEPS[step]}_{RESETS[reset]}_{messages:d}{traced:d}")


@functools.cache
def backward_kernel(step: int, reset: int, surrogate: int, messages: bool, traced: bool, learned: bool) -> Shared:
    """Make the backward kernel; ``learned`` asks for the gradients of decay and threshold."""

    def lif_backward(  # type: ignore[no-untyped-def]
        thread, threads, x, x_stride, decays, thetas, kept, gs, gs_stride, gm, gm_stride, p0, p1,
        T, M, chunk, width, rows, columns, weight, scratch, replayed,
        gv, gx, g_decays, g_thetas, gz0,
    ):  # fmt: skip
        one = x.dtype.type(1.0)
        tiles = (M + width - 1) // width
        heard, sides, three = scratch[thread, 0], scratch[thread, 1], scratch[thread, 2]
        us, vs = replayed[thread, : chunk * width], replayed[thread, chunk * width :]
        for tile in range(tiles * thread // threads, tiles * (thread + 1) // threads):
            o = tile * width
            w = min(width, M - o)
            decay, theta, g = decays[o : o + w], thetas[o : o + w], gv[o : o + w]
            g_decay, g_theta = (g_decays[o : o + w], g_thetas[o : o + w]) if learned else (decay, theta)
            for c in range((T - 1) // chunk, -1, -1):
                first, n = c * chunk, min(chunk, T - c * chunk)
                for i in range(w):
                    vs[i] = kept[c * M + o + i]
                    if messages:
                        three[i] = kept[len(kept) // 2 + c * M + o + i]
                for j in range(n):
                    q, at = (first + j) * x_stride + o, j * width
                    if messages:  # `three` holds the spikes, and is overwritten after they are read
                        _neighbours(three, heard, sides, three, rows, columns, weight)
                    _replay_step(
                        step, reset, messages, one, x[q : q + w], decay, theta, heard,
                        vs[at : at + w], us[at : at + w], vs[at + width : at + width + w],
                    )  # fmt: skip
                    if messages:
                        for i in range(w):
                            three[i] = one if us[at + i] > theta[i] else one - one
                for j in range(n - 1, -1, -1):
                    t, at = first + j, j * width
                    row, q, qs, qm = t * M + o, t * x_stride + o, t * gs_stride + o, t * gm_stride + o
                    if messages and t + 1 < T:
                        _neighbours(gx[row + M : row + M + w], heard, sides, three, rows, columns, weight)
                    elif messages:
                        for i in range(w):
                            heard[i] = one - one
                    _backward_step(
                        step, reset, surrogate, messages, traced, learned, p0, p1, one,
                        x[q : q + w], decay, theta, heard, vs[at : at + w], us[at : at + w],
                        gs[qs : qs + w], gm[qm : qm + w] if traced else decay, g, gx[row : row + w], g_decay, g_theta,
                    )  # fmt: skip
            if messages:
                _neighbours(gx[o : o + w], gz0[o : o + w], sides, three, rows, columns, weight)

    tag = f"_{STEPS[step]}_{RESETS[reset]}_{SURROGATES[surrogate]}_{messages:d}{traced:d}{learned:d}"
    return Shared(lif_backward, tag)
