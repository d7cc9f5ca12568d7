"""Ternary weights that flip back and forth are frozen at the value that they mostly had."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pnbx_snn.errors import PnbxValueError
from pnbx_snn.files.tensors import Tensors
from pnbx_snn.quantization import ternarize

MOMENTUM = 0.01
"""Of the moving averages: they look back over about 100 steps."""

FIRST_THRESHOLD = 4.0
"""Times the last one: at first only what flips most is frozen."""


class _Matrix(NamedTuple):
    """A matrix of latent weights and, in its shape, what is known of each weight."""

    latent: nn.Parameter
    scale: str
    ternary: Tensor  # int8, after the last step
    moved: Tensor  # int8, the direction of its last change; 0: none yet
    frequency: Tensor  # moving average of its flips
    mean: Tensor  # moving average of its ternary value
    frozen: Tensor  # bool


class FlipFreezer:
    r"""Watches the ternary weights of a network in training, and freezes those that flip too often.

    A weight *flips* in a step in which its ternary value changes in the direction opposite to that of its last change:
    its latent weight lies at a border of rounding, and the gradient on either side pushes it back. With moving averages
    of flips :math:`f` and of values :math:`\bar w`,

    .. math::

        f \leftarrow (1 - m) f + m [\text{flips}], \qquad \bar w \leftarrow (1 - m) \bar w + m \tilde w, \qquad
        f > \phi_n: \quad w \leftarrow \gamma \operatorname{round}(\bar w) \text{ from now on}

    with :math:`m = 0.01`. Steps before ``first`` are left alone; from there to the last step the threshold falls along
    half a cosine from :math:`4 \phi` to :math:`\phi`. A frozen latent weight is put back after each step to its value
    times the scale :math:`\gamma` of its matrix, so that it never rounds to another one.

    Parameters
    ----------
    model
        The network in training, after its calibration.
    threshold
        :math:`\phi` in flips a step, in (0, 1).
    first, last
        Steps of the training, counted from 1.

    Raises
    ------
    PnbxValueError
        If the threshold is not in (0, 1).

    References
    ----------
    Nagel et al. 2022, arXiv:2203.11086, section 4.2 and algorithm 1, for weights of any number of bits with a learned
    scale; steps before ``first`` and the scale that moves with the weights: own.

    Examples
    --------
    >>> from pnbx_snn import BitLinear
    >>> layer = BitLinear(2, 1)
    >>> freezer = FlipFreezer(layer, 0.02, first=1, last=100)
    >>> for step in range(1, 21):  # one weight goes to and fro, and is 0 more often
    ...     _ = layer.weight.data.copy_(torch.tensor([[1.0, 0.9 if step % 3 == 0 else 0.1]]))
    ...     freezer.update(step)
    >>> freezer.share(), layer.ternary_weight().tolist()
    (0.5, [[1, 0]])
    """

    def __init__(self, model: nn.Module, threshold: float, *, first: int, last: int) -> None:
        if not 0 < threshold < 1:
            raise PnbxValueError(f"FlipFreezer: threshold must be in (0, 1), got {threshold}")
        self._threshold, self._first, self._last = threshold, first, last
        self._matrices: dict[str, _Matrix] = {}
        for name, module in model.named_modules():
            latent = module._parameters.get("weight", module._parameters.get("K"))
            if hasattr(module, "rounded") and latent is not None:
                kinds = (torch.int8, torch.int8, latent.dtype, latent.dtype, torch.bool)
                known = [torch.zeros_like(latent, dtype=kind, requires_grad=False) for kind in kinds]
                self._matrices[name] = _Matrix(latent, getattr(module, "scale", "absmean"), *known)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Look at the weights after a step of the optimiser, freeze those that flip too often, hold those frozen."""
        if step < self._first:
            return
        done = (step - self._first) / max(1, self._last - self._first)
        threshold = self._threshold * (1 + (FIRST_THRESHOLD - 1) * 0.5 * (1 + math.cos(math.pi * done)))
        for latent, scale, before, moved, frequency, mean, frozen in self._matrices.values():
            rounded, gamma = ternarize(latent, scale=scale)  # type: ignore[arg-type]  # a WeightScale of a layer
            rounded = torch.where(frozen, mean, rounded)  # the optimiser moves what is frozen, too
            if step == self._first:
                before.copy_(rounded)
                mean.copy_(rounded)
            direction = (rounded - before).sign_().to(torch.int8)
            flips = (direction * moved) < 0
            moved.copy_(torch.where(direction == 0, moved, direction))
            frequency.lerp_(flips.to(frequency), MOMENTUM)
            mean.lerp_(rounded, MOMENTUM)
            newly = (frequency > threshold) & ~frozen
            frozen |= newly
            mean.copy_(torch.where(newly, mean.round(), mean))  # a whole number from now on
            latent.copy_(torch.where(frozen, mean * gamma, latent))
            before.copy_(torch.where(frozen, mean, rounded))

    def share(self) -> float:
        """Return the share of all ternary weights that are frozen."""
        sizes = [matrix.frozen.numel() for matrix in self._matrices.values()]
        return sum(int(matrix.frozen.sum()) for matrix in self._matrices.values()) / max(1, sum(sizes))

    def state(self) -> Tensors:
        """Return what is known of the weights: what a training needs to go on, and may be written into."""
        names = ("ternary", "moved", "frequency", "mean", "frozen")
        return {f"{of}.{name}": getattr(matrix, name) for of, matrix in self._matrices.items() for name in names}
