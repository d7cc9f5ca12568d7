"""Micro-RNN pathways: a small recurrence between ternary matrices, gated and linear, or spiking with feedback."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from pnbx_snn.checks import check_input, check_shape, check_sizes, wide
from pnbx_snn.errors import PnbxTypeError
from pnbx_snn.kernels.gated_scan import gated_scan
from pnbx_snn.layers.bitlinear import BitLinear, apply_all
from pnbx_snn.layers.ssm import DiagonalSSM, SSMState
from pnbx_snn.neurons.cells import Reset
from pnbx_snn.neurons.lif import LIF, LIFState
from pnbx_snn.quantization import WeightScale
from pnbx_snn.surrogate import SpikeFunction, resolve

THRESHOLD_OUT = 1.0
"""Threshold that stands in for the driven neurons where a :class:`SpikingRNN` stands alone."""


class MinGRU(DiagonalSSM):
    r"""Minimal gated recurrent unit: the events decide how much of the state they replace.

    .. math::

        g = \sigma(U e + c_0), \qquad u_t = (1 - g) \odot u_{t-1} + g \odot (W e), \qquad I = V u_t

    The gate and the candidate see only the events, so the state runs through
    :func:`pnbx_snn.kernels.gated_scan.gated_scan`.

    Parameters
    ----------
    d_hidden, d_rnn : int
        H events and R states, at least 1. The layer has 3·H·R parameters.
    scale, quantize
        As of :class:`~pnbx_snn.layers.ssm.SelectiveSSM`.
    tau_min, tau_max : float
        Time constants in steps, ``0 < tau_min <= tau_max``: without events state ``i`` decays by
        :math:`1 - \sigma(c_{0,i}) = e^{-1/\tau_i}` per step, :math:`\tau_i` log-spaced.

    Attributes
    ----------
    U, W, V : BitLinear
        Gate and candidate ``[R, H]``, readout ``[H, R]``.
    c0 : Tensor
        Fixed buffer ``[R]``, saved in the ``state_dict``.

    Raises
    ------
    PnbxValueError
        A size below 1, time constants out of range, an unknown ``scale``.

    Notes
    -----
    Shapes: events and current ``[T, B, H]`` (:meth:`step`: ``[B, H]``), state :class:`pnbx_snn.layers.ssm.SSMState`
    with ``s`` ``[B, R]``, which is :math:`u`. The state is a moving average: :math:`|u| \le \max |W e|`. In float32 a
    gate below 3e-8 rounds to 0: the state holds and takes no input.

    Integer counterpart: as of :class:`~pnbx_snn.layers.ssm.SelectiveSSM`, with :math:`1 - g` from the table.

    References
    ----------
    Feng et al. 2024, "Were RNNs All We Needed?", arXiv:2410.01201, section 3.1. The fixed :math:`c_0`: own.

    Examples
    --------
    >>> rnn = MinGRU(8, 4)
    >>> events = (torch.rand(20, 3, 8) < 0.2).float()  # [T, B, H]
    >>> current, state = rnn(events)
    >>> current.shape, state.s.shape
    (torch.Size([20, 3, 8]), torch.Size([3, 4]))
    >>> current, state = rnn.step(events[0], state)  # streaming
    """

    size_name: ClassVar[str] = "d_rnn"
    readout_name: ClassVar[str] = "V"
    c0: Tensor

    def __init__(
        self,
        d_hidden: int,
        d_rnn: int,
        *,
        scale: WeightScale = "absmean",
        tau_min: float = 2.0,
        tau_max: float = 1000.0,
        quantize: bool = False,
    ) -> None:
        super().__init__(d_hidden, d_rnn, quantize=quantize)
        self.d_rnn = d_rnn
        self.register_buffer("c0", -self._decay_bias(tau_min, tau_max))  # 1 - g decays, and sigma(-c0) = 1 - sigma(c0)
        self.U, self.W = BitLinear(d_hidden, d_rnn, scale=scale), BitLinear(d_hidden, d_rnn, scale=scale)
        # V reads real states, not spikes: input_range="spikes" only means that they pass unquantised, because their
        # fixed-point rounding belongs to the compiled program.
        self.V = BitLinear(d_rnn, d_hidden, scale=scale, input_range="spikes")

    def _drive(self, events: Tensor) -> tuple[Tensor, Tensor, None]:
        gate, candidate = apply_all([self.U, self.W], events)  # [..., R] each
        keep = self._gate(-gate, -self.c0)  # 1 - g
        # 1 - keep is exact where keep is above one half, so the two weights add up to 1 and the state stays bounded.
        return keep, (1 - keep) * candidate, None

    def _states(self, events: Tensor, state: SSMState | None) -> tuple[Tensor, Tensor, None]:
        if self.quantize:
            states, candidate, _ = super()._states(events, state)
            return states, candidate, None
        gate, candidate = apply_all([self.U, self.W], events)
        keep = -self.c0 - gate
        return gated_scan(keep, candidate, self._initial(keep, candidate[0], state)), keep, None

    def _read(self, states: Tensor, gate: Tensor | None) -> Tensor:
        current: Tensor = self.V(states)  # [..., H]
        return current


class SpikingRNNState(NamedTuple):
    """What a :class:`SpikingRNN` carries from one step to the next.

    ``v`` ``[B, R]`` is the membrane potential of the interneurons after the reset, ``z`` ``[B, H]`` the spikes of the
    driven neurons in the last step, fed back in the next.
    """

    v: Tensor
    z: Tensor


class SpikingRNN(nn.Module):
    r"""Spiking interneurons in a loop with the neurons that they drive: true state tracking, sequential.

    .. math::

        r_t = \operatorname{LIF}(W e_t + U z_{t-1}), \qquad I_t = V r_t

    where :math:`z_{t-1}` are the spikes that the H driven neurons fired one step ago. Those neurons are not part of the
    layer. Standing alone, it lets a threshold without memory stand in for them,
    :math:`z_t = [I_t > 1]` (:data:`THRESHOLD_OUT`, with surrogate gradient); whoever has the real neurons puts their
    spikes in its place, by ``driven`` or with ``state._replace(z=spikes)`` after each step, see the second example.

    Parameters
    ----------
    d_hidden, d_rnn : int
        H events and currents, R interneurons, at least 1. The layer has 3·H·R parameters.
    beta, threshold, reset
        Of the interneurons, see :class:`pnbx_snn.LIF`.
    spike_grad : str, callable or None
        Surrogate gradient of both thresholds, see :func:`pnbx_snn.surrogate.resolve`.
    scale : {"absmean", "median"}
        Weight scale of the three matrices, see :class:`pnbx_snn.BitLinear`.

    Attributes
    ----------
    W, U, V : BitLinear
        ``[R, H]`` for events and for feedback, ``[H, R]`` for the readout.
    lif : LIF
        The interneurons.

    Raises
    ------
    PnbxValueError
        A size below 1, ``beta`` or ``threshold`` out of range, an unknown option.
    ShapeError, PnbxTypeError
        Events that are not floating point ``[T, B, H]``, an empty axis, a state of another batch, size or kind.

    Notes
    -----
    Shapes: events and current ``[T, B, H]`` (:meth:`step`: ``[B, H]``); state ``v`` ``[B, R]``, ``z`` ``[B, H]``.

    Gradient: straight-through for the matrices, surrogate through :math:`r` and :math:`z`, over all steps.

    Cost: a loop over time. :meth:`forward` rounds U and V once; :meth:`step` does it each time, and training through
    it stores those copies. Measured at T, B, H, R = 100, 8, 2048, 128 on one CPU core: 0.06 s against 0.21 s forward.

    Integer counterpart: ternary products and the LIF op of a compiled program; the scales of W and U move into the
    interneurons' thresholds, and U reads spikes one step late, which needs no more than the delay of a connection.

    References
    ----------
    Bellec et al. 2018, arXiv:1803.09574 (recurrent spiking networks trained through time). The loop through the driven
    neurons: own.

    Examples
    --------
    >>> rnn = SpikingRNN(8, 4)
    >>> events = (torch.rand(20, 3, 8) < 0.2).float()  # [T, B, H]
    >>> current, state = rnn(events)
    >>> current.shape, state.v.shape, state.z.shape
    (torch.Size([20, 3, 8]), torch.Size([3, 4]), torch.Size([3, 8]))

    With real neurons in the loop:

    >>> lif, membrane, state = LIF(beta=0.9), None, None
    >>> for e in events.unbind(0):
    ...     current, state = rnn.step(e, state)
    ...     spikes, membrane = lif.step(current, membrane)
    ...     state = state._replace(z=spikes)  # fed back in the next step
    """

    def __init__(
        self,
        d_hidden: int,
        d_rnn: int,
        *,
        beta: float = 0.9,
        threshold: float = 1.0,
        reset: Reset = "zero",
        spike_grad: str | SpikeFunction | None = "atan",
        scale: WeightScale = "absmean",
    ) -> None:
        super().__init__()
        check_sizes(type(self).__name__, d_hidden=d_hidden, d_rnn=d_rnn)
        self.d_hidden, self.d_rnn = d_hidden, d_rnn
        self.spike_grad = resolve(spike_grad)
        self.W, self.U = BitLinear(d_hidden, d_rnn, scale=scale), BitLinear(d_hidden, d_rnn, scale=scale)
        self.V = BitLinear(d_rnn, d_hidden, scale=scale)
        self.lif = LIF(beta, threshold=threshold, reset=reset, spike_grad=self.spike_grad)

    @property
    def readout(self) -> BitLinear:
        """The matrix that makes the current, :attr:`V`."""
        return self.V

    def step(
        self, events: Float[Tensor, "B H"], state: SpikingRNNState | None = None
    ) -> tuple[Float[Tensor, "B H"], SpikingRNNState]:
        """One step, the definition: ``events`` and current ``[B, H]``; otherwise as :meth:`forward`."""
        check_input(type(self).__name__, "events", events, "[B, H]", self.d_hidden)
        return self._advance(self.W(events), self._initial(events, state), _rounded(self.U), _rounded(self.V))

    def forward(
        self,
        events: Float[Tensor, "T B H"],
        state: SpikingRNNState | None = None,
        *,
        driven: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Float[Tensor, "T B H"], SpikingRNNState]:
        """All steps of a sequence: :math:`W e` for all steps at once, then :meth:`step` in a loop.

        Events and current are ``[T, B, H]``; a ``state`` of ``None`` is zero. ``driven`` are the real neurons in the
        loop: called once a step, in order, with the current ``[B, H]``, it returns the spikes that are fed back next.
        """
        check_input(type(self).__name__, "events", events, "[T, B, H]", self.d_hidden)
        state, currents = self._initial(events[0], state), []
        # Rounded once, not in each step: that alone would take most of the time, and the graph would keep every copy.
        U, V = _rounded(self.U), _rounded(self.V)
        for drive in self.W(events).unbind(0):  # [B, R]
            current, state = self._advance(drive, state, U, V)
            if driven is not None:
                state = state._replace(z=driven(current))
            currents.append(current)
        return torch.stack(currents), state

    def extra_repr(self) -> str:
        """Show the sizes in ``print(rnn)``."""
        return f"d_hidden={self.d_hidden}, d_rnn={self.d_rnn}"

    def _advance(
        self, drive: Tensor, state: SpikingRNNState, U: "_Rounded", V: "_Rounded"
    ) -> tuple[Tensor, SpikingRNNState]:
        """One step of interneurons that the events drive by ``drive = W e``, ``[B, R]``."""
        spikes, lif_state = self.lif.step(drive + U.product(state.z.to(drive.dtype)), LIFState(state.v))  # [B, R]
        current = V.product(spikes)  # [B, H]
        return current, SpikingRNNState(lif_state.v, self.spike_grad(current - THRESHOLD_OUT))

    def _initial(self, events: Tensor, state: SpikingRNNState | None) -> SpikingRNNState:
        v_shape, z_shape = [len(events), self.d_rnn], [len(events), self.d_hidden]
        if state is None:
            return SpikingRNNState(wide(events).new_zeros(v_shape), events.new_zeros(z_shape))
        where = type(self).__name__
        for name, axes, tensor, shape in (("v", "[B, R]", state.v, v_shape), ("z", "[B, H]", state.z, z_shape)):
            check_shape(where, f"state.{name}", axes, tensor, shape)
            if not tensor.is_floating_point():
                raise PnbxTypeError(
                    f"{where}: state.{name} must be {axes} in floating point, got {tensor.dtype}; convert with .float()"
                )
        return state


class _Rounded(NamedTuple):
    """The weights of a BitLinear, rounded once for many steps."""

    ternary: Tensor
    gamma: Tensor

    def product(self, x: Tensor) -> Tensor:
        """Return the same bits as the BitLinear."""
        return self.gamma * linear(x, self.ternary).to(x.dtype)


def _rounded(layer: BitLinear) -> _Rounded:
    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm | SpectralNorm):  # torch's old forms make the weight when the layer is called
            hook(layer, ())
    return _Rounded(*layer.rounded())
