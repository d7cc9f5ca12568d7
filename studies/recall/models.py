"""The networks that the memory tasks compare, all of one size: from tokens ``[T, B]`` to logits ``[T, B, C]``."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import one_hot

from pnbx_snn.errors import PnbxValueError
from pnbx_snn.networks.pnbx import PNBX
from studies.recall.tasks import Task
from studies.rivals import GRU, DiagonalStateSpaces, Transformer, count, nearest

D_HIDDEN, D_SSM, D_RNN, RANK, SLOTS = 128, 64, 32, 16, 16
PNBX_VARIANTS: dict[str, dict[str, Any]] = {
    "PNB-X": {},
    # What a pathway had, the SSM gets: 4·H numbers a state, 2·H·rank and slots·H in the pathways.
    "PNB-X, no fast weights": {"fast_weights": "none", "d_ssm": D_SSM + 2 * RANK // 4},
    "PNB-X, no hippocampus": {"hippocampus": "none", "d_ssm": D_SSM + SLOTS // 4},
    "PNB-X, spiking RNN": {"rnn": "spiking"},
}
MODELS = (*PNBX_VARIANTS, "GRU", "SSM", "Transformer")


class SequenceModel(Protocol):
    """What training and testing need of a network: its parameters, and ``forward(tokens, state)``."""

    def __call__(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return logits ``[T, B, C]`` and the state after the last step."""
        ...


class TokenPNBX(nn.Module):
    """PNB-X over tokens: one input a token, logits of every step."""

    def __init__(self, task: Task, **options: Any) -> None:
        super().__init__()
        self.num_tokens = task.num_tokens
        sizes = {"d_hidden": D_HIDDEN, "d_ssm": D_SSM, "d_rnn": D_RNN, "rank": RANK, "slots": SLOTS}
        self.net = PNBX(
            in_features=task.num_tokens,
            num_classes=task.num_classes,
            num_steps=task.longest,
            input_range="spikes",
            readout="step",
            **{**sizes, **options},
        )

    def _inputs(self, tokens: Tensor) -> Tensor:
        return one_hot(tokens, self.num_tokens).float()

    @torch.no_grad()
    def calibrate(self, tokens: Int[Tensor, "T B"]) -> None:
        """Scale the initial weights on typical tokens, the readout's so that the logits of a step deviate by 1."""
        inputs = self._inputs(tokens)
        self.net.calibrate(inputs.transpose(0, 1))
        # PNBX.calibrate takes the statistics of these samples, evaluation the running ones: they are up to 0.5 % apart.
        logits = self.net.eval()(inputs, keep_state=False).logits
        self.net.readout.weight.div_(logits.std())
        self.net.train()

    def forward(self, tokens: Int[Tensor, "T B"], state: Any = None) -> tuple[Float[Tensor, "T B C"], Any]:
        """All steps from ``state``; in training glia then adapt to what fired, and no state is kept."""
        output = self.net(self._inputs(tokens), state, keep_state=not self.training)
        if self.training:
            self.net.adapt(output.spikes)
        return output.logits, output.state


def make_model(name: str, task: Task, *, seed: int) -> nn.Module:
    """Return a network of this name for a task, the rivals with PNB-X's number of parameters (to a hundredth).

    Parameters
    ----------
    name
        One of ``MODELS``.
    task
        Says vocabulary, answers and the longest sequence.
    seed
        Of the initial weights.

    Examples
    --------
    >>> from studies.recall.tasks import make_task
    >>> task = make_task("flip_flop")
    >>> [count(make_model(name, task, seed=0)) for name in ("PNB-X", "PNB-X, no hippocampus")]
    [52352, 52352]
    """
    if name not in MODELS:
        raise PnbxValueError(f"recall: model must be one of {'; '.join(MODELS)}, got {name!r}")
    if name in PNBX_VARIANTS:
        torch.manual_seed(seed)
        model = TokenPNBX(task, **PNBX_VARIANTS[name])
        model.calibrate(task.draw(task.trained[-1], 32, torch.Generator().manual_seed(seed))[0])
        return model
    wanted = count(TokenPNBX(task))
    sizes = {"num_tokens": task.num_tokens, "num_classes": task.num_classes}

    def make(size: int) -> nn.Module:
        torch.manual_seed(seed)
        if name == "GRU":
            return GRU(**sizes, d_model=64, d_hidden=size)
        if name == "SSM":
            return DiagonalStateSpaces(**sizes, d_model=64, d_state=64, num_layers=2, d_ff=size)
        return Transformer(
            **sizes,
            d_model=64,
            num_heads=4,
            num_layers=2,
            d_ff=size,
            num_positions=task.longest,
            # Learned positions say nothing beyond the longest sequence that was trained.
            positions="learned" if task.tested[-1] <= task.trained[-1] else "sinusoidal",
            norm="before",
        )

    return nearest(make, wanted, 2_000)
