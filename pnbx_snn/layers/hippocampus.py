"""Hippocampus: slots that answer to what resembles them, with a slow learned half and a fast half written at once."""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, one_hot

from pnbx_snn.checks import check_input, check_option, check_shape, check_sizes, narrow, wide, without_autocast
from pnbx_snn.errors import PnbxTypeError, PnbxValueError
from pnbx_snn.kernels.ternary import faster_than_torch, ternary_products
from pnbx_snn.quantization import WeightScale, kept_ternary, rounded_weights, weights_in_use

Scope = Literal["sequence", "persistent"]
Competition = Literal["softmax", "winner"]

MAX_BITS = 12
CHUNK = 32
"""Steps of the longest block for any rates. A slot keeps at least a quarter a step: 4**32 is what float32 must hold."""
LONG = 64
"""Steps per block of a long sequence, if the rates allow it: 10 % faster than 32 and 128 on a CPU."""


class HippocampusState(NamedTuple):
    """What a hippocampus of scope ``"sequence"`` carries to the next step: the fast half ``E``, ``[B, M, H]``."""

    E: Tensor


class Hippocampus(nn.Module):
    r"""Memory of M slots: each event pattern asks all slots, and what answers is read, then written to.

    .. math::

        \alpha_t &= \operatorname{softmax}\big(\gamma\tilde K e_t / (\tau \sqrt H)\big) \\
        m_t &= (\gamma\tilde K + E_{t-1})^\top \alpha_t \\
        E_t &= (1 - \delta - \eta\,\alpha_t) \odot E_{t-1} + \eta\,\alpha_t e_t^\top

    with :math:`\delta = 2^{-d}`, d ``decay_bits``, and :math:`\eta = 2^{-r}`, r ``rate_bits``. The read comes before
    the write: a pattern recalls what was there before it. The slow half K is learned by gradient and ternary in use;
    the fast half E follows the events within a sequence.

    Parameters
    ----------
    d_hidden, slots : int
        H, event lines and currents, and M, at least 1.
    scope : {"sequence", "persistent"}
        ``"sequence"``: each sample has a fast half of its own, which is state. ``"persistent"``: all samples read one
        fast half, the buffer :attr:`fast`, which only :meth:`update` and :meth:`consolidate` change.
    competition : {"softmax", "winner"}
        ``"winner"``: the best slot alone answers (the first of equals), with the gradient of the softmax: what integers
        do.
    temperature : float
        :math:`\tau` > 0. With 19 % events, the default 0.1 and fresh weights, scores differ by about 2 between slots.
    decay_bits : int
        Whole number in [2, 12]: the fast half fades by 1/e in about ``2**decay_bits`` steps.
    rate_bits : int
        Whole number in [1, 12]: a slot moves by ``2**-rate_bits`` of the way to the pattern it answered.
    scale : {"absmean", "median"}
        Weight scale of K, see :func:`pnbx_snn.ternarize`.

    Attributes
    ----------
    K : Parameter, ``[M, H]``
        Latent slow half; starts uniform in [-1, 1], on the scale of E.
    fast : Tensor, ``[M, H]``
        Buffer, of scope ``"persistent"`` only.

    Notes
    -----
    Shapes: events and current ``[T, B, H]`` (:meth:`step`: ``[B, H]``), state ``[B, M, H]``. M·H parameters; with the
    fast half as many numbers again, which the source document counts too. :math:`0 \le E \le 1` for events of 0 and 1.

    Whole sequences never hold E for every step. The weights :math:`\alpha` depend on the events alone, so E is a
    linear recurrence with known gates, and blocks of steps are matrix products: with
    :math:`L_t = \sum_{u \le t} \log(1 - \delta - \eta\alpha_u)`, the read of step t within a block is

    .. math::

        \sum_{s<t} \Big(\sum_m \alpha_t e^{L_{t-1}} \cdot \eta\alpha_s e^{-L_s}\Big) e_s
        + (\alpha_t e^{L_{t-1}})^\top E_0

    All factors are positive, so nothing cancels, and the largest is :math:`4^{32}`.

    Integer counterpart: winner-take-all, shifts, adds; ternary K.

    Raises
    ------
    PnbxValueError
        A number or option out of range; :meth:`update` or :meth:`consolidate` of scope ``"sequence"``; a state for
        scope ``"persistent"``.
    ShapeError, PnbxTypeError
        Events that are not floating point ``[T, B, H]``, an empty axis, a state of another shape or dtype.

    References
    ----------
    Ramsauer et al. 2020, arXiv:2008.02217 (softmax read of stored patterns); Kumaran, Hassabis and McClelland 2016,
    Trends in Cognitive Sciences 20 (fast and slow learning); blocks: Yang et al. 2024, arXiv:2312.06635. Write: own.

    Examples
    --------
    >>> memory = Hippocampus(d_hidden=16, slots=4)
    >>> events = (torch.rand(20, 3, 16) < 0.2).float()  # [T, B, H]
    >>> current, state = memory(events)
    >>> current.shape, state.E.shape
    (torch.Size([20, 3, 16]), torch.Size([3, 4, 16]))
    >>> current, state = memory.step(events[0], state)  # streaming, one step more
    """

    fast: Tensor
    mask: Tensor | None

    def __init__(
        self,
        d_hidden: int,
        slots: int,
        *,
        scope: Scope = "sequence",
        competition: Competition = "softmax",
        temperature: float = 0.1,
        decay_bits: int = 6,
        rate_bits: int = 2,
        scale: WeightScale = "absmean",
    ) -> None:
        super().__init__()
        check_sizes("hippocampus", d_hidden=d_hidden, slots=slots)
        options = (("scope", scope, Scope), ("competition", competition, Competition), ("scale", scale, WeightScale))
        for name, value, allowed in options:
            check_option("hippocampus", name, value, allowed)
        if not 0 < temperature < float("inf"):
            raise PnbxValueError(f"hippocampus: temperature must be > 0 and finite, got {temperature}")
        for name, bits, lowest in (("decay_bits", decay_bits, 2), ("rate_bits", rate_bits, 1)):
            if bits not in range(lowest, MAX_BITS + 1):
                raise PnbxValueError(
                    f"hippocampus: {name} must be a whole number in [{lowest}, {MAX_BITS}], got {bits}"
                )
        self.d_hidden, self.slots = d_hidden, slots
        self.scope: Scope = scope
        self.competition: Competition = competition
        self.temperature = float(temperature)
        self.decay, self.rate = 2.0**-decay_bits, 2.0**-rate_bits
        self.scale: WeightScale = scale
        self.K = nn.Parameter(torch.empty(slots, d_hidden).uniform_(-1, 1))
        self.register_buffer("mask", None)  # of connections, in sparse networks: see pnbx_snn.training.sparsity
        if scope == "persistent":
            self.register_buffer("fast", torch.zeros(slots, d_hidden))

    def rounded(self) -> tuple[Float[Tensor, "M H"], Float[Tensor, ""]]:
        """Return the ternary slow half and its scale, see :func:`pnbx_snn.quantization.ternarize`."""
        return rounded_weights(self, self.K, scale=self.scale, mask=self.mask)

    @property
    def readout(self) -> None:
        """None: what is read are the slots themselves."""

    def step(
        self, events: Float[Tensor, "B H"], state: HippocampusState | None = None
    ) -> tuple[Float[Tensor, "B H"], HippocampusState | None]:
        """One step, the definition: ``events`` and current ``[B, H]``; otherwise as :meth:`forward`."""
        self._check(events, "[B, H]", state)
        slow, alpha = self._ask(events)  # [M, H], [B, M]
        given, events = events, wide(events)
        with without_autocast(events):  # as in forward
            if self.scope == "persistent":
                return narrow(alpha @ (slow + wide(self.fast)), given), None
            E = events.new_zeros(len(events), self.slots, self.d_hidden) if state is None else wide(state.E)
            current = alpha @ slow + torch.einsum("bm,bmh->bh", alpha, E)
        write = self.rate * alpha.unsqueeze(-1)  # [B, M, 1]
        after = (1 - self.decay - write) * E + write * events.unsqueeze(1)
        return narrow(current, given), HippocampusState(after)

    def forward(
        self, events: Float[Tensor, "T B H"], state: HippocampusState | None = None, *, keep_state: bool = True
    ) -> tuple[Float[Tensor, "T B H"], HippocampusState | None]:
        """All steps of a sequence, equal to :meth:`step` in a loop up to rounding.

        Events and current are ``[T, B, H]``; a ``state`` of ``None`` is an empty fast half. The state returned is None
        with scope ``"persistent"`` or ``keep_state=False``, which saves the making of ``B x M x H`` numbers.
        """
        self._check(events, "[T, B, H]", state)
        slow, alpha = self._ask(events)  # [M, H], [T, B, M]
        given, events = events, wide(events)
        with without_autocast(events):  # sums over a sequence need their digits
            if self.scope == "persistent":
                return narrow(alpha @ (slow + wide(self.fast)), given), None
            E = None if state is None else wide(state.E)
            recalled = []
            steps = self._block_steps(len(events))
            blocks = list(zip(torch.split(events, steps), torch.split(alpha, steps), strict=True))
            for i, (e, a) in enumerate(blocks):
                read, E = self._block(e, a, E, write=keep_state or i + 1 < len(blocks))
                recalled.append(read)
            current = alpha @ slow + (torch.cat(recalled) if len(recalled) > 1 else recalled[0])
        return narrow(current, given), HippocampusState(E) if keep_state and E is not None else None

    @torch.no_grad()
    def update(self, events: Float[Tensor, "T B H"]) -> None:
        r"""Write into the persistent fast half: once, with the means over all steps and samples ``[T, B, H]``.

        :math:`E \leftarrow (1 - \delta - \eta\bar\alpha) \odot E + \eta\,\overline{\alpha e^\top}`. Call it once per
        batch, like :meth:`pnbx_snn.neurons.glia.Glia.update`; :meth:`forward` never writes.
        """
        self._need_persistent("update")
        self._check(events, "[T, B, H]", None)
        _, alpha = self._ask(events)
        rows, weights = wide(events).flatten(0, 1), alpha.flatten(0, 1)
        keep = 1 - self.decay - self.rate * weights.mean(dim=0)  # [M]
        with without_autocast(rows):
            self.fast.mul_(keep.unsqueeze(1)).add_(weights.T @ rows, alpha=self.rate / len(rows))

    @torch.no_grad()
    def consolidate(self, rate: float = 1.0) -> None:
        r"""Move the persistent fast half into the slow one: :math:`K \leftarrow K + rE`, :math:`E \leftarrow (1-r)E`.

        ``rate`` is in (0, 1]. The sum of latent K and E stays; what is read changes by the ternary rounding of K.
        """
        self._need_persistent("consolidate")
        if not 0 < rate <= 1:
            raise PnbxValueError(f"hippocampus: rate must be in (0, 1], got {rate}")
        self.K.add_(self.fast, alpha=rate)
        self.fast.mul_(1 - rate)

    def _ask(self, events: Tensor) -> tuple[Tensor, Tensor]:
        """Return the slow half ``[M, H]`` and how much each slot answers ``[..., M]``."""
        ternary, gamma = self.rounded()
        sharpness = 1 / (self.temperature * self.d_hidden**0.5)
        if faster_than_torch(events, self.slots) and weights_in_use(self) == "ternary":
            latent = self.K if kept_ternary(self) is None else self.K.detach()
            scores = ternary_products(events, [latent], [ternary.detach()], [gamma])[0] * sharpness
        else:
            scores = linear(events, ternary).to(events.dtype) * (gamma * sharpness)
        alpha = torch.softmax(scores, dim=-1)
        if self.competition == "winner":
            best = one_hot(scores.argmax(dim=-1), self.slots).to(alpha.dtype)
            alpha = best + (alpha - alpha.detach())
        return wide(gamma * ternary), wide(alpha)

    def _block_steps(self, num_steps: int) -> int:
        """Return the steps per block: all, where that needs fewer products than to pass E from block to block."""
        longest = int(CHUNK * math.log(4) / -math.log(1 - self.decay - self.rate))  # so that factors stay below 4**32
        M, H = self.slots, self.d_hidden
        whole = num_steps * (M + H) <= CHUNK * (M + H) + 2 * M * H
        return min(longest, num_steps) if whole else min(longest, LONG)

    def _block(self, events: Tensor, alpha: Tensor, E: Tensor | None, *, write: bool) -> tuple[Tensor, Tensor | None]:
        """Read ``[C, B, H]`` from the fast half over one block, and the fast half after it if asked."""
        e, a = events.transpose(0, 1), alpha.transpose(0, 1)  # [B, C, H], [B, C, M]
        kept = torch.log1p(-self.decay - self.rate * a).cumsum(dim=1)  # L_t
        before = torch.cat((torch.zeros_like(kept[:, :1]), kept[:, :-1]), dim=1)  # L_{t-1}
        asked = a * before.exp()
        read = (asked @ (self.rate * a * (-kept).exp()).mT).tril(-1) @ e  # [B, C, H]
        if E is not None:
            read = read + asked @ E
        if not write:
            return read.transpose(0, 1), None
        last = kept[:, -1:]  # [B, 1, M]
        written = (self.rate * a * (last - kept).exp()).mT @ e  # [B, M, H]
        after = written if E is None else last.exp().mT * E + written
        return read.transpose(0, 1), after

    def _need_persistent(self, method: str) -> None:
        if self.scope != "persistent":
            raise PnbxValueError(f"hippocampus: {method} is for scope='persistent', got {self.scope!r}")

    def _check(self, events: Tensor, axes: str, state: HippocampusState | None) -> None:
        check_input("hippocampus", "events", events, axes, self.d_hidden)
        if state is None:
            return
        if self.scope == "persistent":
            raise PnbxValueError("hippocampus: scope='persistent' has no state, got one")
        shape = events.shape[-2], self.slots, self.d_hidden
        check_shape("hippocampus", "state E", "[B, M, H]", state.E, shape)
        wanted = wide(events).dtype
        if wide(state.E).dtype != wanted:
            raise PnbxTypeError(f"hippocampus: state E must be {wanted} like the events, got {state.E.dtype}")

    def extra_repr(self) -> str:
        """Show the options in ``print(memory)``."""
        return f"{self.d_hidden}, slots={self.slots}, scope={self.scope!r}, competition={self.competition!r}"
