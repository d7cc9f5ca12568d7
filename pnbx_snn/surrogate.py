"""Surrogate gradients by name: snnTorch's functions and Norse's SuperSpike, as values that pickle and compare."""

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from jaxtyping import Float
from torch import Tensor

from pnbx_snn.checks import Written, wide
from pnbx_snn.errors import PnbxTypeError, PnbxValueError

SpikeFunction = Callable[[Tensor], Tensor]
"""What a neuron fires with: maps ``v - threshold`` to spikes, with a surrogate derivative in the backward pass."""

Number = int | float | Tensor
"""A parameter of a surrogate."""

# Each formula takes the gradient of the spikes, ``u = v - threshold`` and its parameters to the gradient of ``u``, by
# snnTorch's operations in snnTorch's order, so that gradients are equal bit for bit. None divides infinity by infinity.


def _atan(g: Tensor, u: Tensor, alpha: Number) -> Tensor:
    return alpha / 2 / (1 + (torch.pi / 2 * alpha * u) ** 2) * g


def _fast_sigmoid(g: Tensor, u: Tensor, slope: Number) -> Tensor:
    return g / (slope * u.abs() + 1.0) ** 2


def _sigmoid(g: Tensor, u: Tensor, slope: Number) -> Tensor:
    # The derivative is even. snnTorch's exp(-slope * u) overflows where u is negative, and inf / inf is NaN.
    e = torch.exp(-(slope * u).abs())
    return g * slope * e / (e + 1) ** 2


def _straight_through(g: Tensor, u: Tensor) -> Tensor:
    return g.clone()


def _triangular(g: Tensor, u: Tensor, threshold: Number) -> Tensor:
    scaled = g * threshold
    return torch.where(u >= 0, -scaled, scaled)


def _heaviside(g: Tensor, u: Tensor) -> Tensor:
    return g * (u > 0)


def _spike_rate_escape(g: Tensor, u: Tensor, beta: Number, slope: Number) -> Tensor:
    return g * slope * torch.exp(-beta * (u - 1).abs())


def _sparse_fast_sigmoid(g: Tensor, u: Tensor, slope: Number, B: Number) -> Tensor:
    return _fast_sigmoid(g, u, slope) * (u > B)


def _stochastic(g: Tensor, u: Tensor, mean: Number, variance: Number) -> Tensor:
    above = u > 0
    return g * above + (g * ~above) * ((torch.rand_like(u) - 0.5 + mean) * variance)


def _custom(g: Tensor, u: Tensor, function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    return function(u, g, (u > 0).to(u.dtype))


# Default parameters, in the order of the formula's arguments, and the formula. snntorch.surrogate.LSO is missing: in
# snnTorch 1.0 it calls another operator with an argument too few.
_FORMULAS: dict[str, tuple[dict[str, Any], Callable[..., Tensor]]] = {
    "atan": ({"alpha": 2.0}, _atan),
    "fast_sigmoid": ({"slope": 25}, _fast_sigmoid),
    "sigmoid": ({"slope": 25}, _sigmoid),
    "straight_through_estimator": ({}, _straight_through),
    "triangular": ({"threshold": 1}, _triangular),
    "heaviside": ({}, _heaviside),
    "spike_rate_escape": ({"beta": 1, "slope": 25}, _spike_rate_escape),
    "sparse_fast_sigmoid": ({"slope": 25, "B": 1}, _sparse_fast_sigmoid),
    "stochastic_spike_operator": ({"mean": 0, "variance": 0.2}, _stochastic),
    "custom_surrogate": ({"custom_surrogate_function": None}, _custom),
    "super": ({}, functools.partial(_fast_sigmoid, slope=1.0)),
}
_SNNTORCH_NAMES = {"SFS": "sparse_fast_sigmoid", "SSO": "stochastic_spike_operator"}
_NOT_NEGATIVE = {("fast_sigmoid", "slope"), ("sparse_fast_sigmoid", "slope"), ("spike_rate_escape", "beta")}
"""Below zero these derivatives have a pole or grow without bound."""

SURROGATES: tuple[str, ...] = tuple(name for name in _FORMULAS if name != "custom_surrogate")
"""The names that :func:`resolve` accepts."""


class _Fire(torch.autograd.Function):
    """The step function, with the formula of a surrogate in the backward pass; ``torch.func`` may transform it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor, name: str, *params: Any) -> Tensor:
        return (u > 0).to(u.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        u, ctx.name, *ctx.params = inputs
        ctx.save_for_backward(u)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        (u,) = ctx.saved_tensors
        _, formula = _FORMULAS[ctx.name]
        # In half precision a square overflows from 256 on, where the derivative is still far from zero.
        grad = formula(wide(g), wide(u), *ctx.params).to(u.dtype)
        return grad, *[None] * (1 + len(ctx.params))


@dataclass(frozen=True)
class Surrogate:
    r"""A step function with a surrogate derivative, known by name and parameters.

    Forward, for every name: ``S(u) = 1 if u > 0 else 0``, in the dtype of ``u`` (snnTorch's own functions answer
    float32 to everything). Backward, in float32 or wider, with ``u = v - threshold``:

    ==============================  ==========================  ===============================================
    name                            parameters (defaults)       dS/du
    ==============================  ==========================  ===============================================
    ``atan``                        ``alpha=2.0``               ``alpha / 2 / (1 + (pi/2 * alpha * u)^2)``
    ``fast_sigmoid``                ``slope=25``                ``1 / (1 + slope * |u|)^2``
    ``sigmoid``                     ``slope=25``                ``slope * e / (1 + e)^2``, ``e = exp(-|slope * u|)``
    ``straight_through_estimator``  none                        ``1``
    ``triangular``                  ``threshold=1``             ``+threshold`` below, ``-threshold`` from 0 on
    ``heaviside``                   none                        ``S(u)``
    ``spike_rate_escape``           ``beta=1, slope=25``        ``slope * exp(-beta * |u - 1|)``
    ``sparse_fast_sigmoid``         ``slope=25, B=1``           ``1 / (1 + slope * |u|)^2`` where ``u > B``
    ``stochastic_spike_operator``   ``mean=0, variance=0.2``    1 above, noise of torch's generator below
    ``super``                       none                        ``1 / (1 + |u|)^2``
    ==============================  ==========================  ===============================================

    These are snnTorch's formulas as they are: ``triangular`` changes sign at the threshold and ``spike_rate_escape``
    peaks at one above it. They are finite for every finite ``u`` of every dtype; snnTorch's own ``sigmoid`` overflows
    in float32 to a NaN gradient, from about ``u < -85 / slope`` on.

    Parameters
    ----------
    name : str
        A name of :data:`SURROGATES`, or the name of snnTorch's function (``"SFS"``, ``"SSO"``).
    params : Mapping[str, Any]
        Keyword arguments of that function; what is left out takes the function's default.

    Raises
    ------
    PnbxValueError
        For an unknown name or parameter (the message gives the nearest known one), or for a number with which the
        derivative is not finite everywhere: infinity, NaN, or one below 0 that makes a pole.
    PnbxTypeError
        For a parameter that is no number.

    Notes
    -----
    ``torch.func.grad`` and ``torch.vmap`` transform it like torch's own operations.

    Integer counterpart: none; a program only compares, ``v > threshold``.

    References
    ----------
    snnTorch 1.0 ``snntorch.surrogate``; Norse 1.1 ``norse.torch.functional.superspike`` (``super``), after
    F. Zenke and S. Ganguli, "SuperSpike", Neural Computation 30, 2018, section 3.3.2.

    Examples
    --------
    >>> import torch
    >>> u = torch.tensor([-1.0, 0.0, 1.0], requires_grad=True)
    >>> spikes = Surrogate("fast_sigmoid", {"slope": 1.0})(u)
    >>> spikes.tolist()
    [0.0, 0.0, 1.0]
    >>> spikes.sum().backward()
    >>> u.grad.tolist()
    [0.25, 1.0, 0.25]
    >>> Surrogate("atan") == Surrogate("atan", {"alpha": 2.0})
    True
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        name = _SNNTORCH_NAMES.get(self.name, self.name)
        if name not in _FORMULAS:
            raise PnbxValueError(f"surrogate: unknown name {self.name!r}{_nearest(name, SURROGATES)}")
        defaults, _ = _FORMULAS[name]
        params = {**defaults, **self.params}
        for key, value in params.items():
            if key not in defaults:
                allowed = _nearest(key, tuple(defaults)) if defaults else "; it takes none"
                raise PnbxValueError(f"surrogate {name!r}: unknown parameter {key!r}{allowed}")
            if not isinstance(value, int | float | Tensor) and not callable(value):
                raise PnbxTypeError(f"surrogate {name!r}: {key} must be a number, got {value!r}")
            if isinstance(value, int | float):
                _check_number(name, key, float(value))
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "params", params)

    def __call__(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Spikes of ``u = v - threshold``: any shape in, the same shape and dtype out."""
        spikes: Tensor = _Fire.apply(u, self.name, *self.params.values())  # type: ignore[no-untyped-call]
        return spikes


def _check_number(name: str, key: str, value: float) -> None:
    """Raise unless the derivative is finite everywhere with this parameter."""
    if not (math.isfinite(value) or (key == "B" and not math.isnan(value))):
        raise PnbxValueError(f"surrogate {name!r}: {key} must be finite, got {value}")
    if value < 0 and (name, key) in _NOT_NEGATIVE:
        raise PnbxValueError(f"surrogate {name!r}: {key} must be at least 0, got {value}")


def resolve(spike_grad: str | SpikeFunction | None) -> SpikeFunction:
    """Turn what a user passes as ``spike_grad`` into a callable that pickles, from ``v - threshold`` to spikes.

    Parameters
    ----------
    spike_grad : str, callable or None
        A name (its default parameters), a function made by ``snntorch.surrogate`` (becomes the equal
        :class:`Surrogate`), any other callable (returned as it is), or ``None`` (``"atan"``, as in snnTorch).

    Raises
    ------
    PnbxValueError, PnbxTypeError
        For an unknown name, and for anything that is neither a name nor a callable.

    Examples
    --------
    >>> import snntorch
    >>> resolve(snntorch.surrogate.fast_sigmoid(slope=10))
    Surrogate(name='fast_sigmoid', params={'slope': 10})
    """
    if spike_grad is None:
        return Surrogate("atan")
    if isinstance(spike_grad, str):
        return Surrogate(spike_grad)
    if not callable(spike_grad):
        raise PnbxTypeError(f"surrogate: spike_grad must be a name, a callable or None, got {spike_grad!r}")
    return _from_snntorch(spike_grad) or spike_grad


SpikeGrad = Annotated[str | SpikeFunction | None, Written(str, read=lambda name: Surrogate(name).name)]
"""What :func:`resolve` takes; a configuration gives a name."""


def _from_snntorch(function: SpikeFunction) -> Surrogate | None:
    """Return the Surrogate equal to a closure of ``snntorch.surrogate``, or None for any other callable.

    Each factory there returns its local function ``inner``, whose free variables are the factory's parameters.
    """
    factory, _, inner = getattr(function, "__qualname__", "").partition(".<locals>.")
    if getattr(function, "__module__", "") != "snntorch.surrogate" or inner != "inner":
        return None
    if _SNNTORCH_NAMES.get(factory, factory) not in _FORMULAS:
        return None
    params = dict(inspect.getclosurevars(function).nonlocals)
    if "func" in params:  # custom_surrogate renames its parameter
        params["custom_surrogate_function"] = params.pop("func")
    return Surrogate(factory, params)


def _nearest(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}?" if close else f", allowed: {', '.join(known)}"
