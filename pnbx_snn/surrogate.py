"""Surrogate gradients by name: snnTorch's functions and Norse's SuperSpike, as values that pickle and compare."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from snntorch import surrogate as snn_surrogate
from torch import Tensor

from pnbx_snn.errors import PnbxTypeError, PnbxValueError

SpikeFunction = Callable[[Tensor], Tensor]
"""What a neuron fires with: maps ``v - threshold`` to spikes, with a surrogate derivative in the backward pass."""


def _norse_super() -> SpikeFunction:
    from norse.torch.functional.superspike import super_fn  # importing Norse takes a second: only who asks pays

    # Norse 1.1 ignores alpha and computes with 1; later versions use it. Always 1, so that the numbers stay.
    return lambda x: super_fn(x, 1.0)


# snntorch.surrogate.LSO is missing: in snnTorch 1.0 it calls another operator with an argument too few.
_FACTORIES: dict[str, Callable[..., Any]] = {
    "atan": snn_surrogate.atan,
    "fast_sigmoid": snn_surrogate.fast_sigmoid,
    "sigmoid": snn_surrogate.sigmoid,
    "straight_through_estimator": snn_surrogate.straight_through_estimator,
    "triangular": snn_surrogate.triangular,
    "heaviside": snn_surrogate.heaviside,
    "spike_rate_escape": snn_surrogate.spike_rate_escape,
    "sparse_fast_sigmoid": snn_surrogate.SFS,
    "stochastic_spike_operator": snn_surrogate.SSO,
    "custom_surrogate": snn_surrogate.custom_surrogate,
    "super": _norse_super,
}
_NAME_OF_FACTORY = {factory.__name__: name for name, factory in _FACTORIES.items()}  # "SFS" -> "sparse_fast_sigmoid"

SURROGATES: tuple[str, ...] = tuple(name for name in _FACTORIES if name != "custom_surrogate")
"""The names that :func:`resolve` accepts."""


@dataclass(frozen=True)
class Surrogate:
    r"""A step function with a surrogate derivative, known by name and parameters.

    Forward, for every name: ``S(u) = 1 if u > 0 else 0``, in the dtype of ``u`` (snnTorch's own functions answer
    float32 to everything). Backward, with ``u = v - threshold``:

    ==============================  ==========================  =============================================
    name                            parameters (defaults)       dS/du
    ==============================  ==========================  =============================================
    ``atan``                        ``alpha=2.0``               ``alpha / 2 / (1 + (pi/2 * alpha * u)^2)``
    ``fast_sigmoid``                ``slope=25``                ``1 / (1 + slope * |u|)^2``
    ``sigmoid``                     ``slope=25``                ``slope * e / (1 + e)^2``, ``e = exp(-slope * u)``
    ``straight_through_estimator``  none                        ``1``
    ``triangular``                  ``threshold=1``             ``+threshold`` below, ``-threshold`` from 0 on
    ``heaviside``                   none                        ``S(u)``
    ``spike_rate_escape``           ``beta=1, slope=25``        ``slope * exp(-beta * |u - 1|)``
    ``sparse_fast_sigmoid``         ``slope=25, B=1``           ``1 / (1 + slope * |u|)^2`` where ``u > B``
    ``stochastic_spike_operator``   ``mean=0, variance=0.2``    1 above, noise of torch's generator below
    ``super``                       none                        ``1 / (1 + |u|)^2``
    ==============================  ==========================  =============================================

    These are snnTorch's formulas as they are: ``triangular`` changes sign at the threshold, ``spike_rate_escape``
    peaks at one above it, and ``sigmoid`` overflows in float32 to a NaN gradient, from about ``u < -85 / slope`` on.

    Parameters
    ----------
    name : str
        A name of :data:`SURROGATES`, or the name of snnTorch's function (``"SFS"``, ``"SSO"``).
    params : Mapping[str, Any]
        Keyword arguments of that function; what is left out takes the function's default.

    Raises
    ------
    PnbxValueError
        For an unknown name or parameter; the message gives the nearest known one.
    PnbxTypeError
        For a parameter that is no number.

    Notes
    -----
    In float64 the gradient passes through snnTorch's float32 output and is rounded to float32 on its way.
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
        name = _NAME_OF_FACTORY.get(self.name, self.name)
        if name not in _FACTORIES:
            raise PnbxValueError(f"surrogate: unknown name {self.name!r}{_nearest(name, SURROGATES)}")
        defaults = {key: p.default for key, p in inspect.signature(_FACTORIES[name]).parameters.items()}
        for key, value in self.params.items():
            if key not in defaults:
                allowed = _nearest(key, tuple(defaults)) if defaults else "; it takes none"
                raise PnbxValueError(f"surrogate {name!r}: unknown parameter {key!r}{allowed}")
            if not isinstance(value, int | float | Tensor) and not callable(value):
                raise PnbxTypeError(f"surrogate {name!r}: {key} must be a number, got {value!r}")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "params", {**defaults, **self.params})

    def __call__(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Spikes of ``u = v - threshold``: any shape in, the same shape and dtype out."""
        spikes: Tensor = _FACTORIES[self.name](**self.params)(u)
        return spikes.to(u.dtype)


def resolve(spike_grad: str | SpikeFunction | None) -> SpikeFunction:
    """Turn what a user gives as ``spike_grad`` into a callable that pickles.

    Parameters
    ----------
    spike_grad : str, callable or None
        A name (its default parameters), a function made by ``snntorch.surrogate`` (becomes the equal
        :class:`Surrogate`), any other callable (returned as it is), or ``None`` (``"atan"``, as in snnTorch).

    Returns
    -------
    callable
        Maps ``v - threshold`` to spikes of the same shape.

    Raises
    ------
    PnbxValueError
        For an unknown name.
    PnbxTypeError
        For anything that is neither a name nor a callable.

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


def _from_snntorch(function: SpikeFunction) -> Surrogate | None:
    """Return the Surrogate equal to a closure of ``snntorch.surrogate``, or None for any other callable.

    Each factory there returns its local function ``inner``, whose free variables are the factory's parameters.
    """
    factory, _, inner = getattr(function, "__qualname__", "").partition(".<locals>.")
    if getattr(function, "__module__", "") != snn_surrogate.__name__ or inner != "inner":
        return None
    if factory not in _NAME_OF_FACTORY:
        return None
    params = dict(inspect.getclosurevars(function).nonlocals)
    if "func" in params:  # custom_surrogate renames its parameter
        params["custom_surrogate_function"] = params.pop("func")
    return Surrogate(factory, params)


def _nearest(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}?" if close else f", allowed: {', '.join(known)}"
