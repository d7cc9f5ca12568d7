"""The membrane of a BitBrain block: LIF neurons with their own leak and bias, messages from neighbours, noise."""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pnbx_snn.checks import check_input, check_option, check_shape, narrow, transformed, wide
from pnbx_snn.errors import PnbxValueError, ShapeError
from pnbx_snn.kernels.lif import lif_scan, usable
from pnbx_snn.neurons.cells import Reset
from pnbx_snn.neurons.graded import Levels, check_levels, graded_scan, graded_step
from pnbx_snn.neurons.membrane_loop import MembraneLoop, membrane_step
from pnbx_snn.neurons.messages import TorusMessages
from pnbx_snn.quantization import round_decay
from pnbx_snn.surrogate import SpikeFunction, resolve
from pnbx_snn.wording import counted


class MembraneState(NamedTuple):
    """What a membrane carries to the next step: potential ``v`` after the reset and spikes ``z``, ``[B, N]`` each."""

    v: Tensor
    z: Tensor


def membrane_scan(
    drive: Float[Tensor, "T B N"],
    beta: Float[Tensor, ""] | Float[Tensor, " _"],
    threshold: Float[Tensor, ""] | Float[Tensor, " _"],
    state: MembraneState | None = None,
    *,
    reset: Reset = "zero",
    spike_grad: str | SpikeFunction | None = "atan",
    messages: TorusMessages | None = None,
    levels: Levels = 2,
) -> tuple[Float[Tensor, "T B N"], MembraneState]:
    r"""Run LIF neurons over all steps with one backward pass of its own.

    .. math::

        u_t &= \beta \odot v_{t-1} + D_t + \mathrm{messages}(z_{t-1}) \\
        z_t &= H(u_t - \theta) \\
        v_t &= u_t - z_t\, u_t \;(\texttt{"zero"}), \quad u_t - z_t\,\theta \;(\texttt{"subtract"}), \quad
        u_t \;(\texttt{"none"})

    Parameters
    ----------
    drive : Tensor, ``[T, B, N]``
        :math:`D`, what is added to the membrane as it is.
    beta, threshold : Tensor, scalar or ``[N]``
        Decay per step in [0, 1] and firing threshold > 0, not checked here: they change in every batch.
    state : MembraneState, optional
        State before the first step; ``None`` is zeros.
    reset, spike_grad, messages, levels
        As of :class:`Membrane`. Learned edges get their gradient, summed over all steps and samples.

    Raises
    ------
    ShapeError, PnbxTypeError
        If a shape does not fit ``drive``, an axis is empty, or ``drive`` is not floating point.
    PnbxError
        In the backward pass, if it is asked for with ``create_graph=True``.

    Notes
    -----
    ``reset="zero"`` is the step of ``snntorch.Leaky(reset_delay=False)`` and ``"subtract"`` that of Norse's
    ``lif_box``, values and gradients (which flow through the reset). The compiled loops are for messages with equal
    edges; with learned ones the loop is torch's, and one tensor ``[T, B, N]``, the potential before the reset, is
    stored for the backward pass. A drive in half precision is widened: the membrane is float32 or wider.

    Integer counterpart: the LIF op of a compiled program; a message is a sum of eight spikes, shifted.

    References
    ----------
    snnTorch 1.0 ``snntorch/_neurons/leaky.py``; Norse 1.1 ``norse/torch/functional/lif_box.py``; surrogate gradients:
    Neftci, Mostafa and Zenke 2019, arXiv:1901.09948. The messages: own.

    Examples
    --------
    >>> spikes, state = membrane_scan(torch.full((4, 1, 1), 0.75), torch.tensor(0.5), torch.tensor(1.0))
    >>> spikes.flatten().tolist(), state.v.item()
    ([0.0, 1.0, 0.0, 1.0], 0.0)
    """
    check_input("membrane", "drive", drive, "[T, B, N]", drive.shape[-1] if drive.ndim else 0)
    check_option("membrane", "reset", reset, Reset)
    _check_levels(levels, messages)
    num_neurons = drive.shape[-1]
    for name, value in (("beta", beta), ("threshold", threshold)):
        if value.ndim and value.shape != (num_neurons,):
            raise ShapeError(f"membrane: {name} must be a scalar or [{num_neurons}], got shape {list(value.shape)}")
    if state is None:
        state = MembraneState(torch.zeros_like(drive[0]), torch.zeros_like(drive[0]))
    given, drive = drive, wide(drive)
    for name, value in zip(MembraneState._fields, state, strict=True):
        check_shape("membrane", f"state.{name}", "[B, N]", value, drive.shape[1:])
    beta, threshold, v, z = (tensor.to(drive.dtype) for tensor in (beta, threshold, *state))
    edges, fire = None if messages is None else messages.ternary_edges(), resolve(spike_grad)
    together = 1 if messages is None else drive.shape[-1]
    if levels > 2:
        spikes, v, _ = graded_scan(drive, beta, threshold, v, levels, reset, fire)
    elif edges is None and usable(drive, beta, threshold, v, fire, together):
        torus = (0, 0, 0) if messages is None else (messages.rows, messages.columns, messages.kappa_shift)
        heard = None if messages is None else z
        options: dict[str, Any] = {"reset": reset, "spike_grad": fire, "z": heard, "torus": torus}
        spikes, v, _ = lif_scan(drive, beta, threshold, v, step="membrane", **options)
    elif transformed():
        fired = []
        for d in drive.unbind(0):
            z, v = membrane_step(d, beta, threshold, v, z, reset, fire, messages)
            fired.append(z)
        spikes = torch.stack(fired)
    else:
        run: Any = MembraneLoop.apply
        spikes, v = run(drive, beta, threshold, v, z, edges, reset, fire, messages)
    spikes = narrow(spikes, given)
    return spikes, MembraneState(v, spikes[-1].clone())  # a view would keep the whole sequence alive


class Membrane(nn.Module):
    r"""LIF neurons whose leak and bias are learned per neuron, and which hear their neighbours.

    .. math::

        I'_t &= I_t + b \\
        u_t &= \beta \odot v_{t-1} + (1 - \beta) \odot I'_t + \mathrm{messages}(z_{t-1}) + \xi_t,
        \qquad \beta = \sigma(W_v) \\
        z_t &= H(u_t - \theta), \quad \text{then the reset}

    Parameters
    ----------
    num_neurons : int
        N, at least 1.
    beta, threshold : float
        Initial decay per step of every neuron, in (0, 1), and firing threshold where :meth:`forward` is given none, >
        0.
    reset, spike_grad
        What a spike does to the membrane, ``"zero"``, ``"subtract"`` or ``"none"``, and its surrogate gradient, see
        :func:`pnbx_snn.surrogate.resolve`.
    messages : TorusMessages, optional
        Of N neurons; ``None``: they do not hear each other.
    levels : {2, 3, 4}
        2: spikes are 0 or 1. 3 or 4: they are graded events of 0, 1, 2 or of 0, 1, 2, 4, see
        :func:`pnbx_snn.neurons.graded.graded_events`; there are no messages then.
    quantize : bool
        ``True``: decays are rounded to the 12 fractional bits that an integer program has.

    Attributes
    ----------
    leak, bias : Parameter, ``[N]``
        :math:`W_v`, the logit of the decay, and :math:`b`.

    Notes
    -----
    Shapes: current and spikes ``[T, B, N]``, state ``[B, N]`` twice. 2·N parameters, and 8·N of messages with learned
    edges. As :math:`1-\beta` weighs the input, a neuron's drive does not depend on its time constant.

    Integer counterpart: a LIF op with Q0.12 decays; :math:`1-\beta` and a batch norm before it move into threshold and
    bias of each neuron.

    Raises
    ------
    PnbxValueError, ShapeError, PnbxTypeError
        A number out of range, messages for another number of neurons; see :func:`membrane_scan`.

    References
    ----------
    Learned leaks: Fang et al. 2021, arXiv:2007.05785 (PLIF). Messages and their place: own.

    Examples
    --------
    >>> membrane = Membrane(16, beta=0.5)
    >>> spikes, state = membrane(torch.ones(5, 2, 16) * 4)  # [T, B, N]
    >>> spikes[:, 0, 0].tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """

    def __init__(
        self,
        num_neurons: int,
        *,
        beta: float = 0.5,
        threshold: float = 1.0,
        reset: Reset = "zero",
        spike_grad: str | SpikeFunction | None = "atan",
        messages: TorusMessages | None = None,
        levels: Levels = 2,
        quantize: bool = False,
    ) -> None:
        super().__init__()
        if num_neurons < 1:
            raise PnbxValueError(f"membrane: num_neurons must be at least 1, got {num_neurons}")
        if not 0 < beta < 1:
            raise PnbxValueError(f"membrane: beta must be in (0, 1), got {beta}")
        if not 0 < threshold < math.inf:
            raise PnbxValueError(f"membrane: threshold must be > 0 and finite, got {threshold}")
        check_option("membrane", "reset", reset, Reset)
        if messages is not None and messages.num_neurons != num_neurons:
            raise PnbxValueError(
                f"membrane: messages must be for its {counted(num_neurons, 'neuron')}, got {messages.num_neurons}"
            )
        _check_levels(levels, messages)
        self.num_neurons, self.threshold, self.quantize = num_neurons, float(threshold), quantize
        self.levels: Levels = levels
        self.reset: Reset = reset
        self.spike_grad = resolve(spike_grad)
        self.messages = messages
        self.leak = nn.Parameter(torch.full((num_neurons,), math.log(beta / (1 - beta))))
        self.bias = nn.Parameter(torch.zeros(num_neurons))

    @property
    def beta(self) -> Float[Tensor, " N"]:
        r"""Decay per step, :math:`\sigma(W_v)`, ``[N]``."""
        decay = torch.sigmoid(self.leak)
        return round_decay(decay) if self.quantize else decay

    def drive(self, current: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch N"]:
        r"""Return what a current adds to the membrane: :math:`(1 - \beta) \odot (I + b)`, ``[..., N]``."""
        return (1 - self.beta if self.quantize else torch.sigmoid(-self.leak)) * (current + self.bias)

    def step(
        self,
        current: Float[Tensor, "B N"],
        state: MembraneState | None = None,
        *,
        threshold: Float[Tensor, " N"] | None = None,
        noise: Float[Tensor, "B N"] | None = None,
    ) -> tuple[Float[Tensor, "B N"], MembraneState]:
        """One step, the definition: ``current`` and spikes ``[B, N]``; otherwise as :meth:`forward`."""
        check_input("membrane", "current", current, "[B, N]", self.num_neurons)
        if state is None:
            state = MembraneState(torch.zeros_like(current), torch.zeros_like(current))
        drive = self.drive(current)
        if noise is not None:
            drive = drive + noise
        theta, z, v = self._theta(current, threshold), state.z.to(wide(drive).dtype), wide(state.v)
        if self.levels > 2:
            z, v = graded_step(wide(drive), self.beta, theta, v, self.levels, self.reset, self.spike_grad)
        else:
            z, v = membrane_step(wide(drive), self.beta, theta, v, z, self.reset, self.spike_grad, self.messages)
        z = narrow(z, drive)
        return z, MembraneState(v, z)

    def forward(
        self,
        current: Float[Tensor, "T B N"],
        state: MembraneState | None = None,
        *,
        threshold: Float[Tensor, " N"] | None = None,
        noise: Float[Tensor, "T B N"] | None = None,
    ) -> tuple[Float[Tensor, "T B N"], MembraneState]:
        """All steps of a sequence, by :func:`membrane_scan`: ``current``, ``noise`` and spikes ``[T, B, N]``.

        ``threshold`` ``[N]`` stands in for the membrane's own, for example those of a
        :class:`~pnbx_snn.neurons.glia.Glia`; ``noise`` is added to the membrane. A ``state`` of ``None`` is zeros.
        """
        check_input("membrane", "current", current, "[T, B, N]", self.num_neurons)
        drive = self.drive(current)
        if noise is not None:
            drive = drive + noise
        options: dict[str, Any] = {"reset": self.reset, "spike_grad": self.spike_grad, "messages": self.messages}
        options["levels"] = self.levels
        return membrane_scan(drive, self.beta, self._theta(current, threshold), state, **options)

    def _theta(self, current: Tensor, threshold: Tensor | None) -> Tensor:
        return wide(current).new_tensor(self.threshold) if threshold is None else threshold

    def extra_repr(self) -> str:
        """Show the options in ``print(membrane)``."""
        graded = f", levels={self.levels}" if self.levels > 2 else ""
        return f"{self.num_neurons}, threshold={self.threshold:.4g}, reset={self.reset!r}{graded}"


def _check_levels(levels: int, messages: TorusMessages | None) -> None:
    check_levels("membrane", levels)
    if levels > 2 and messages is not None:
        raise PnbxValueError(f"membrane: messages are of spikes, 0 or 1, and need levels=2, got levels={levels}")
