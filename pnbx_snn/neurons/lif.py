"""``LIF`` over time with explicit state; its step is snnTorch's ``Leaky`` or Norse's ``lif_box``."""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pnbx_snn.checks import check_option, check_shape, wide
from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.kernels.lif import Scan
from pnbx_snn.neurons.cells import LIFBoxCell, Primitive, Reset, leaky_cell
from pnbx_snn.neurons.graded import Levels, check_levels, graded_scan, graded_step
from pnbx_snn.neurons.leaky import Leaky
from pnbx_snn.surrogate import SpikeFunction
from pnbx_snn.wording import counted


class LIFState(NamedTuple):
    """What a LIF layer carries to the next step: the membrane potential ``v`` after the reset, ``[B, N]``."""

    v: Tensor


def beta_from_tau(tau_s: float, dt_s: float) -> float:
    """Decay per step of a membrane with a time constant: ``beta = exp(-dt_s / tau_s)``, in [0, 1].

    Parameters
    ----------
    tau_s, dt_s : float
        Membrane time constant (infinity: no leak) and length of a step in seconds, both > 0.

    Raises
    ------
    PnbxValueError
        If either is out of range.

    Examples
    --------
    >>> round(beta_from_tau(20e-3, 1e-3), 4)
    0.9512
    """
    if not tau_s > 0:
        raise PnbxValueError(f"beta_from_tau: tau_s must be > 0 seconds, got {tau_s}")
    if not (dt_s > 0 and math.isfinite(dt_s)):
        raise PnbxValueError(f"beta_from_tau: dt_s must be > 0 seconds and finite, got {dt_s}")
    return math.exp(-dt_s / tau_s)


class LIF(nn.Module):
    r"""A layer of leaky integrate-and-fire neurons over time.

    One step, in this order: decay and add, compare, spike, reset. With ``H(x) = 1 if x > 0 else 0`` (surrogate
    gradient in the backward pass) and ``beta`` clamped to [0, 1]::

        u[t] = beta * v[t-1] + I[t]                     # primitive="leaky":   snnTorch, the input as it is
        u[t] = v[t-1] + (1 - beta) * (I[t] - v[t-1])    # primitive="lif_box": Norse, the input scaled by 1 - beta
        z[t] = H(u[t] - threshold)                      # strict: v == threshold is silent
        v[t] = u[t] - z[t] * u[t]                       # reset="zero"
        v[t] = u[t] - z[t] * threshold                  # reset="subtract"
        v[t] = u[t]                                     # reset="none"

    ``"leaky"`` runs the forward of ``snntorch.Leaky(reset_delay=False)``, ``"lif_box"`` Norse's
    ``lif_box_feed_forward_step`` and reset functions; gradients flow through the reset in both. The *default* of
    ``snntorch.Leaky`` is ``reset_mechanism="subtract"`` and ``reset_delay=True``, whose reset shows one step later.

    Parameters
    ----------
    beta : float or Tensor ``[N]``
        Decay per step in [0, 1]; see :func:`beta_from_tau`. Tensors are copied.
    threshold : float or Tensor ``[N]``
        Firing threshold, > 0.
    reset : {"zero", "subtract", "none"}
        What a spike does to the membrane. ``"zero"`` is the one on which snnTorch, Norse and Lava agree.
    primitive : {"leaky", "lif_box"}
        Whose step it is.
    spike_grad : str, callable or None
        Surrogate gradient, see :func:`pnbx_snn.surrogate.resolve`. ``None`` is the library's own default: atan for
        ``"leaky"``, SuperSpike for ``"lif_box"``.
    learn_beta, learn_threshold : bool
        Make it a Parameter (``state_dict`` keys ``cell.beta`` and ``cell.threshold``). It may leave its range while it
        learns; ``beta`` is clamped where it is used.
    levels : {2, 3, 4}
        2: spikes are 0 or 1. 3 or 4: they are graded events z of 0, 1, 2 or of 0, 1, 2, 4, see
        :func:`pnbx_snn.neurons.graded.graded_events`. ``u`` is as above, ``v[t] = 0`` where ``z[t] > 0`` with
        ``reset="zero"``, and the other resets are as above.

    Raises
    ------
    PnbxValueError, ShapeError
        ``beta`` outside [0, 1], ``threshold`` not > 0, an unknown option; neither a scalar nor a vector.

    Notes
    -----
    snnTorch decides the reset of a step in two parts: ``R[t] = H(v[t-1] - threshold)``, without gradient, before the
    input arrives, and ``S[t] - R[t]`` after it. As long as no membrane stands above the threshold *after* its reset,
    R is 0 and the equations above are exact. When one does (``"subtract"`` from above two thresholds, an initial
    state above the threshold, a threshold that was lowered in between), ``"leaky"`` behaves as snnTorch does, and
    there differs from ``"lif_box"``, which is the equations above always::

        subtract:  U = beta * v[t-1] + I[t] - R * threshold;  S = H(U - threshold);  v[t] = U - (S - R) * threshold
        zero:      U = beta * (1 - R) * v[t-1] + I[t];        S = H(U - threshold);  v[t] = U - (S - R) * U

    The state has the dtype that the input and the parameters promote to, and is float32 where that is half precision
    (under autocast): in bfloat16 a membrane of 4 would stay 4 when 0.01 is added. Spikes have the dtype of the input.
    Integer counterpart: the LIF op of a compiled program, ``v = v * factor >> 12`` toward zero for the decay.

    References
    ----------
    snnTorch 1.0 ``snntorch/_neurons/leaky.py``; Norse 1.1 ``norse/torch/functional/lif_box.py``.

    Examples
    --------
    >>> import torch
    >>> lif = LIF(beta=0.5, threshold=1.0)
    >>> current = torch.full((4, 1, 1), 0.75)  # [T, B, N]
    >>> spikes, state = lif(current)
    >>> spikes.flatten().tolist(), state.v.item()
    ([0.0, 1.0, 0.0, 1.0], 0.0)
    >>> first, state = lif(current[:3])
    >>> last, state = lif.step(current[3], state)  # streaming: the same numbers
    >>> last.item()
    1.0
    """

    def __init__(
        self,
        beta: float | Tensor,
        *,
        threshold: float | Tensor = 1.0,
        reset: Reset = "zero",
        primitive: Primitive = "leaky",
        spike_grad: str | SpikeFunction | None = None,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        levels: Levels = 2,
    ) -> None:
        super().__init__()
        check_levels("lif", levels)
        check_option("lif", "reset", reset, Reset)
        check_option("lif", "primitive", primitive, Primitive)
        beta = _parameter("beta", beta)
        _in_range("beta", beta, (beta >= 0) & (beta <= 1), "in [0, 1]")
        threshold = _parameter("threshold", threshold)
        _in_range("threshold", threshold, (threshold > 0) & threshold.isfinite(), "> 0 and finite")
        if threshold.ndim and beta.ndim and threshold.shape != beta.shape:
            raise ShapeError(f"lif: beta is for {counted(len(beta), 'neuron')}, threshold for {len(threshold)}")
        self._reset: Reset = reset
        self._primitive: Primitive = primitive
        self.levels: Levels = levels
        make_cell = leaky_cell if primitive == "leaky" else LIFBoxCell
        self.cell: Leaky | LIFBoxCell = make_cell(beta, threshold, reset, spike_grad, learn_beta, learn_threshold)

    @property
    def beta(self) -> Tensor:
        """Decay per step: scalar or ``[N]``."""
        beta: Tensor = self.cell.beta
        return beta

    @property
    def threshold(self) -> Tensor:
        """Firing threshold: scalar or ``[N]``."""
        threshold: Tensor = self.cell.threshold
        return threshold

    @property
    def reset(self) -> Reset:
        """What a spike does to the membrane."""
        return self._reset

    @property
    def primitive(self) -> Primitive:
        """Whose step it is."""
        return self._primitive

    def step(
        self, current: Float[Tensor, "B N"], state: LIFState | None = None
    ) -> tuple[Float[Tensor, "B N"], LIFState]:
        """One step: ``current`` and spikes ``[B, N]``; otherwise as :meth:`forward`."""
        self._check(current, "[B, N]")
        v = self._initial(current, state)
        if self.levels > 2:
            spikes, v = graded_step(*self._graded(current, v))
            return spikes.to(current.dtype), LIFState(v)
        [(spikes, v)] = self._steps((current,), v)
        return spikes, LIFState(v)

    def forward(
        self, current: Float[Tensor, "T B N"], state: LIFState | None = None
    ) -> tuple[Float[Tensor, "T B N"], LIFState]:
        """All steps of a sequence: :meth:`step` in a loop, from ``state`` (``None`` is zero).

        ``current`` and spikes are ``[T, B, N]``; the state is the one after the last step.

        Raises
        ------
        ShapeError
            Wrong number of axes, an empty axis, another number of neurons than ``beta``, ``threshold`` or ``state``.
        PnbxTypeError
            ``current`` is not floating point.
        """
        spikes, v, _ = self._run(current, state, traced=False)
        return spikes, LIFState(v)

    def trace(
        self, current: Float[Tensor, "T B N"], state: LIFState | None = None
    ) -> tuple[Float[Tensor, "T B N"], Float[Tensor, "T B N"]]:
        """Spikes and membrane potential of every step, each ``[T, B, N]``, for plots and comparisons.

        ``v`` is the potential after the reset, so ``LIFState(v[-1])`` continues the run. Otherwise as :meth:`forward`.
        """
        spikes, _, membranes = self._run(current, state, traced=True)
        assert membranes is not None
        return spikes, membranes

    def extra_repr(self) -> str:
        """Say what ``print(lif)`` shows."""
        beta, threshold = ("per neuron" if p.ndim else f"{p.item():.4g}" for p in (self.beta, self.threshold))
        graded = f", levels={self.levels}" if self.levels > 2 else ""
        return f"beta={beta}, threshold={threshold}, reset={self.reset!r}, primitive={self.primitive!r}{graded}"

    def _run(self, current: Tensor, state: LIFState | None, *, traced: bool) -> Scan:
        self._check(current, "[T, B, N]")
        v = self._initial(current[0], state)
        if self.levels > 2:
            graded = graded_scan(*self._graded(current, v), traced=traced)
            return graded._replace(spikes=graded.spikes.to(current.dtype))
        scan = self.cell.fused(wide(current), v, traced=traced)
        if scan is not None:
            return scan._replace(spikes=scan.spikes.to(current.dtype))
        spikes, membranes = [], []
        for z, after in self._steps(current.unbind(0), v):
            spikes.append(z)
            membranes += [after] if traced else []
        return Scan(torch.stack(spikes), after, torch.stack(membranes) if traced else None)

    def _graded(self, current: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, int, Reset, SpikeFunction]:
        """Return what :func:`pnbx_snn.neurons.graded.graded_step` takes."""
        beta, x = self.beta.clamp(0, 1), wide(current)
        drive = x if self.primitive == "leaky" else (1 - beta) * x
        tensors = [x for x in (drive, beta, self.threshold, v) if x.ndim]
        dtype = functools.reduce(torch.promote_types, (x.dtype for x in tensors))
        drive, beta, threshold, v = (x.to(dtype) for x in (drive, beta, self.threshold, v))
        return drive, beta, threshold, v, self.levels, self.reset, self.cell.spike_grad

    def _steps(self, currents: Sequence[Tensor], v: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Run the cell over the steps, yielding spikes and membrane, each ``[B, N]``."""
        nothing = self.cell.mem if isinstance(self.cell, Leaky) else None
        try:
            for current in currents:
                spikes, v = self.cell(wide(current), v)
                yield spikes.to(current.dtype), v
        finally:
            if nothing is not None:  # snnTorch keeps the last membrane and reset in the module: let go of both
                self.cell.mem = nothing
                self.cell.__dict__.pop("reset", None)

    def _initial(self, first: Tensor, state: LIFState | None) -> Tensor:
        if state is None:
            return torch.zeros_like(wide(first))
        check_shape("lif", "state.v", "[B, N]", state.v, first.shape)
        return wide(state.v)

    def _check(self, current: Tensor, axes: str) -> None:
        if current.ndim != axes.count(",") + 1:
            raise ShapeError(f"lif: current must be {axes}, got shape {list(current.shape)}")
        if current.numel() == 0:
            raise ShapeError(f"lif: current {axes} must not have an empty axis, got shape {list(current.shape)}")
        if not current.is_floating_point():
            raise PnbxTypeError(f"lif: current must be floating point, got {current.dtype}; convert with .float()")
        for name, parameter in (("beta", self.beta), ("threshold", self.threshold)):
            if parameter.ndim and len(parameter) != current.shape[-1]:
                raise ShapeError(
                    f"lif: {name} is for {counted(len(parameter), 'neuron')}, current has {current.shape[-1]}"
                )


def _parameter(name: str, value: float | Tensor) -> Tensor:
    """Copy a parameter to floating point, scalar or ``[N]``."""
    tensor = torch.as_tensor(value).detach().clone()
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.get_default_dtype())
    if tensor.ndim > 1 or tensor.numel() == 0:
        raise ShapeError(f"lif: {name} must be a scalar or a vector [N], got shape {list(tensor.shape)}")
    return tensor


def _in_range(name: str, value: Tensor, good: Tensor, allowed: str) -> None:
    if not bool(good.all()):
        raise PnbxValueError(f"lif: {name} must be {allowed}, got {value[~good].flatten()[0].item():.6g}")
