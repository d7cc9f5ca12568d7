"""Fast weights: a small matrix, written by the activity itself, that recalls what followed a pattern last time."""

from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pnbx_snn.checks import check_input, check_sizes, narrow, wide, without_autocast
from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.kernels.fast_weights import fast_weights_scan, usable
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.quantization import WeightScale

Rule = Literal["hebbian", "delta"]

MAX_BITS = 12
"""Integer decays have 12 fractional bits, so 1 - 2**-12 is the slowest that compiles."""

CHUNK = 64
"""Steps per block of a whole sequence; 64 was fastest of 16 to 256 for ranks 16 to 64, on a CPU."""


class FastWeightsState(NamedTuple):
    """What fast weights carry from one step to the next.

    ``F`` ``[B, r, r]`` are the fast weights after the write: rows are what is recalled, columns what recalls it.
    ``key`` ``[B, r]`` is the key of the last step, the address of the next write.
    """

    F: Tensor
    key: Tensor


def hebbian_read(
    keys: Float[Tensor, "T B r"], decay: float, rate: float, F0: Float[Tensor, "B r r"], key0: Float[Tensor, "B r"]
) -> tuple[Float[Tensor, "T B r"], Float[Tensor, "B r r"], Float[Tensor, "B r"]]:
    r"""Hebbian fast weights over a whole sequence, as matrix products over blocks of time.

    .. math::

        F_t = \lambda F_{t-1} + \eta\, k_t k_{t-1}^\top, \qquad y_t = F_t k_t

    Within a block that starts from :math:`F_0`, unrolling gives

    .. math::

        y_t = \lambda^t F_0 k_t + \eta \sum_{s=1}^{t} \lambda^{t-s} (k_{s-1} \cdot k_t)\, k_s

    which is causal linear attention with decay. Only :math:`F` passes from block to block, so time and memory grow
    linearly with T. Every decay is a power with a non-negative exponent, hence in [0, 1]; nothing is divided by a
    product of decays, which would underflow.

    From ``keys`` ``[T, B, r]``, the ``decay`` :math:`\lambda` in [0, 1], the ``rate`` :math:`\eta`, and the fast
    weights ``F0`` ``[B, r, r]`` and key ``key0`` ``[B, r]`` before the first step it returns the reads :math:`y` ``[T,
    B, r]``, and fast weights and key after the last.

    Raises
    ------
    ShapeError, PnbxTypeError
        No step; ``F0`` or ``key0`` of another shape or dtype than the keys ask for.

    References
    ----------
    Katharopoulos et al. 2020, arXiv:2006.16236 (linear attention); Sun et al. 2023, arXiv:2307.08621 (with decay, in
    blocks); Yang et al. 2024, arXiv:2312.06635 (without division).

    Examples
    --------
    >>> keys = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]]])  # A, B, A
    >>> reads, F, key = hebbian_read(keys, 0.5, 1.0, torch.zeros(1, 2, 2), torch.zeros(1, 2))
    >>> reads[2].tolist()  # A recalls B, written one step ago
    [[0.0, 0.5]]
    """
    return _read_in_blocks("hebbian", keys, decay, rate, F0, key0)


def delta_read(
    keys: Float[Tensor, "T B r"], decay: float, rate: float, F0: Float[Tensor, "B r r"], key0: Float[Tensor, "B r"]
) -> tuple[Float[Tensor, "T B r"], Float[Tensor, "B r r"], Float[Tensor, "B r"]]:
    r"""Delta-rule fast weights over a whole sequence: arguments, results and errors as :func:`hebbian_read`.

    .. math::

        F_t = \lambda F_{t-1} + \eta\, (k_t - F_{t-1} k_{t-1})\, k_{t-1}^\top, \qquad y_t = F_t k_t

    Within a block that starts from :math:`F_0`, the errors :math:`d_t = k_t - F_{t-1} k_{t-1}` that are written satisfy

    .. math::

        d_t + \eta \sum_{s<t} \lambda^{t-1-s} (k_{s-1} \cdot k_{t-1})\, d_s = k_t - \lambda^{t-1} F_0 k_{t-1}

    a triangular system with ones on its diagonal: solved from the first step to the last, it is the recurrence itself.
    With the errors as values, what is left is the Hebbian rule, at about twice its cost.

    References
    ----------
    Schlag, Irie and Schmidhuber 2021, arXiv:2102.11174; blocks: Yang et al. 2024, arXiv:2406.06484.

    Examples
    --------
    >>> keys = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]]])  # A, B, A
    >>> reads, F, key = delta_read(keys, 0.5, 1.0, torch.zeros(1, 2, 2), torch.zeros(1, 2))
    >>> reads[2].tolist()
    [[0.0, 0.5]]
    """
    return _read_in_blocks("delta", keys, decay, rate, F0, key0)


class FastWeights(nn.Module):
    r"""Fast weights: current that recalls what followed the present events earlier in the sequence.

    A step of events :math:`e_t`, in this order (key, write, read):

    .. math::

        k_t &= \operatorname{clip}(P e_t, -1, 1) \\
        F_t &= \lambda F_{t-1} + \eta\, k_t k_{t-1}^\top \quad \text{(hebbian)} \\
        F_t &= \lambda F_{t-1} + \eta\, (k_t - F_{t-1} k_{t-1})\, k_{t-1}^\top \quad \text{(delta)} \\
        I_t &= Q F_t k_t

    with :math:`\lambda = 1 - 2^{-n}`, n ``decay_bits``, and :math:`\eta = 2^{-m}`, m ``rate_bits``.

    The write joins this step's key to the key *before* it, and comes first: :math:`F_t k_t` is a prediction of the
    next key from all pairs seen, plus :math:`\eta (k_{t-1} \cdot k_t)\, k_t` from the pair just written, which
    vanishes where consecutive keys are orthogonal. With ``state=None`` the previous key is zero, so the first step
    writes nothing.

    Parameters
    ----------
    d_hidden, rank
        H, event lines and currents, and r, the size of the keys; at least 1.
    decay_bits
        Whole number in [1, 12]: fast weights fade by 1/e in about ``2**decay_bits`` steps.
    rate_bits
        Whole number in [0, 12]: a pair is written with the weight ``2**-rate_bits``.
    rule
        ``"hebbian"`` adds each pair; pairs with the same address pile up. ``"delta"`` writes only the error of the
        prediction :math:`F_{t-1} k_{t-1}`, so a new pair replaces an old one with the same address.
    scale
        How the ternary matrices take their scale, see :class:`pnbx_snn.layers.bitlinear.BitLinear`.

    Attributes
    ----------
    P, Q : BitLinear
        ``[r, H]`` and ``[H, r]``; the only parameters, ``2 * r * H`` of them.
    decay, rate : float
        :math:`\lambda` and :math:`\eta`.

    Notes
    -----
    Shapes: events and current ``[T, B, H]`` (:meth:`step`: ``[B, H]``); state ``F`` ``[B, r, r]``, ``key`` ``[B, r]``.

    Bounds: Hebbian entries stay within :math:`\eta/(1-\lambda)` = ``2**(decay_bits - rate_bits)``. The delta rule
    multiplies :math:`F` by :math:`\lambda - \eta |k|^2` along the key; as :math:`|k|^2 \le r`, it cannot diverge if
    :math:`\eta r < 1 + \lambda`, and other settings are refused.

    Gradient: straight-through for P and Q, none where the key is clipped, and through F over all steps.

    Integer counterpart: :math:`\lambda` is the factor ``4096 - 2**(12 - decay_bits)`` of a 12-bit decay and
    :math:`\eta` a shift; the scales of P and Q leave the sums as in every BitLinear.

    Raises
    ------
    PnbxValueError
        A size below 1, bits out of range, an unknown ``rule`` or ``scale``, or a delta rule that could diverge.
    ShapeError, PnbxTypeError
        Events that are not floating point ``[T, B, H]``, an empty axis, a state of another batch, rank or dtype.

    References
    ----------
    Ba et al. 2016, arXiv:1610.06258 (decay and Hebbian write); Sompolinsky and Kanter 1986, "Temporal Association in
    Asymmetric Neural Networks" (the previous pattern as address); Schlag et al. 2021, arXiv:2102.11174 (delta rule).

    Examples
    --------
    >>> layer = FastWeights(d_hidden=16, rank=4)
    >>> events = (torch.rand(20, 3, 16) < 0.2).float()  # [T, B, H]
    >>> current, state = layer(events)
    >>> current.shape, state.F.shape
    (torch.Size([20, 3, 16]), torch.Size([3, 4, 4]))
    >>> current, state = layer.step(events[0], state)  # streaming, one step more
    """

    def __init__(
        self,
        d_hidden: int,
        rank: int,
        *,
        decay_bits: int = 5,
        rate_bits: int = 4,
        rule: Rule = "hebbian",
        scale: WeightScale = "absmean",
    ) -> None:
        super().__init__()
        check_sizes("fast weights", d_hidden=d_hidden, rank=rank)
        for name, bits, lowest in (("decay_bits", decay_bits, 1), ("rate_bits", rate_bits, 0)):
            if bits not in range(lowest, MAX_BITS + 1):
                raise PnbxValueError(
                    f"fast weights: {name} must be a whole number in [{lowest}, {MAX_BITS}], got {bits}"
                )
        if rule not in get_args(Rule):
            raise PnbxValueError(f"fast weights: rule must be 'hebbian' or 'delta', got {rule!r}")
        self.d_hidden, self.rank, self.rule = d_hidden, rank, rule
        self.decay, self.rate = 1 - 2.0**-decay_bits, 2.0**-rate_bits
        if rule == "delta" and self.rate * rank >= 1 + self.decay:
            raise PnbxValueError(
                f"fast weights: rule='delta' must have 2**-rate_bits * rank < {1 + self.decay:.6g} or it may diverge, "
                f"got {self.rate * rank:.6g} from rate_bits={rate_bits} and rank={rank}; raise rate_bits"
            )
        self.P = BitLinear(d_hidden, rank, scale=scale)
        self.Q = BitLinear(rank, d_hidden, scale=scale)

    @property
    def readout(self) -> BitLinear:
        """The matrix that makes the current, :attr:`Q`."""
        return self.Q

    def step(
        self, events: Float[Tensor, "B H"], state: FastWeightsState | None = None
    ) -> tuple[Float[Tensor, "B H"], FastWeightsState]:
        """One step: ``events`` and current ``[B, H]``; otherwise as :meth:`forward`."""
        check_input("fast weights", "events", events, "[B, H]", self.d_hidden)
        answer = self.P(events).clamp(-1, 1)  # [B, r]
        key = wide(answer)
        state = _zeros(key) if state is None else FastWeightsState(*map(wide, state))
        _check_state("fast weights", state, key)
        with without_autocast(key):  # as in forward
            F = _write(self.rule, state.F, key, state.key, self.decay, self.rate)
            read = _read(F, key)
        return self.Q(narrow(read, answer)), FastWeightsState(F, key)

    def forward(
        self, events: Float[Tensor, "T B H"], state: FastWeightsState | None = None
    ) -> tuple[Float[Tensor, "T B H"], FastWeightsState]:
        """All steps of a sequence by :func:`hebbian_read` or :func:`delta_read`: :meth:`step` in a loop up to rounding.

        Events and current are ``[T, B, H]``; a ``state`` of ``None`` is zeros, the one returned is after the last step.
        """
        check_input("fast weights", "events", events, "[T, B, H]", self.d_hidden)
        answer = self.P(events).clamp(-1, 1)  # [T, B, r]
        keys = wide(answer)
        state = _zeros(keys[0]) if state is None else FastWeightsState(*map(wide, state))
        read = hebbian_read if self.rule == "hebbian" else delta_read
        reads, F, key = read(keys, self.decay, self.rate, *state)
        return self.Q(narrow(reads, answer)), FastWeightsState(F, key)

    def extra_repr(self) -> str:
        """Show the options in ``print(layer)``."""
        return f"{self.d_hidden}, rank={self.rank}, decay={self.decay}, rate={self.rate}, rule={self.rule!r}"


def _zeros(key: Tensor) -> FastWeightsState:
    """State before the first step."""
    B, r = key.shape
    return FastWeightsState(key.new_zeros(B, r, r), key.new_zeros(B, r))


def _read_in_blocks(
    rule: Rule, keys: Tensor, decay: float, rate: float, F0: Tensor, key0: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Both rules over a whole sequence."""
    if keys.ndim != 3 or len(keys) == 0:
        raise ShapeError(f"{rule}_read: keys must be [T, B, r] with at least one step, got shape {list(keys.shape)}")
    _check_state(f"{rule}_read", FastWeightsState(F0, key0), keys[0])
    if usable(keys):
        reads, F = fast_weights_scan(keys, F0, key0, decay, rate, delta=rule == "delta")
        return reads, F, keys[-1].clone()  # a view would keep the keys of the whole sequence alive
    with without_autocast(keys):  # sums over a sequence need their digits, and a system is solved in one precision
        return _blocks(rule, keys, decay, rate, F0, key0)


def _blocks(
    rule: Rule, keys: Tensor, decay: float, rate: float, F0: Tensor, key0: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    reads, F = [], F0
    previous = torch.cat((key0.unsqueeze(0), keys[:-1]))  # [T, B, r]
    # Powers in float64: float32 loses digits where a decay near 1 has a large exponent.
    powers = torch.pow(decay, torch.arange(CHUNK + 1, dtype=torch.float64)).to(keys)  # [CHUNK + 1]
    for key_block, previous_block in zip(torch.split(keys, CHUNK), torch.split(previous, CHUNK), strict=True):
        steps = len(key_block)
        k, k_prev = key_block.transpose(0, 1), previous_block.transpose(0, 1)  # [B, C, r]
        t = torch.arange(steps, device=keys.device)
        age = (t[:, None] - t[None, :]).clamp(min=0)  # [C, C]
        written = k
        if rule == "delta":
            system = k_prev @ k_prev.mT * (rate * powers[(age - 1).clamp(min=0)]).tril(-1)  # [B, C, C]
            wanted = k - powers[:steps, None] * (k_prev @ F.mT)
            written = torch.linalg.solve_triangular(system, wanted, upper=False, unitriangular=True)
        scores = k @ k_prev.mT * (rate * powers[age]).tril()  # [B, C, C]
        since_start = powers[1 : steps + 1, None]  # [C, 1]
        read = scores @ written + since_start * (k @ F.mT)  # [B, C, r]
        until_end = rate * powers[:steps].flip(0)[:, None]  # [C, 1]
        F = powers[steps] * F + written.mT @ (until_end * k_prev)  # [B, r, r]
        reads.append(read.transpose(0, 1))
    whole = torch.cat(reads) if len(reads) > 1 else reads[0]
    return whole, F, keys[-1].clone()


def _write(rule: Rule, F: Tensor, key: Tensor, previous: Tensor, decay: float, rate: float) -> Tensor:
    """Fast weights after the write of one step, ``[B, r, r]``."""
    target = key if rule == "hebbian" else key - _read(F, previous)  # [B, r]
    return decay * F + rate * target.unsqueeze(-1) * previous.unsqueeze(-2)


def _read(F: Tensor, key: Tensor) -> Tensor:
    """``F key`` for each sample, ``[B, r]``."""
    return (F @ key.unsqueeze(-1)).squeeze(-1)


def _check_state(where: str, state: FastWeightsState, key: Tensor) -> None:
    B, r = key.shape
    for name, tensor, shape in (("F [B, r, r]", state.F, [B, r, r]), ("key [B, r]", state.key, [B, r])):
        if list(tensor.shape) != shape:
            raise ShapeError(f"{where}: state {name} must be {shape}, got {list(tensor.shape)}")
        if tensor.dtype != key.dtype:
            raise PnbxTypeError(f"{where}: state {name} must be {key.dtype} like the keys, got {tensor.dtype}")
