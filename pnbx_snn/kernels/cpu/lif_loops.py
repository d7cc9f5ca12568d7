"""The loops of LIF neurons over all steps, forward and backward, one pass over memory each; compiled by numba.

The units of all samples lie on one axis, cut into tiles that fit the first cache; threads share the tiles. The forward
pass keeps the membrane of every 32nd step; the backward pass runs 32 steps forward again, in the second cache, before
it goes back through them. So nothing of the size of the input is saved but the input.

Every choice is a constant of the kernel, so that its inner loops have no branches; what is used is compiled, once.
No operation is contracted or reordered: spikes and membranes are those of the plain loop, bit for bit.
"""

import functools
import math

from pnbx_snn.kernels.cpu.compiled import Shared, inlined

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
        e = math.exp(-abs(p0 * d))  # even in d: without the magnitude it overflows, and inf / inf is NaN
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


# One unit, one step.


@inlined
def _advance(step, reset, x, v, decay, theta, heard, one):  # type: ignore[no-untyped-def]
    """Return the potential before the reset, the spike and the membrane after it."""
    r = _fired_before(step, v, theta, one)
    u = _charge(step, reset, x, v, r, decay, theta, heard, one)
    s = one if u > theta else one - one
    return u, s, _settle(step, reset, u, s, r, theta, one)


@inlined
def _retreat(step, reset, surrogate, u, v, x, decay, theta, g_fired, g, p0, p1, one):  # type: ignore[no-untyped-def]
    """From the gradients of a spike and of the membrane after it to those of x, of v before, of decay and theta."""
    r = _fired_before(step, v, theta, one)
    s = one if u > theta else one - one
    gu, reset_now = g, s - r
    if step == _DELAYED:
        reset_now = one - one
    elif reset == _ZERO:
        g_fired -= g * u
        gu -= g * reset_now
    elif reset == _SUBTRACT:
        g_fired -= g * theta
    through = _through(surrogate, g_fired, u - theta, s, p0, p1, one)
    gu += through
    g_theta = through + g * reset_now + gu * r if reset == _SUBTRACT else through
    if step == _BOX:
        return gu * decay, gu - gu * decay, gu * (x - v), -g_theta
    if reset == _ZERO:
        return gu, gu * decay * (one - r), gu * ((one - r) * v), -g_theta
    return gu, gu * decay, gu * v, -g_theta


# One step of a tile, and four at once, which take 10 to 25 % less time: the membrane stays in registers and four rows
# come from memory together. Messages need every step by itself.


@inlined
def _forward_step(step, reset, messages, traced, one, x, decay, theta, heard, v, fired, after):  # type: ignore[no-untyped-def]
    """Run forward: spikes to ``fired``, the membrane to ``v`` and, if traced, to ``after``."""
    for i in range(len(v)):
        h = heard[i] if messages else one - one
        _, fired[i], v[i] = _advance(step, reset, x[i], v[i], decay[i], theta[i], h, one)
        if traced:
            after[i] = v[i]


@inlined
def _rows(array, at, stride, w):  # type: ignore[no-untyped-def]
    """Return the parts of four steps."""
    second, third, fourth = at + stride, at + 2 * stride, at + 3 * stride
    return array[at : at + w], array[second : second + w], array[third : third + w], array[fourth : fourth + w]


@inlined
def _forward_steps(step, reset, traced, one, xs, decay, theta, v, fired, after):  # type: ignore[no-untyped-def]
    """Run four steps forward."""
    zero = one - one
    for i in range(len(v)):
        d, th = decay[i], theta[i]
        _, fired[0][i], a = _advance(step, reset, xs[0][i], v[i], d, th, zero, one)
        _, fired[1][i], b = _advance(step, reset, xs[1][i], a, d, th, zero, one)
        _, fired[2][i], c = _advance(step, reset, xs[2][i], b, d, th, zero, one)
        _, fired[3][i], v[i] = _advance(step, reset, xs[3][i], c, d, th, zero, one)
        if traced:
            after[0][i], after[1][i], after[2][i], after[3][i] = a, b, c, v[i]


@inlined
def _replay_step(step, reset, messages, one, x, decay, theta, heard, v, potential, after):  # type: ignore[no-untyped-def]
    """Run forward again: the potential before the reset, and the membrane after it."""
    for i in range(len(v)):
        h = heard[i] if messages else one - one
        potential[i], _, after[i] = _advance(step, reset, x[i], v[i], decay[i], theta[i], h, one)


@inlined
def _replay_steps(step, reset, one, xs, decay, theta, v, potentials, after):  # type: ignore[no-untyped-def]
    """Run four steps forward again."""
    zero = one - one
    for i in range(len(v)):
        d, th = decay[i], theta[i]
        potentials[0][i], _, a = _advance(step, reset, xs[0][i], v[i], d, th, zero, one)
        potentials[1][i], _, b = _advance(step, reset, xs[1][i], a, d, th, zero, one)
        potentials[2][i], _, c = _advance(step, reset, xs[2][i], b, d, th, zero, one)
        potentials[3][i], _, e = _advance(step, reset, xs[3][i], c, d, th, zero, one)
        after[0][i], after[1][i], after[2][i], after[3][i] = a, b, c, e


@inlined
def _backward_step(  # type: ignore[no-untyped-def]
    step, reset, surrogate, messages, traced, learned, p0, p1, one,
    x, decay, theta, heard, v, potential, g_fired, g_after, g, g_x, g_decay, g_theta,
):  # fmt: skip
    """Take ``g``, the gradient of the membrane after a step, to that of the membrane before it."""
    for i in range(len(v)):
        gv = g[i] + g_after[i] if traced else g[i]
        gs = g_fired[i] + heard[i] if messages else g_fired[i]
        g_x[i], g[i], of_decay, of_theta = _retreat(
            step, reset, surrogate, potential[i], v[i], x[i], decay[i], theta[i], gs, gv, p0, p1, one
        )
        if learned:
            g_decay[i] += of_decay
            g_theta[i] += of_theta


@inlined
def _backward_steps(  # type: ignore[no-untyped-def]
    step, reset, surrogate, traced, learned, p0, p1, one,
    xs, decay, theta, vs, us, gs, gm, g, gx, g_decay, g_theta,
):  # fmt: skip
    """Take ``g`` back through four steps."""
    for i in range(len(g)):
        d, th, ga = decay[i], theta[i], g[i] + gm[3][i] if traced else g[i]
        gx[3][i], gb, d3, t3 = _retreat(
            step, reset, surrogate, us[3][i], vs[3][i], xs[3][i], d, th, gs[3][i], ga, p0, p1, one
        )
        gb = gb + gm[2][i] if traced else gb
        gx[2][i], gc, d2, t2 = _retreat(
            step, reset, surrogate, us[2][i], vs[2][i], xs[2][i], d, th, gs[2][i], gb, p0, p1, one
        )
        gc = gc + gm[1][i] if traced else gc
        gx[1][i], gd, d1, t1 = _retreat(
            step, reset, surrogate, us[1][i], vs[1][i], xs[1][i], d, th, gs[1][i], gc, p0, p1, one
        )
        gd = gd + gm[0][i] if traced else gd
        gx[0][i], g[i], d0, t0 = _retreat(
            step, reset, surrogate, us[0][i], vs[0][i], xs[0][i], d, th, gs[0][i], gd, p0, p1, one
        )
        if learned:
            g_decay[i] += d3 + d2 + d1 + d0
            g_theta[i] += t3 + t2 + t1 + t0


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
            t = 0
            while t < T:
                row, q = t * M + o, t * x_stride + o
                if messages:
                    z = z0[o : o + w] if t == 0 else spikes[row - M : row - M + w]
                    _neighbours(z, heard, sides, three, rows, columns, weight)
                if t % chunk == 0:
                    at = t // chunk * M + o
                    for i in range(w):
                        kept[at + i] = v[i]
                        if messages:
                            kept[len(kept) // 2 + at + i] = z[i]
                if not messages and t + 4 <= T:
                    _forward_steps(
                        step, reset, traced, one, _rows(x, q, x_stride, w), decay, theta, v,
                        _rows(spikes, row, M, w), _rows(membranes, row if traced else 0, M, w),
                    )  # fmt: skip
                    t += 4
                else:
                    _forward_step(
                        step, reset, messages, traced, one, x[q : q + w], decay, theta, heard, v,
                        spikes[row : row + w], membranes[row : row + w] if traced else v,
                    )  # fmt: skip
                    t += 1

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
                j = 0
                while j < n:
                    q, at = (first + j) * x_stride + o, j * width
                    if not messages and j + 4 <= n:
                        _replay_steps(
                            step, reset, one, _rows(x, q, x_stride, w), decay, theta, vs[at : at + w],
                            _rows(us, at, width, w), _rows(vs, at + width, width, w),
                        )  # fmt: skip
                        j += 4
                        continue
                    if messages:  # `three` holds the spikes, and is overwritten after they are read
                        _neighbours(three, heard, sides, three, rows, columns, weight)
                    _replay_step(
                        step, reset, messages, one, x[q : q + w], decay, theta, heard,
                        vs[at : at + w], us[at : at + w], vs[at + width : at + width + w],
                    )  # fmt: skip
                    if messages:
                        for i in range(w):
                            three[i] = one if us[at + i] > theta[i] else one - one
                    j += 1
                while j > 0:
                    four = not messages and j % 4 == 0
                    j -= 4 if four else 1
                    t, at = first + j, j * width
                    row, q, qs, qm = t * M + o, t * x_stride + o, t * gs_stride + o, t * gm_stride + o
                    if four:
                        _backward_steps(
                            step, reset, surrogate, traced, learned, p0, p1, one,
                            _rows(x, q, x_stride, w), decay, theta, _rows(vs, at, width, w), _rows(us, at, width, w),
                            _rows(gs, qs, gs_stride, w), _rows(gm, qm, gm_stride, w), g, _rows(gx, row, M, w),
                            g_decay, g_theta,
                        )  # fmt: skip
                        continue
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
