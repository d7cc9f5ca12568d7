"""``ShiftLIF``: neurons on whole numbers that leak by a bit shift and fire several spikes in one step, as Xylo's do."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pnbx_snn.checks import check_shape, has_values, wide
from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.quantization import GRID, straight_through
from pnbx_snn.surrogate import SpikeFunction, resolve
from pnbx_snn.wording import counted

LOWEST, HIGHEST = -(1 << 15), (1 << 15) - 1
"""Ends of the 16 bits of its states."""
MOST_SPIKES, MOST_SHIFT = 31, 15


class ShiftLIFState(NamedTuple):
    """What a layer carries to the next step: synaptic current ``i`` and membrane ``v`` after it, each ``[B, N]``."""

    i: Tensor
    v: Tensor


class ShiftLIFCell(nn.Module):
    r"""One step of neurons on whole numbers, whose current and membrane have 16 bits and saturate.

    In this order, where ``leak(x, k)`` is ``x - floor(x / 2**k)``, and at most ``x - 1`` where ``x > 0``::

        i[t] = leak(clip(i[t-1] + round(I[t])), synapse_shift)
        u[t] = clip(leak(v[t-1], membrane_shift) + i[t] + bias)
        n[t] = clip(floor(u[t] / threshold), 0, most_spikes)      # several spikes in one step
        v[t] = u[t] - n[t] * threshold

    All values are whole numbers, held in floating point. Gradients pass through every rounding as if it were none, stop
    where a state saturates, and pass through a spike as the surrogate ``S`` says: ``dn/du = S'((u + 1/2) / threshold -
    k) / threshold``, of the multiple ``k`` of the threshold that is nearest to ``u``, from 1 to ``most_spikes``.

    Parameters
    ----------
    synapse_shift, membrane_shift : int or Tensor ``[N]``
        0 to 15; ``2**-shift`` of a state leaks in a step, so ``2**shift`` steps are the time constant. A current with
        shift 0 leaks before it reaches the membrane: nothing arrives.
    threshold : int or Tensor ``[N]``
        Whole numbers in 1..32767. A membrane at the threshold spikes, unlike that of a :class:`LIF`.
    bias : int or Tensor ``[N]``
        Whole numbers of 16 bits, added to the membrane in every step.
    most_spikes : int
        1 to 31: spikes of a neuron in one step. Xylo's output neurons have 1.
    spike_grad : str, callable or None
        Surrogate gradient, see :func:`pnbx_snn.surrogate.resolve`; ``None``: atan.
    learn_threshold, learn_bias : bool
        Learn them through latent parameters, rounded where they are used: ``threshold_factor`` (1.0 at first) times the
        threshold given, and ``bias_latent``, of which 1.0 is 127.

    Raises
    ------
    PnbxValueError, ShapeError
        A parameter outside its range or not whole; neither a scalar nor a vector, or of different lengths.

    Notes
    -----
    Exact as long as every sum of the layer before has a magnitude below ``2**24``, in float32. Half precision is taken
    to float32. Integer counterpart: the ``ShiftLIF`` op of a compiled program, with equal spikes.

    References
    ----------
    SynSense's Xylo: ``xylosim.v2`` 0.1.3, which saturates after every single synapse (see ``XyloLIF`` of programs).
    Gradients: Bengio et al. 2013, arXiv:1308.3432; the surrogate of the nearest threshold: own.

    Examples
    --------
    >>> cell = ShiftLIFCell(1, 2, threshold=10)
    >>> spikes, state = cell(torch.full((1, 1), 80.0))
    >>> spikes.item(), state.i.item(), state.v.item()
    (4.0, 40.0, 0.0)
    """

    synapse_shift: Tensor
    membrane_shift: Tensor
    first_threshold: Tensor
    threshold_factor: Tensor
    bias_latent: Tensor

    def __init__(
        self,
        synapse_shift: int | Tensor,
        membrane_shift: int | Tensor,
        *,
        threshold: int | Tensor,
        bias: int | Tensor = 0,
        most_spikes: int = MOST_SPIKES,
        spike_grad: str | SpikeFunction | None = None,
        learn_threshold: bool = False,
        learn_bias: bool = False,
    ) -> None:
        super().__init__()
        given = {
            "synapse_shift": _whole("synapse_shift", synapse_shift, 0, MOST_SHIFT),
            "membrane_shift": _whole("membrane_shift", membrane_shift, 0, MOST_SHIFT),
            "threshold": _whole("threshold", threshold, 1, HIGHEST),
            "bias": _whole("bias", bias, LOWEST, HIGHEST),
        }
        lengths = {name: len(value) for name, value in given.items() if value.ndim}
        if len(set(lengths.values())) > 1:
            raise ShapeError(f"shift_lif: parameters must be for one number of neurons, got {lengths}")
        if not 1 <= most_spikes <= MOST_SPIKES:
            raise PnbxValueError(f"shift_lif: most_spikes must be in 1..{MOST_SPIKES}, got {most_spikes}")
        self.most_spikes = most_spikes
        self.spike_grad = resolve("atan" if spike_grad is None else spike_grad)
        self.register_buffer("synapse_shift", given["synapse_shift"])
        self.register_buffer("membrane_shift", given["membrane_shift"])
        self.register_buffer("first_threshold", given["threshold"])
        factor, latent = torch.ones_like(given["threshold"]), given["bias"] / GRID
        for name, value, learned in (
            ("threshold_factor", factor, learn_threshold),
            ("bias_latent", latent, learn_bias),
        ):
            if learned:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    @property
    def threshold(self) -> Tensor:
        """The threshold in use, whole: scalar or ``[N]``."""
        scaled = (self.first_threshold * self.threshold_factor).clamp(1, HIGHEST)
        return straight_through(scaled.detach().round(), scaled)

    @property
    def bias(self) -> Tensor:
        """The bias in use, whole: scalar or ``[N]``."""
        scaled = (GRID * self.bias_latent).clamp(LOWEST, HIGHEST)
        return straight_through(scaled.detach().round(), scaled)

    @property
    def num_neurons(self) -> int | None:
        """For how many neurons its parameters are; ``None``: one value of each serves any number."""
        parameters = (self.synapse_shift, self.membrane_shift, self.first_threshold, self.bias_latent)
        return next((len(value) for value in parameters if value.ndim), None)

    def forward(
        self, current: Float[Tensor, "B N"], state: ShiftLIFState | None = None
    ) -> tuple[Float[Tensor, "B N"], ShiftLIFState]:
        """Make one step: ``current`` and spikes ``[B, N]``; ``state`` ``None`` is zero.

        Raises
        ------
        ShapeError
            Wrong number of axes, an empty axis, another number of neurons than the parameters or the state.
        PnbxTypeError
            ``current`` is not floating point.
        """
        check_current(self, current, "[B, N]")
        spikes, i, v = self.step(wide(current), *self.first(current, state), self.threshold, self.bias)
        return spikes.to(current.dtype), ShiftLIFState(i, v)

    def first(self, current: Tensor, state: ShiftLIFState | None) -> tuple[Tensor, Tensor]:
        """Return the state before a step whose current is ``[B, N]``."""
        if state is None:
            zero = torch.zeros_like(wide(current))
            return zero, zero
        for name, value in state._asdict().items():
            check_shape("shift_lif", f"state.{name}", "[B, N]", value, current.shape)
        return wide(state.i), wide(state.v)

    def step(
        self, current: Tensor, i: Tensor, v: Tensor, threshold: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return spikes, current and membrane after a step, each ``[B, N]``; nothing is checked."""
        arriving = straight_through(current.detach().round(), current)
        i = _leaked((i + arriving).clamp(LOWEST, HIGHEST), self.synapse_shift)
        u = (_leaked(v, self.membrane_shift) + i + bias).clamp(LOWEST, HIGHEST)
        nearest = (u.detach() / threshold.detach() + 0.5).floor().clamp(1, self.most_spikes)
        spikes = nearest - 1 + self.spike_grad((u + 0.5) / threshold - nearest)
        return spikes, i, u - spikes * threshold

    def extra_repr(self) -> str:
        """Say what ``print(cell)`` shows."""
        names = ("synapse_shift", "membrane_shift", "threshold", "bias")
        values = ((name, getattr(self, name).detach()) for name in names)
        shown = (f"{name}={'per neuron' if value.ndim else int(value)}" for name, value in values)
        return f"{', '.join(shown)}, most_spikes={self.most_spikes}"


class ShiftLIF(nn.Module):
    """A layer of :class:`ShiftLIFCell` over time.

    It takes what that takes; ``cell`` is it.

    Examples
    --------
    >>> lif = ShiftLIF(1, 2, threshold=10)
    >>> spikes, state = lif(torch.tensor([80.0, 0.0, 0.0]).reshape(3, 1, 1))  # [T, B, N]
    >>> spikes.flatten().tolist()
    [4.0, 2.0, 1.0]
    """

    def __init__(
        self,
        synapse_shift: int | Tensor,
        membrane_shift: int | Tensor,
        *,
        threshold: int | Tensor,
        bias: int | Tensor = 0,
        most_spikes: int = MOST_SPIKES,
        spike_grad: str | SpikeFunction | None = None,
        learn_threshold: bool = False,
        learn_bias: bool = False,
    ) -> None:
        super().__init__()
        self.cell = ShiftLIFCell(
            synapse_shift, membrane_shift, threshold=threshold, bias=bias, most_spikes=most_spikes,
            spike_grad=spike_grad, learn_threshold=learn_threshold, learn_bias=learn_bias,
        )  # fmt: skip

    def forward(
        self, current: Float[Tensor, "T B N"], state: ShiftLIFState | None = None
    ) -> tuple[Float[Tensor, "T B N"], ShiftLIFState]:
        """Make all steps of a sequence, from ``state`` (``None`` is zero); the state returned is that after the last.

        Raises
        ------
        ShapeError, PnbxTypeError
            As for the cell.
        """
        spikes, i, v = self._run(current, state)
        return torch.stack(spikes).to(current.dtype), ShiftLIFState(i[-1], v[-1])

    def trace(
        self, current: Float[Tensor, "T B N"], state: ShiftLIFState | None = None
    ) -> tuple[Float[Tensor, "T B N"], ShiftLIFState]:
        """Return spikes, and current and membrane of every step, each ``[T, B, N]``, for plots and comparisons."""
        spikes, i, v = self._run(current, state)
        return torch.stack(spikes).to(current.dtype), ShiftLIFState(torch.stack(i), torch.stack(v))

    def _run(self, current: Tensor, state: ShiftLIFState | None) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        check_current(self.cell, current, "[T, B, N]")
        i, v = self.cell.first(current[0], state)
        threshold, bias = self.cell.threshold, self.cell.bias
        steps: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
        for arriving in wide(current).unbind(0):
            spikes, i, v = self.cell.step(arriving, i, v, threshold, bias)
            for found, value in zip(steps, (spikes, i, v), strict=True):
                found.append(value)
        return steps


def check_current(cell: ShiftLIFCell, current: Tensor, axes: str) -> None:
    """Refuse a current that does not fit a cell."""
    if current.ndim != axes.count(",") + 1 or current.numel() == 0:
        raise ShapeError(f"shift_lif: current must be {axes} without an empty axis, got shape {list(current.shape)}")
    if not current.is_floating_point():
        raise PnbxTypeError(f"shift_lif: current must be floating point, got {current.dtype}; convert with .float()")
    if cell.num_neurons not in (None, current.shape[-1]):
        raise ShapeError(
            f"shift_lif: parameters are for {counted(cell.num_neurons, 'neuron')}, current has {current.shape[-1]}"
        )


def _leaked(x: Tensor, shift: Tensor) -> Tensor:
    """Return what is left of whole numbers after their leak; the gradient is that of ``x * (1 - 2**-shift)``."""
    rate = torch.exp2(-shift)
    part = (x.detach() * rate).floor()  # a power of two: exact
    part = torch.where((part == 0) & (x.detach() > 0), 1.0, part)
    return straight_through(x.detach() - part, x * (1 - rate))


def _whole(name: str, value: int | Tensor, low: int, high: int) -> Tensor:
    """Copy a parameter to float32, scalar or ``[N]``."""
    tensor = torch.as_tensor(value).detach().clone().to(torch.float32)
    if tensor.ndim > 1 or tensor.numel() == 0:
        raise ShapeError(f"shift_lif: {name} must be a scalar or a vector [N], got shape {list(tensor.shape)}")
    good = (tensor == tensor.round()) & (tensor >= low) & (tensor <= high)
    if has_values(tensor) and not bool(good.all()):
        raise PnbxValueError(f"shift_lif: {name} must be whole in {low}..{high}, got {tensor[~good].flatten()[0]:.6g}")
    return tensor
