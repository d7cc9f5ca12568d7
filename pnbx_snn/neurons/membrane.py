"""The membrane of a BitBrain block: LIF neurons with their own leak and bias, messages from neighbours, noise."""

import math
from typing import Any, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pnbx_snn.checks import check_input, narrow, transformed, wide
from pnbx_snn.errors import PnbxError, PnbxValueError, ShapeError
from pnbx_snn.kernels.lif import lif_scan, usable
from pnbx_snn.neurons.cells import Reset
from pnbx_snn.neurons.messages import TorusMessages, edge_gradient, torus_messages, transpose_edges
from pnbx_snn.quantization import round_decay
from pnbx_snn.surrogate import SpikeFunction, resolve


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
    reset, spike_grad, messages
        As of :class:`Membrane`. Learned edges get their gradient, summed over all steps and samples.

    Returns
    -------
    spikes : Tensor, ``[T, B, N]``
        0 or 1.
    state : MembraneState
        State after the last step, with gradients.

    Raises
    ------
    ShapeError
        If a shape does not fit ``drive``, or an axis is empty.
    PnbxTypeError
        If ``drive`` is not floating point.
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
    if reset not in get_args(Reset):
        raise PnbxValueError(f"membrane: reset must be one of {', '.join(get_args(Reset))}, got {reset!r}")
    num_neurons = drive.shape[-1]
    for name, value in (("beta", beta), ("threshold", threshold)):
        if value.ndim and value.shape != (num_neurons,):
            raise ShapeError(f"membrane: {name} must be a scalar or [{num_neurons}], got shape {list(value.shape)}")
    if state is None:
        state = MembraneState(torch.zeros_like(drive[0]), torch.zeros_like(drive[0]))
    given, drive = drive, wide(drive)
    for name, value in zip(MembraneState._fields, state, strict=True):
        if value.shape != drive.shape[1:]:
            raise ShapeError(
                f"membrane: state.{name} must be [B, N] = {list(drive.shape[1:])}, got {list(value.shape)}"
            )
    beta, threshold, v, z = (tensor.to(drive.dtype) for tensor in (beta, threshold, *state))
    edges, fire = None if messages is None else messages.ternary_edges(), resolve(spike_grad)
    together = 1 if messages is None else drive.shape[-1]
    if edges is None and usable(drive, beta, threshold, v, fire, together):
        torus = (0, 0, 0) if messages is None else (messages.rows, messages.columns, messages.kappa_shift)
        heard = None if messages is None else z
        options: dict[str, Any] = {"reset": reset, "spike_grad": fire, "z": heard, "torus": torus}
        spikes, v, _ = lif_scan(drive, beta, threshold, v, step="membrane", **options)
    elif transformed():
        fired = []
        for d in drive.unbind(0):
            z, v = _step(d, beta, threshold, v, z, reset, fire, messages)
            fired.append(z)
        spikes = torch.stack(fired)
    else:
        scan = _MembraneScan.apply(drive, beta, threshold, v, z, edges, reset, fire, messages)  # type: ignore[no-untyped-call]
        spikes, v = scan
    spikes = narrow(spikes, given)
    return spikes, MembraneState(v, spikes[-1].clone())  # a view would keep the whole sequence alive


def _step(
    drive: Tensor,
    beta: Tensor,
    threshold: Tensor,
    v: Tensor,
    z: Tensor,
    reset: Reset,
    fire: SpikeFunction,
    messages: TorusMessages | None,
) -> tuple[Tensor, Tensor]:
    """Return spikes and membrane of one step, ``[B, N]`` each: the definition."""
    u = beta * v + drive
    if messages is not None:
        u = u + messages(z)
    z = fire(u - threshold)
    return z, _reset(reset, u, z, threshold)


class _MembraneScan(torch.autograd.Function):
    """The loop of :func:`membrane_scan`: no graph node per step, one saved tensor."""

    @staticmethod
    def forward(
        ctx: Any,
        drive: Tensor,
        beta: Tensor,
        threshold: Tensor,
        v: Tensor,
        z: Tensor,
        edges: Tensor | None,
        reset: Reset,
        spike_grad: SpikeFunction,
        messages: TorusMessages | None,
    ) -> tuple[Tensor, Tensor]:
        ctx.reset, ctx.spike_grad, ctx.messages = reset, spike_grad, messages
        potentials = torch.empty_like(drive, memory_format=torch.contiguous_format)  # u, [T, B, N]
        spikes = torch.empty_like(potentials)
        ctx.save_for_backward(potentials, beta, threshold, v, z, edges)
        for d, u, out in zip(drive.unbind(0), potentials.unbind(0), spikes.unbind(0), strict=True):
            torch.mul(v, beta, out=u)  # not addcmul, which may round once where step and kernel round twice
            u += d
            if messages is not None:
                u += _heard(messages, z, edges)
            fired = u > threshold
            out.copy_(fired)
            z, v = out, _reset(reset, u, out, threshold)
        return spikes, v

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor, grad_v: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # only under create_graph=True
            raise PnbxError("membrane: gradients of gradients are not offered, got create_graph=True")
        potentials, beta, threshold, v0, z0, edges = ctx.saved_tensors
        messages: TorusMessages | None = ctx.messages
        # The sum over neighbours is its own transpose, with the edges turned around.
        back = None if messages is None or edges is None else transpose_edges(edges, messages.rows, messages.columns)
        slopes = _slopes(ctx.spike_grad, potentials - threshold)  # dz/du, [T, B, N]
        grad_drive = torch.empty_like(potentials)
        grad_beta = torch.zeros_like(potentials[0]) if ctx.needs_input_grad[1] else None
        grad_threshold = torch.zeros_like(potentials[0]) if ctx.needs_input_grad[2] else None
        for t in range(len(potentials) - 1, -1, -1):
            u, slope, grad_z, grad_u = potentials[t], slopes[t], grad_spikes[t], grad_drive[t]
            if messages is not None and t + 1 < len(potentials):
                grad_z = grad_z + _heard(messages, grad_drive[t + 1], back)
            fired = u > threshold
            if ctx.reset == "zero":  # v = u - z u
                grad_z = torch.addcmul(grad_z, grad_v, u, value=-1)
                torch.addcmul(grad_v.masked_fill(fired, 0.0), grad_z, slope, out=grad_u)
            else:
                if ctx.reset == "subtract":  # v = u - z threshold
                    grad_z = torch.addcmul(grad_z, grad_v, threshold.expand_as(u), value=-1)
                torch.addcmul(grad_v, grad_z, slope, out=grad_u)
            if grad_threshold is not None:
                grad_threshold.addcmul_(grad_z, slope, value=-1)
                if ctx.reset == "subtract":
                    grad_threshold.addcmul_(grad_v, fired.to(u.dtype), value=-1)
            if grad_beta is not None:
                before = v0 if t == 0 else _before(ctx.reset, potentials[t - 1], threshold)
                grad_beta.addcmul_(grad_u, before)
            grad_v = grad_u * beta
        grad_z0, grad_edges = None, None
        if messages is not None and ctx.needs_input_grad[4]:
            grad_z0 = _heard(messages, grad_drive[0], back)
        if messages is not None and edges is not None and ctx.needs_input_grad[5]:
            sent = torch.cat((z0.unsqueeze(0), (potentials[:-1] > threshold).to(z0.dtype)))  # z[t-1], [T, B, N]
            torus = (messages.rows, messages.columns, messages.kappa_shift)
            grad_edges = edge_gradient(sent, grad_drive, *torus).to(edges.dtype)
        return (
            grad_drive,
            _summed(grad_beta, beta),
            _summed(grad_threshold, threshold),
            grad_v,
            grad_z0,
            grad_edges,
            None,
            None,
            None,
        )


def _heard(messages: TorusMessages, values: Tensor, edges: Tensor | None) -> Tensor:
    """Messages with edges that are rounded already, or turned around."""
    return torus_messages(values, messages.rows, messages.columns, messages.kappa_shift, edges)


def _reset(reset: Reset, u: Tensor, z: Tensor, threshold: Tensor) -> Tensor:
    return u if reset == "none" else u - z * (u if reset == "zero" else threshold)


def _before(reset: Reset, u: Tensor, threshold: Tensor) -> Tensor:
    """Membrane after the reset of the step whose potential was ``u``."""
    return _reset(reset, u, (u > threshold).to(u.dtype), threshold)


def _slopes(spike_grad: SpikeFunction, distance: Tensor) -> Tensor:
    """Return the derivative of the surrogate at each ``v - threshold``."""
    with torch.enable_grad():
        distance = distance.detach().requires_grad_()
        spikes = spike_grad(distance)
        if not spikes.requires_grad:
            return torch.zeros_like(distance)
        (slopes,) = torch.autograd.grad(spikes, distance, torch.ones_like(spikes))
    return slopes


def _summed(grad: Tensor | None, like: Tensor) -> Tensor | None:
    """Sum the gradient of a scalar or ``[N]`` parameter over what it was broadcast to."""
    return None if grad is None else grad.sum_to_size(like.shape)


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
    beta : float
        Initial decay per step of every neuron, in (0, 1).
    threshold : float
        Firing threshold where :meth:`forward` is given none, > 0.
    reset : {"zero", "subtract", "none"}
        What a spike does to the membrane.
    spike_grad : str, callable or None
        Surrogate gradient, see :func:`pnbx_snn.surrogate.resolve`.
    messages : TorusMessages, optional
        Of N neurons; ``None``: they do not hear each other.
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
    PnbxValueError
        A number out of range, or messages for another number of neurons.
    ShapeError, PnbxTypeError
        See :func:`membrane_scan`.

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
        quantize: bool = False,
    ) -> None:
        super().__init__()
        if num_neurons < 1:
            raise PnbxValueError(f"membrane: num_neurons must be at least 1, got {num_neurons}")
        if not 0 < beta < 1:
            raise PnbxValueError(f"membrane: beta must be in (0, 1), got {beta}")
        if not 0 < threshold < math.inf:
            raise PnbxValueError(f"membrane: threshold must be > 0 and finite, got {threshold}")
        if reset not in get_args(Reset):
            raise PnbxValueError(f"membrane: reset must be one of {', '.join(get_args(Reset))}, got {reset!r}")
        if messages is not None and messages.num_neurons != num_neurons:
            raise PnbxValueError(
                f"membrane: messages must be for its {num_neurons} neurons, got {messages.num_neurons}"
            )
        self.num_neurons = num_neurons
        self.threshold = float(threshold)
        self.reset: Reset = reset
        self.spike_grad = resolve(spike_grad)
        self.messages = messages
        self.quantize = quantize
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
        theta, z = self._theta(current, threshold), state.z.to(wide(drive).dtype)
        z, v = _step(wide(drive), self.beta, theta, wide(state.v), z, self.reset, self.spike_grad, self.messages)
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
        return membrane_scan(
            drive,
            self.beta,
            self._theta(current, threshold),
            state,
            reset=self.reset,
            spike_grad=self.spike_grad,
            messages=self.messages,
        )

    def _theta(self, current: Tensor, threshold: Tensor | None) -> Tensor:
        return wide(current).new_tensor(self.threshold) if threshold is None else threshold

    def extra_repr(self) -> str:
        """Show the options in ``print(membrane)``."""
        return f"{self.num_neurons}, threshold={self.threshold:.4g}, reset={self.reset!r}"
