"""The equations of one LIF step, forward and backward, on vectors of units.

``one`` is a vector of ones: it carries dtype and number of units. No operation is contracted or reordered: spikes and
membranes are those of the plain loop, bit for bit.
"""

from pnbx_snn.kernels.cpu.compiled import inlined
from pnbx_snn.kernels.cpu.vectors import exponential, magnitude, where

STEPS = ("leaky", "delayed", "lif_box", "membrane", "graded_3", "graded_4")
"""``snntorch.Leaky`` with ``reset_delay`` False and True, Norse's ``lif_box``, the step of ``Membrane``, and the same
with graded events of 3 or 4 levels (``pnbx_snn.neurons.graded``)."""

RESETS = ("zero", "subtract", "none")
SURROGATES = (
    "atan", "fast_sigmoid", "sigmoid", "straight_through_estimator", "triangular", "heaviside", "spike_rate_escape",
    "sparse_fast_sigmoid",
)  # fmt: skip
_LEAKY, _DELAYED, _BOX, _MEMBRANE, _GRADED_3, _GRADED_4 = range(6)
_ZERO, _SUBTRACT, _NONE = range(3)
_ATAN, _FAST, _SIGMOID, _STRAIGHT, _TRIANGULAR, _HEAVISIDE, _ESCAPE, _SPARSE = range(8)


@inlined
def _fired_before(step, v, theta, one):  # type: ignore[no-untyped-def]
    """Return snnTorch's R: whether the membrane stands above the threshold before the input arrives."""
    zero = one - one
    return where(v > theta, one, zero) if step == _LEAKY or step == _DELAYED else zero  # noqa: SIM109


@inlined
def _charge(step, reset, x, v, r, decay, theta, heard, one):  # type: ignore[no-untyped-def]
    """Potential after decay and input. ``decay`` is beta, and 1 - beta for lif_box."""
    if step == _BOX:
        return v + decay * (x - v)
    if step >= _GRADED_3:
        return decay * v + x
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
    zero = one - one
    if surrogate == _ATAN:
        a = p1 * d
        return p0 / (one + a * a) * g
    if surrogate == _FAST:
        a = p0 * magnitude(d) + one
        return g / (a * a)
    if surrogate == _SPARSE:
        a = p0 * magnitude(d) + one
        return g / (a * a) * where(d > p1, one, zero)
    if surrogate == _SIGMOID:
        e = exponential(-magnitude(p0 * d))  # even in d: without the magnitude it overflows, and inf / inf is NaN
        return g * p0 * e / ((e + one) * (e + one))
    if surrogate == _ESCAPE:
        return g * p0 * exponential(-p1 * magnitude(d - one))
    if surrogate == _TRIANGULAR:
        return where(d >= zero, -(g * p0), g * p0)
    if surrogate == _HEAVISIDE:
        return g * s
    return g


@inlined
def advance(step, reset, x, v, decay, theta, heard, one):  # type: ignore[no-untyped-def]
    """Return the potential before the reset, the spike and the membrane after it."""
    r = _fired_before(step, v, theta, one)
    u = _charge(step, reset, x, v, r, decay, theta, heard, one)
    s = where(u > theta, one, one - one)
    if step >= _GRADED_3:
        e = _digit(step, u, s, theta, one)
        if reset == _ZERO:
            return u, e, u - s * u
        return u, e, u - e * theta if reset == _SUBTRACT else u
    return u, s, _settle(step, reset, u, s, r, theta, one)


@inlined
def _digit(step, u, s, theta, one):  # type: ignore[no-untyped-def]
    """Graded event of a potential whose spike is ``s``: 1, and 1 more from two thresholds on, 2 more from four on."""
    two = theta + theta
    e = s + where(u > two, one, one - one)
    if step == _GRADED_4:
        e = e + where(u > two + two, one + one, one - one)
    return e


@inlined
def _retreat_graded(step, reset, surrogate, u, v, x, decay, theta, g_fired, g, p0, p1, one):  # type: ignore[no-untyped-def]
    """Do the same as :func:`retreat` for graded events: each of their thresholds has its surrogate."""
    zero = one - one
    half = one / (one + one)
    s = where(u > theta, one, zero)
    e = _digit(step, u, s, theta, one)
    if reset == _SUBTRACT:
        g_fired = g_fired - g * theta
    at_first = g_fired - g * u if reset == _ZERO else g_fired
    first = _through(surrogate, at_first, u - theta, s, p0, p1, one)
    d = u * half - theta
    second = _through(surrogate, g_fired, d, where(d > zero, one, zero), p0, p1, one)
    gu, g_theta = first + half * second, first + second
    if step == _GRADED_4:
        d = u * (half * half) - theta
        third = _through(surrogate, g_fired, d, where(d > zero, one, zero), p0, p1, one)
        third = third + third
        gu, g_theta = gu + half * half * third, g_theta + third
    gu = gu + (g - g * s if reset == _ZERO else g)
    if reset == _SUBTRACT:
        g_theta = g_theta + g * e
    return gu, gu * decay, gu * v, -g_theta


@inlined
def retreat(step, reset, surrogate, u, v, x, decay, theta, g_fired, g, p0, p1, one):  # type: ignore[no-untyped-def]
    """From the gradients of a spike and of the membrane after it to those of x, of v before, of decay and theta."""
    if step >= _GRADED_3:
        return _retreat_graded(step, reset, surrogate, u, v, x, decay, theta, g_fired, g, p0, p1, one)
    zero = one - one
    r = _fired_before(step, v, theta, one)
    s = where(u > theta, one, zero)
    gu, reset_now = g, s - r
    if step == _DELAYED:
        reset_now = zero
    elif reset == _ZERO:
        g_fired = g_fired - g * u
        gu = gu - g * reset_now
    elif reset == _SUBTRACT:
        g_fired = g_fired - g * theta
    through = _through(surrogate, g_fired, u - theta, s, p0, p1, one)
    gu = gu + through
    g_theta = through + g * reset_now + gu * r if reset == _SUBTRACT else through
    if step == _BOX:
        return gu * decay, gu - gu * decay, gu * (x - v), -g_theta
    if reset == _ZERO:
        return gu, gu * decay * (one - r), gu * ((one - r) * v), -g_theta
    return gu, gu * decay, gu * v, -g_theta
