"""Sequences of different lengths in one batch: which steps are a sample's own, and what looks at those alone."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from pnbx_snn.errors import PnbxValueError, ShapeError


def own_steps(where: str, lengths: Int64[Tensor, " _"], num_steps: int, batch: int) -> Bool[Tensor, "T B"]:
    """Return which steps belong to samples of these lengths (one for each, in 1..num_steps, else an error), time first.

    Examples
    --------
    >>> own_steps("here", torch.tensor([1, 2]), 2, 2)
    tensor([[ True,  True],
            [False,  True]])
    """
    if lengths.shape != (batch,):
        raise ShapeError(f"{where}: lengths must be [{batch}], one for each sample, got {list(lengths.shape)}")
    if int(lengths.min()) < 1 or int(lengths.max()) > num_steps:
        raise PnbxValueError(
            f"{where}: lengths must be in 1..{num_steps}, the steps there are, got {int(lengths.min())} to "
            f"{int(lengths.max())}"
        )
    return torch.arange(num_steps, device=lengths.device).unsqueeze(1) < lengths


def zeroed(x: Float[Tensor, "T B N"], own: Bool[Tensor, "T B"] | None) -> Float[Tensor, "T B N"]:
    """Return ``x`` with zeros in steps that are no sample's own, whatever stood there (NaN too).

    Examples
    --------
    >>> zeroed(torch.full((2, 1, 1), torch.nan), torch.tensor([[False], [False]])).flatten()
    tensor([0., 0.])
    """
    return x if own is None else torch.where(own.unsqueeze(2), x, x.new_zeros(()))


def running_mean(x: Float[Tensor, "T *rest"]) -> Float[Tensor, "T *rest"]:
    """Return the mean of the steps so far, after each step.

    Examples
    --------
    >>> running_mean(torch.tensor([1.0, 2.0, 6.0])).tolist()
    [1.0, 1.5, 3.0]
    """
    num_steps = torch.arange(1, len(x) + 1, device=x.device).reshape(-1, *[1] * (x.ndim - 1))
    return x.cumsum(dim=0) / num_steps


def normalised(
    norm: nn.Module, x: Float[Tensor, "*steps N"], own: Bool[Tensor, "T B"] | None = None
) -> Float[Tensor, "*steps N"]:
    """Return a batch norm's output over all leading axes; steps that are no sample's own have no part in it, and get 0.

    Examples
    --------
    >>> norm, own = nn.BatchNorm1d(1), torch.tensor([[True, True], [False, True]])
    >>> x = torch.tensor([[[1.0], [2.0]], [[999.0], [3.0]]])
    >>> normalised(norm, x, own)[1, 0].item(), round(norm.running_mean.item(), 6)
    (0.0, 0.2)
    """
    if own is None:
        y: Tensor = norm(x.flatten(0, -2)).reshape(x.shape)
        return y
    rows: Tensor = norm(x[own])
    return rows.new_zeros(x.shape).masked_scatter(own.unsqueeze(2), rows)
