"""State-space pathways: diagonal linear recurrences between ternary matrices.

:class:`SelectiveSSM`, gated by the events ``e``, and :class:`LTISSM`, with a constant ``lambda`` per state::

    f = sigmoid(A e + a0)    s[t] = f * s[t-1] + (1 - f) * (B e)                   y = C (s[t] * sigmoid(D e))
                             s[t] = lambda * s[t-1] + (1 - |lambda|) * (B e)       y = C Re s[t]
"""

import math
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Inexact
from torch import Tensor, nn

from pnbx_snn.checks import check_input, check_option, check_shape, check_sizes, narrow, wide
from pnbx_snn.errors import PnbxTypeError, PnbxValueError
from pnbx_snn.kernels.gated_scan import gated_scan
from pnbx_snn.kernels.scan import diagonal_scan
from pnbx_snn.layers.bitlinear import BitLinear, apply_all
from pnbx_snn.quantization import DECAY_ONE, WeightScale, round_decay, table_sigmoid

LTIKind = Literal["real", "complex"]


class SSMState(NamedTuple):
    """What a state-space pathway carries to the next step: ``s``, ``[B, S]``, complex in ``LTISSM(kind="complex")``."""

    s: Tensor


class DiagonalSSM(nn.Module):
    """Abstract: what state-space pathways share, from events ``[T, B, H]`` to current ``[T, B, H]``.

    A subclass says in ``_drive`` what decays and feeds the state, and in ``_read`` how the state becomes a current.
    Both take one step or all of them, so :meth:`step` and :meth:`forward` share every equation.
    """

    size_name: ClassVar[str] = "d_ssm"
    readout_name: ClassVar[str] = "C"
    """What a subclass calls the number of its states, and the matrix that makes the current."""

    def __init__(self, d_hidden: int, d_ssm: int, *, quantize: bool = False) -> None:
        super().__init__()
        check_sizes(type(self).__name__, **{"d_hidden": d_hidden, self.size_name: d_ssm})
        self.d_hidden, self.d_ssm, self.quantize = d_hidden, d_ssm, quantize

    def step(
        self, events: Float[Tensor, "B H"], state: SSMState | None = None
    ) -> tuple[Float[Tensor, "B H"], SSMState]:
        """One step, the definition: ``events`` and current ``[B, H]``; otherwise as :meth:`forward`."""
        check_input(type(self).__name__, "events", events, "[B, H]", self.d_hidden)
        decay, inputs, gate = self._drive(events)  # [S] or [B, S], [B, S], [B, S]
        s = decay * self._initial(decay, inputs, state) + inputs
        return self._read(narrow(s, inputs), gate), SSMState(s)

    def forward(
        self, events: Float[Tensor, "T B H"], state: SSMState | None = None
    ) -> tuple[Float[Tensor, "T B H"], SSMState]:
        """All steps of a sequence: the dense products for all steps at once, then :func:`diagonal_scan`.

        Events (spikes, 0 or 1) and current (added to that of the membrane in the same step) are ``[T, B, H]``; a
        ``state`` of ``None`` is zero, the one returned is after the last step.

        Raises
        ------
        ShapeError
            Wrong number of axes, an empty axis, or another size than ``d_hidden`` or ``d_ssm``.
        PnbxTypeError
            ``events`` is not floating point, or the state is complex where it must be real.
        """
        check_input(type(self).__name__, "events", events, "[T, B, H]", self.d_hidden)
        states, like, gate = self._states(events, state)  # [T, B, S]
        # The last state is copied: a view would keep the states of the whole sequence alive.
        return self._read(narrow(states, like), gate), SSMState(states[-1].clone())

    def _states(self, events: Tensor, state: SSMState | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the states ``[T, B, S]``, a tensor of the dtype that is read, and the output gate (or none)."""
        decay, inputs, gate = self._drive(events)  # [S] or [T, B, S], [T, B, S], [T, B, S]
        return diagonal_scan(decay, inputs, self._initial(decay, inputs[0], state)), inputs, gate

    @property
    def readout(self) -> BitLinear:
        """The matrix that makes the current."""
        matrix: BitLinear = getattr(self, self.readout_name)
        return matrix

    def _gate(self, x: Tensor, offset: Tensor | float = 0.0) -> Tensor:
        """Sigmoid of ``x + offset``, from the program's table with ``quantize``."""
        return table_sigmoid(x, offset) if self.quantize else torch.sigmoid(x + offset)

    def _drive(self, events: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return decay (may be ``[S]``), input and output gate (or none) of the state, ``[..., S]``."""
        raise NotImplementedError

    def _read(self, states: Tensor, gate: Tensor | None) -> Tensor:
        """Return the current ``[..., H]`` that the states ``[..., S]`` cause through the output gate."""
        raise NotImplementedError

    def _time_constants(self, tau_min: float, tau_max: float) -> Tensor:
        """Return log-spaced time constants ``[S]`` in float64; a single one is ``tau_min``."""
        if not 0 < tau_min <= tau_max < math.inf:
            raise PnbxValueError(
                f"{type(self).__name__}: time constants must be 0 < tau_min <= tau_max < inf, "
                f"got {tau_min} and {tau_max}"
            )
        return torch.exp(torch.linspace(math.log(tau_min), math.log(tau_max), self.d_ssm, dtype=torch.float64))

    def _decay_bias(self, tau_min: float, tau_max: float) -> Tensor:
        """Return the bias ``[S]`` whose sigmoid is a decay by ``exp(-1/tau)``, tau log-spaced."""
        # The logit of exp(-1/tau) is -log(exp(1/tau) - 1); double keeps slow time constants through expm1.
        return -torch.log(torch.expm1(1 / self._time_constants(tau_min, tau_max))).to(torch.get_default_dtype())

    def _initial(self, decay: Tensor, inputs: Tensor, state: SSMState | None) -> Tensor:
        dtype = torch.promote_types(decay.dtype, inputs.dtype)
        if state is None:
            return wide(torch.zeros_like(inputs, dtype=dtype))
        check_shape(type(self).__name__, "state.s", "[B, S]", state.s, inputs.shape)
        if state.s.is_complex() and not dtype.is_complex:
            raise PnbxTypeError(f"{type(self).__name__}: state.s must be real, got {state.s.dtype}")
        return wide(state.s)

    def extra_repr(self) -> str:
        """Show the sizes in ``print(ssm)``."""
        return f"d_hidden={self.d_hidden}, {self.size_name}={self.d_ssm}"


class SelectiveSSM(DiagonalSSM):
    r"""State-space pathway whose forgetting is gated by the events (selective).

    .. math::

        f = \sigma(A e + a_0), \qquad s_t = f \odot s_{t-1} + (1 - f) \odot (B e), \qquad y = C (s_t \odot \sigma(D e))

    The gate sees only the events, not the state, so all dense products are known for all steps at once.

    Parameters
    ----------
    d_hidden, d_ssm : int
        H events and S states, at least 1. The layer has 4·H·S parameters.
    scale : {"absmean", "median"}
        Weight scale of the four matrices, see :class:`pnbx_snn.BitLinear`.
    tau_min, tau_max : float
        Time constants in steps, ``0 < tau_min <= tau_max``: without events state ``i`` decays by
        :math:`\sigma(a_{0,i}) = e^{-1/\tau_i}` per step, :math:`\tau_i` log-spaced.
    quantize : bool
        ``True``: gates are those of the integer program, see :func:`pnbx_snn.quantization.table_sigmoid`.

    Attributes
    ----------
    A, B, D, C : BitLinear
        Forgetting, input and output gate ``[S, H]``, readout ``[H, S]``.
    a0 : Tensor
        Fixed buffer ``[S]``, saved in the ``state_dict``.

    Raises
    ------
    PnbxValueError
        A size below 1, time constants out of range, an unknown ``scale``.

    Notes
    -----
    Shapes: events and current ``[T, B, H]``, state ``[B, S]``. The state is a moving average:
    :math:`|s| \le \max |B e|`. In float32 a gate above 1 - 3e-8 rounds to 1: the state holds and takes no input.

    Integer counterpart: :math:`f` and :math:`\sigma(D e)` from one table (Q0.12), a 24-bit state, products through
    int64. In Q0.12 the slowest gate below 1 is 4095/4096, about 4096 steps.

    References
    ----------
    Gu and Dao 2023, arXiv:2312.00752 (selective state spaces); Martin and Cundy 2018, arXiv:1709.04057 (GILR). The
    fixed log-spaced :math:`a_0` and the output gate on the state: own.

    Examples
    --------
    >>> ssm = SelectiveSSM(8, 4)
    >>> events = (torch.rand(20, 3, 8) < 0.2).float()  # [T, B, H]
    >>> current, state = ssm(events)
    >>> current.shape, state.s.shape
    (torch.Size([20, 3, 8]), torch.Size([3, 4]))
    >>> current, state = ssm.step(events[0], state)  # streaming
    """

    a0: Tensor

    def __init__(
        self,
        d_hidden: int,
        d_ssm: int,
        *,
        scale: WeightScale = "absmean",
        tau_min: float = 2.0,
        tau_max: float = 1000.0,
        quantize: bool = False,
    ) -> None:
        super().__init__(d_hidden, d_ssm, quantize=quantize)
        self.register_buffer("a0", self._decay_bias(tau_min, tau_max))
        self.A, self.B, self.D = (BitLinear(d_hidden, d_ssm, scale=scale) for _ in range(3))
        # C reads real states, not spikes: input_range="spikes" only means that they pass unquantised, because their
        # fixed-point rounding belongs to the compiled program.
        self.C = BitLinear(d_ssm, d_hidden, scale=scale, input_range="spikes")

    def _drive(self, events: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        forget, inputs, gate = apply_all([self.A, self.B, self.D], events)  # [..., S] each
        forget = self._gate(forget, self.a0)
        # 1 - forget is exact above one half, so the rounded weights still add up to 1 and the state stays bounded.
        return forget, (1 - forget) * inputs, self._gate(gate)

    def _states(self, events: Tensor, state: SSMState | None) -> tuple[Tensor, Tensor, Tensor | None]:
        if self.quantize:
            return super()._states(events, state)
        forget, inputs, gate = apply_all([self.A, self.B, self.D], events)
        forget = forget + self.a0
        return gated_scan(forget, inputs, self._initial(forget, inputs[0], state)), forget, self._gate(gate)

    def _read(self, states: Tensor, gate: Tensor | None) -> Tensor:
        assert gate is not None
        current: Tensor = self.C(states * gate)  # [..., H]
        return current


class LTISSM(DiagonalSSM):
    r"""Linear time-invariant state-space pathway: a learned bank of leaky or oscillating integrators.

    .. math::

        s_t = \lambda \odot s_{t-1} + (1 - |\lambda|) \odot (B e), \qquad y = C \operatorname{Re} s_t

    with :math:`\lambda = e^{-\rho}` for ``kind="real"`` and :math:`\lambda = e^{-\rho + i\omega}` for
    ``kind="complex"``, :math:`\rho = e^{\text{log\_rate}} > 0`: :math:`|\lambda| < 1` for any ``log_rate``.

    Parameters
    ----------
    d_hidden, d_ssm : int
        H events and S states, at least 1. The layer has 2·H·S + S parameters (2·H·S + 2·S if complex).
    kind : {"real", "complex"}
        ``"real"`` is a bank of leaky integrators (``LI`` of NIR, stock Lava); a ``"complex"`` state turns by
        :math:`\omega` per step and prefers inputs of that frequency. Only its real part is read out.
    scale, quantize
        As of :class:`SelectiveSSM`; ``quantize`` rounds :math:`\lambda` to 12 fractional bits.
    tau_min, tau_max : float
        Initial time constants :math:`1/\rho` in steps, log-spaced, ``0 < tau_min <= tau_max``. Frequencies start at
        :math:`\omega = \min(2\pi/\tau, \pi)`: one turn per time constant, at most the Nyquist frequency.

    Attributes
    ----------
    B, C : BitLinear
        ``[S, H]`` and ``[H, S]``.
    log_rate, omega : Parameter, ``[S]``
        ``omega`` in radians per step; ``None`` if real.

    Raises
    ------
    PnbxValueError
        A size below 1, time constants out of range, an unknown ``kind`` or ``scale``.

    Notes
    -----
    Shapes: events and current ``[T, B, H]``, state ``[B, S]`` (complex if ``kind="complex"``). The gain is at most 1,
    so :math:`|s| \le \max |B e|`. In float32 :math:`|\lambda|` rounds to 1 above a time constant of about 3e7 steps,
    and the state takes no input.

    Integer counterpart: real, an ``LI`` with a Q0.12 decay and a 24-bit state; complex, two states and four products.

    References
    ----------
    Gu et al. 2022, arXiv:2206.11893 (S4D); Orvieto et al. 2023, arXiv:2303.06349 (LRU, the exponential
    parametrisation). The input weight :math:`1-|\lambda|` and the initial frequencies: own.

    Examples
    --------
    >>> ssm = LTISSM(8, 4, kind="complex")
    >>> current, state = ssm(torch.ones(20, 3, 8))
    >>> current.shape, state.s.dtype
    (torch.Size([20, 3, 8]), torch.complex64)
    """

    def __init__(
        self,
        d_hidden: int,
        d_ssm: int,
        *,
        kind: LTIKind = "real",
        scale: WeightScale = "absmean",
        tau_min: float = 2.0,
        tau_max: float = 1000.0,
        quantize: bool = False,
    ) -> None:
        super().__init__(d_hidden, d_ssm, quantize=quantize)
        check_option("LTISSM", "kind", kind, LTIKind)
        tau = self._time_constants(tau_min, tau_max)
        self.kind: LTIKind = kind
        self.B = BitLinear(d_hidden, d_ssm, scale=scale)
        # As in SelectiveSSM: the states are real numbers and pass unquantised.
        self.C = BitLinear(d_ssm, d_hidden, scale=scale, input_range="spikes")
        self.log_rate = nn.Parameter(-torch.log(tau).to(torch.get_default_dtype()))
        omega = (2 * math.pi / tau).clamp(max=math.pi).to(torch.get_default_dtype())
        self.omega = nn.Parameter(omega) if kind == "complex" else None

    def eigenvalue(self) -> Inexact[Tensor, "S"]:
        r"""Return :math:`\lambda`, ``[S]``: real in (0, 1), or complex with a magnitude in (0, 1)."""
        magnitude = torch.exp(-torch.exp(self.log_rate))
        if self.omega is None:
            return round_decay(magnitude).clamp(max=1 - 1 / DECAY_ONE) if self.quantize else magnitude
        eigenvalue = torch.polar(magnitude, self.omega)
        if not self.quantize:
            return eigenvalue
        return torch.complex(round_decay(eigenvalue.real), round_decay(eigenvalue.imag))

    def _drive(self, events: Tensor) -> tuple[Tensor, Tensor, None]:
        eigenvalue = self.eigenvalue()
        rounded = self.quantize and self.omega is None  # the gain of a state stays 1
        magnitude = eigenvalue if rounded else torch.exp(-torch.exp(self.log_rate))
        return eigenvalue, (1 - magnitude) * self.B(events), None

    def _read(self, states: Tensor, gate: Tensor | None) -> Tensor:
        current: Tensor = self.C(states.real)  # [..., H]
        return current

    def extra_repr(self) -> str:
        """Show the options in ``print(ssm)``."""
        return f"{super().extra_repr()}, kind={self.kind!r}"
