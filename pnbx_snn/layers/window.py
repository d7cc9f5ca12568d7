"""``Window``: each step shows its own values and those of the steps before it."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pnbx_snn.checks import check_input, check_shape, check_sizes


class WindowState(NamedTuple):
    """What a :class:`Window` carries to the next step: its last k - 1 inputs, oldest first, ``[k - 1, B, N]``."""

    past: Tensor


class Window(nn.Module):
    r"""Show the last steps side by side, the newest first: a tapped delay line.

    .. math::

        y_t = [x_t, x_{t-1}, \dots, x_{t-k+1}], \qquad x_t = 0 \text{ for } t < 0

    A matrix behind it is a convolution over time. Nothing is learned here.

    Parameters
    ----------
    num_features, num_steps : int
        N values of a step, and k steps that are shown, at least 1 each.

    Notes
    -----
    Shapes: input ``[T, B, N]``, output ``[T, B, k N]``, state ``[k - 1, B, N]``, so that a stream needs no
    buffer of its own.

    Integer counterpart: a ``Delay`` of the input for each earlier step, and a ``Dense`` for each.

    Raises
    ------
    PnbxValueError, ShapeError
        A size below 1; input or state of another shape.

    References
    ----------
    Waibel et al. 1989, "Phoneme recognition using time-delay neural networks", IEEE TASSP 37(3).

    Examples
    --------
    >>> y, state = Window(1, 3)(torch.arange(1.0, 5.0)[:, None, None])  # [T, B, N]
    >>> y[:, 0].tolist()
    [[1.0, 0.0, 0.0], [2.0, 1.0, 0.0], [3.0, 2.0, 1.0], [4.0, 3.0, 2.0]]
    >>> state.past.flatten().tolist()
    [3.0, 4.0]
    """

    def __init__(self, num_features: int, num_steps: int) -> None:
        super().__init__()
        check_sizes("Window", num_features=num_features, num_steps=num_steps)
        self.num_features, self.num_steps = num_features, num_steps

    def forward(
        self, x: Float[Tensor, "T B N"], state: WindowState | None = None
    ) -> tuple[Float[Tensor, "T B M"], WindowState]:
        """Run all steps from ``state`` (``None``: zeros before the first step); see the class."""
        check_input("Window", "x", x, "[T, B, N]", self.num_features)
        shape = (self.num_steps - 1, *x.shape[1:])
        past = x.new_zeros(shape) if state is None else state.past
        check_shape("Window", "state.past", "[num_steps - 1, B, N]", past, shape)
        known = torch.cat([past.to(x.dtype), x])  # [k - 1 + T, B, N]
        newest = self.num_steps - 1
        shown = torch.cat([known[newest - back : newest - back + len(x)] for back in range(self.num_steps)], dim=2)
        return shown, WindowState(known[len(x) :].clone())  # a view would hold the whole sequence

    def extra_repr(self) -> str:
        """Say what ``print(window)`` shows."""
        return f"{self.num_features}, num_steps={self.num_steps}"
