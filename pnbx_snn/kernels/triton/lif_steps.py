"""The equations of one step of LIF neurons, forward and backward, as Triton compiles them into the kernels.

The same operations in the same order as in ``lif_loops``, which the CPU runs; a tensor holds one number for each unit
of a block. What is in capitals is a constant of the kernel, so that no branch is left in it.
"""

import triton.language as tl

from pnbx_snn.kernels.triton.jit import kernel


@kernel
def _fired_before(v, theta, STEP: tl.constexpr):
    """Return snnTorch's R: whether the membrane stands above the threshold before the input arrives."""
    if STEP == "leaky" or STEP == "delayed":
        return (v > theta).to(v.dtype)
    else:
        return tl.full(v.shape, 0.0, v.dtype)


@kernel
def _charge(x, v, r, decay, theta, heard, STEP: tl.constexpr, RESET: tl.constexpr):
    """Potential after decay and input. ``decay`` is beta, and 1 - beta for lif_box."""
    if STEP == "lif_box":
        u = v + decay * (x - v)
    elif STEP == "membrane" or STEP == "graded_3" or STEP == "graded_4":
        u = decay * v + x
        if heard is not None:
            u = u + heard
    elif RESET == "zero":
        u = decay * ((1.0 - r) * v) + x
    elif RESET == "subtract":
        u = (decay * v + x) - r * theta
    else:
        u = decay * v + x
    return u


@kernel
def _settle(u, s, r, theta, STEP: tl.constexpr, RESET: tl.constexpr):
    """Membrane after the reset of a spike ``s``."""
    if STEP == "delayed" or RESET == "none":
        v = u
    elif STEP == "lif_box":
        v = (1.0 - s) * u
        if RESET == "subtract":
            v = v + s * (u - theta)
    elif RESET == "zero":
        v = u - (s - r) * u
    else:
        v = u - (s - r) * theta
    return v


@kernel
def _through(g, d, s, p0, p1, SURROGATE: tl.constexpr):
    """Return the gradient ``g`` of a spike times its surrogate slope at ``d = u - theta``."""
    if SURROGATE == "atan":
        a = p1 * d
        out = p0 / (1.0 + a * a) * g
    elif SURROGATE == "fast_sigmoid":
        a = p0 * tl.abs(d) + 1.0
        out = g / (a * a)
    elif SURROGATE == "sparse_fast_sigmoid":
        a = p0 * tl.abs(d) + 1.0
        out = g / (a * a) * (d > p1).to(d.dtype)
    elif SURROGATE == "sigmoid":
        e = tl.exp(-tl.abs(p0 * d))  # even in d: without the magnitude it overflows, and inf / inf is NaN
        out = g * p0 * e / ((e + 1.0) * (e + 1.0))
    elif SURROGATE == "spike_rate_escape":
        out = g * p0 * tl.exp(-p1 * tl.abs(d - 1.0))
    elif SURROGATE == "triangular":
        out = tl.where(d >= 0.0, -(g * p0), g * p0)
    elif SURROGATE == "heaviside":
        out = g * s
    else:  # straight_through_estimator
        out = g
    return out


@kernel
def _digit(u, theta, STEP: tl.constexpr):
    """Graded event of a potential; of a step with binary ones, the spike."""
    e = (u > theta).to(u.dtype)
    if STEP == "graded_3" or STEP == "graded_4":
        e = e + (u > 2.0 * theta).to(u.dtype)
        if STEP == "graded_4":
            e = e + 2.0 * (u > 4.0 * theta).to(u.dtype)
    return e


@kernel
def advance(x, v, decay, theta, heard, STEP: tl.constexpr, RESET: tl.constexpr):
    """Return the potential before the reset, the spike and the membrane after it; ``heard`` may be None."""
    r = _fired_before(v, theta, STEP)
    u = _charge(x, v, r, decay, theta, heard, STEP, RESET)
    s = (u > theta).to(u.dtype)
    e = _digit(u, theta, STEP)
    if STEP == "graded_3" or STEP == "graded_4":
        if RESET == "zero":
            after = u - s * u
        elif RESET == "subtract":
            after = u - e * theta
        else:
            after = u
    else:
        after = _settle(u, s, r, theta, STEP, RESET)
    return u, e, after


@kernel
def retreat(
    u, v, x, decay, theta, g_fired, g, p0, p1, STEP: tl.constexpr, RESET: tl.constexpr, SURROGATE: tl.constexpr
):
    """From the gradients of a spike and of the membrane after it to those of x, of v before, of decay and theta."""
    r = _fired_before(v, theta, STEP)
    s = (u > theta).to(u.dtype)
    gu = g
    g_events = g_fired
    reset_now = s - r
    if STEP == "delayed":
        reset_now = tl.full(u.shape, 0.0, u.dtype)
    elif RESET == "zero":
        g_fired = g_fired - g * u
        gu = gu - g * reset_now
    elif RESET == "subtract":
        g_fired = g_fired - g * theta
    through = _through(g_fired, u - theta, s, p0, p1, SURROGATE)
    gu = gu + through
    g_theta = through
    if STEP == "graded_3" or STEP == "graded_4":
        if RESET == "zero":
            g_fired = g_events  # a reset to zero knows the first threshold only
        d = 0.5 * u - theta
        more = _through(g_fired, d, (d > 0.0).to(u.dtype), p0, p1, SURROGATE)
        gu = gu + 0.5 * more
        g_theta = g_theta + more
        if STEP == "graded_4":
            d = 0.25 * u - theta
            more = 2.0 * _through(g_fired, d, (d > 0.0).to(u.dtype), p0, p1, SURROGATE)
            gu = gu + 0.25 * more
            g_theta = g_theta + more
        if RESET == "subtract":
            g_theta = g_theta + g * _digit(u, theta, STEP)
    elif RESET == "subtract":
        g_theta = through + g * reset_now + gu * r
    g_x = gu
    g_v = gu * decay
    g_decay = gu * v
    if STEP == "lif_box":
        g_x = gu * decay
        g_v = gu - gu * decay
        g_decay = gu * (x - v)
    elif RESET == "zero":
        g_v = gu * decay * (1.0 - r)
        g_decay = gu * ((1.0 - r) * v)
    return g_x, g_v, g_decay, -g_theta
