"""Rivals with a state of constant size: a GRU, and a stack of diagonal linear state spaces (LTI)."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn

from pnbx_snn.checks import check_sizes
from pnbx_snn.kernels.scan import diagonal_scan
from studies.rivals.inputs import check_inputs, input_layer


class GRU(nn.Module):
    """Embedding, ``nn.GRU``, readout.

    Parameters
    ----------
    num_tokens, in_features, num_classes
        Vocabulary, or else the numbers of a step (then a product takes the embedding's place); and logits.
    d_model, d_hidden, num_layers
        Sizes of the embedding and of the state, and how many layers.

    Notes
    -----
    Shapes: tokens ``[T, B]`` or steps ``[T, B, N]``, logits ``[T, B, C]``, state ``[layers, B, d_hidden]``.

    References
    ----------
    Cho et al. 2014, arXiv:1406.1078; PyTorch's ``nn.GRU``.

    Examples
    --------
    >>> model = GRU(num_tokens=5, num_classes=3, d_model=4, d_hidden=6)
    >>> logits, state = model(torch.randint(0, 5, (7, 2)))
    >>> logits.shape, state.shape
    (torch.Size([7, 2, 3]), torch.Size([1, 2, 6]))
    """

    def __init__(
        self,
        *,
        num_tokens: int | None = None,
        in_features: int | None = None,
        num_classes: int,
        d_model: int,
        d_hidden: int,
        num_layers: int = 1,
    ) -> None:
        super().__init__()
        check_sizes("GRU", num_classes=num_classes, d_model=d_model, d_hidden=d_hidden, num_layers=num_layers)
        self.token = input_layer("GRU", num_tokens, in_features, d_model)
        self.gru = nn.GRU(d_model, d_hidden, num_layers)
        self.readout = nn.Linear(d_hidden, num_classes)

    def forward(
        self, tokens: Int[Tensor, "T B"] | Float[Tensor, "T B N"], state: Float[Tensor, "L B H"] | None = None
    ) -> tuple[Float[Tensor, "T B C"], Float[Tensor, "L B H"]]:
        """All steps from ``state`` (``None``: zeros)."""
        check_inputs("GRU", self.token, tokens)
        x, state = self.gru(self.token(tokens), state)
        assert state is not None
        return self.readout(x), state

    @torch.no_grad()
    def step(self, token: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step: ``token`` ``[B]``, logits ``[B, C]``."""
        logits, state = self(token.unsqueeze(0), state)
        return logits[0], state


class SSMState(NamedTuple):
    """States of all layers.

    Parameters
    ----------
    s : tuple of Tensor
        ``[B, S]``, complex.
    """

    s: tuple[Complex[Tensor, "B S"], ...]


class DiagonalStateSpaces(nn.Module):
    r"""A stack of LTI diagonal state spaces in real-valued layers: what S4D and the LRU have become.

    .. math::

        u = \operatorname{LN}(x), \qquad s_t = \lambda \odot s_{t-1} + \sqrt{1 - |\lambda|^2} \odot B u_t, \qquad
        x \leftarrow x + W_2 \operatorname{gelu}(W_1 (C [\Re s_t, \Im s_t] + D \odot u_t))

    Parameters
    ----------
    num_tokens, in_features, num_classes
        Vocabulary, or else the numbers of a step (then a product takes the embedding's place); and logits.
    d_model, d_state, num_layers, d_ff
        Sizes.
    tau_max
        Longest initial time constant in steps; time constants are log-spaced from 2.

    Notes
    -----
    Shapes: tokens ``[T, B]`` or steps ``[T, B, N]``, logits ``[T, B, C]``, state ``[B, S]`` complex for each layer. The
    scan is :func:`pnbx_snn.kernels.scan.diagonal_scan`.

    References
    ----------
    Gu et al. 2022, arXiv:2206.11893 (S4D); Orvieto et al. 2023, arXiv:2303.06349 (LRU).

    Examples
    --------
    >>> model = DiagonalStateSpaces(num_tokens=5, num_classes=3, d_model=8, d_state=4, num_layers=2, d_ff=8)
    >>> logits, state = model(torch.randint(0, 5, (7, 2)))
    >>> logits.shape, len(state.s), state.s[0].shape
    (torch.Size([7, 2, 3]), 2, torch.Size([2, 4]))
    """

    def __init__(
        self,
        *,
        num_tokens: int | None = None,
        in_features: int | None = None,
        num_classes: int,
        d_model: int,
        d_state: int,
        num_layers: int,
        d_ff: int,
        tau_max: float = 1000.0,
    ) -> None:
        super().__init__()
        check_sizes("DiagonalStateSpaces", num_classes=num_classes, d_model=d_model)
        check_sizes("DiagonalStateSpaces", d_state=d_state, num_layers=num_layers, d_ff=d_ff)
        self.token = input_layer("DiagonalStateSpaces", num_tokens, in_features, d_model)
        self.layers = nn.ModuleList(StateSpaceLayer(d_model, d_state, d_ff, tau_max) for _ in range(num_layers))
        self.norm = nn.LayerNorm(d_model)
        self.readout = nn.Linear(d_model, num_classes)

    def forward(
        self, tokens: Int[Tensor, "T B"] | Float[Tensor, "T B N"], state: SSMState | None = None
    ) -> tuple[Float[Tensor, "T B C"], SSMState]:
        """All steps from ``state`` (``None``: zeros)."""
        check_inputs("DiagonalStateSpaces", self.token, tokens)
        x, after = self.token(tokens), []
        for number, layer in enumerate(self.layers):
            x, s = layer(x, None if state is None else state.s[number])
            after.append(s)
        return self.readout(self.norm(x)), SSMState(tuple(after))

    @torch.no_grad()
    def step(self, token: Tensor, state: SSMState | None = None) -> tuple[Tensor, SSMState]:
        """One step: ``token`` ``[B]``, logits ``[B, C]``."""
        logits, after = self(token.unsqueeze(0), state)
        return logits[0], after


class StateSpaceLayer(nn.Module):
    """One layer of :class:`DiagonalStateSpaces`, ``[T, B, D]`` to ``[T, B, D]``."""

    def __init__(self, d_model: int, d_state: int, d_ff: int, tau_max: float) -> None:
        super().__init__()
        tau = torch.exp(torch.linspace(math.log(2.0), math.log(tau_max), d_state))
        self.log_rate = nn.Parameter(-tau.log())
        self.omega = nn.Parameter((2 * math.pi / tau).clamp(max=math.pi))
        self.norm = nn.LayerNorm(d_model)
        self.B = nn.Linear(d_model, d_state, bias=False)
        self.C = nn.Linear(2 * d_state, d_model, bias=False)
        self.D = nn.Parameter(torch.ones(d_model))
        self.up, self.down = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)

    def forward(self, x: Tensor, s: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the layer's output and its state ``[B, S]`` after the last step."""
        u = self.norm(x)
        magnitude = torch.exp(-self.log_rate.exp())
        inputs = (1 - magnitude.square()).sqrt() * self.B(u)  # [T, B, S]
        decay = torch.polar(magnitude, self.omega)
        start = torch.zeros_like(inputs[0], dtype=decay.dtype) if s is None else s
        # One step needs no scan, and a stream has nothing but single steps.
        states = diagonal_scan(decay, inputs.to(decay.dtype), start) if len(x) > 1 else decay * start + inputs
        read = self.C(torch.cat([states.real, states.imag], dim=-1)) + self.D * u
        return x + self.down(torch.nn.functional.gelu(self.up(read))), states[-1].clone()
