"""What networks in floating point, without spikes, have in common with those that are trained here."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn


class FloatNetwork(nn.Module):
    """A network without spikes and ternary weights that is trained and evaluated as the others are; abstract.

    A kind of it says in ``section`` where a configuration describes it, and in ``forward`` what its logits are.
    """

    section: ClassVar[str]

    def calibrate(self, x: Float[Tensor, "B *shape"]) -> None:
        """Do nothing: floating point has no input scale."""

    def classify(
        self, x: Float[Tensor, "B *shape"], *, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "B C"], tuple[()]]:
        """Return logits and no spikes."""
        return self(x), ()
