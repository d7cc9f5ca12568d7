"""The one check of what goes into a layer: axes, size, dtype, in the same words everywhere."""

from torch import Tensor

from pnbx_snn.errors import PnbxTypeError, ShapeError


def check_input(where: str, name: str, x: Tensor, axes: str, size: int) -> None:
    """Raise unless ``x`` has these axes, the last of this size, none of them empty, and is floating point.

    Parameters
    ----------
    where
        Whose input it is; in front of the message.
    name
        What the input is called.
    x
        The input.
    axes
        For example ``"[T, B, H]"``.
    size
        Of the last axis.

    Raises
    ------
    ShapeError
        Another number of axes, another size, an empty axis.
    PnbxTypeError
        Not floating point.

    Examples
    --------
    >>> import torch
    >>> check_input("ssm", "events", torch.ones(4, 2, 3), "[T, B, H]", 5)
    Traceback (most recent call last):
    pnbx_snn.errors.ShapeError: ssm: events must be [T, B, H] with H = 5 and no empty axis, got shape [4, 2, 3]
    """
    if x.ndim != axes.count(",") + 1 or x.shape[-1] != size or x.numel() == 0:
        letter = axes.rstrip("]").rsplit(" ", 1)[-1]
        raise ShapeError(
            f"{where}: {name} must be {axes} with {letter} = {size} and no empty axis, got shape {[*x.shape]}"
        )
    if not x.is_floating_point():
        raise PnbxTypeError(f"{where}: {name} must be floating point, got {x.dtype}; convert with .float()")
