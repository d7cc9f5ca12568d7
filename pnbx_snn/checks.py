"""The checks of what a layer is made of and of what goes into it, in the same words everywhere, on every device."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, get_args

import torch
from annotated_types import Interval
from torch import Tensor

from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.wording import counted

# Ranges stand in the signatures of the networks; a configuration reads and states them from there. Their upper ends are
# for files from elsewhere: a layer itself takes any size that memory has room for.
Size = Annotated[int, Interval(ge=1, le=65_536)]
Steps = Annotated[int, Interval(ge=1, le=100_000)]
Share = Annotated[float, Interval(ge=0, lt=1)]


@dataclass(frozen=True)
class Written:
    """How a configuration writes an option that takes more in Python: ``Annotated[type in Python, Written(...)]``.

    Parameters
    ----------
    type
        What stands in the file.
    read
        What makes the option of it, with a ``ValueError`` for what is not allowed; ``None``: the type, from a list.
    """

    type: Any
    read: Callable[[Any], Any] | None = None


def check_sizes(where: str, **sizes: int) -> None:
    """Raise a :class:`PnbxValueError` unless all sizes, given by name, are at least 1.

    Examples
    --------
    >>> check_sizes("MinGRU", d_hidden=4, d_rnn=0)
    Traceback (most recent call last):
    pnbx_snn.errors.PnbxValueError: MinGRU: d_hidden and d_rnn must be at least 1, got 4 and 0
    """
    if min(sizes.values()) < 1:
        raise PnbxValueError(
            f"{where}: {' and '.join(sizes)} must be at least 1, got {' and '.join(map(str, sizes.values()))}"
        )


def check_input(where: str, name: str, x: Tensor, axes: str, size: int) -> None:
    """Raise unless ``x`` has these axes (``"[T, B, H]"``), the last of this size, none empty, and is floating point.

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


def check_option(where: str, name: str, value: str, options: Any) -> None:
    """Raise a :class:`PnbxValueError` unless ``value`` is one of a ``Literal``."""
    if value not in get_args(options):
        raise PnbxValueError(f"{where}: {name} must be one of {', '.join(get_args(options))}, got {value!r}")


def check_shape(where: str, name: str, axes: str, x: Tensor, shape: Sequence[int]) -> None:
    """Raise a :class:`ShapeError` unless ``x`` has this shape."""
    if [*x.shape] != [*shape]:
        raise ShapeError(f"{where}: {name} must be {axes} = {[*shape]}, got {[*x.shape]}")


def check_finite(where: str, name: str, x: Tensor) -> None:
    """Raise a :class:`PnbxValueError` unless every value of ``x`` is finite.

    A NaN that reaches a neuron is below every threshold, so that it would come out as no spike and not as NaN. A tensor
    that is constant over its first axis is looked at once.

    Examples
    --------
    >>> import torch
    >>> check_finite("encoder", "input", torch.tensor([1.0, float("nan")]))
    Traceback (most recent call last):
    pnbx_snn.errors.PnbxValueError: encoder: input must be finite, got 1 value not finite
    """
    if not has_values(x):
        return
    broken = int((~torch.isfinite(x[:1] if x.ndim > 0 and x.stride(0) == 0 else x)).sum())
    if broken:
        raise PnbxValueError(f"{where}: {name} must be finite, got {counted(broken, 'value')} not finite")


def has_values(tensor: Tensor) -> bool:
    """Whether values can be looked at: not on ``meta``, nor while torch traces for export or compile."""
    return not (tensor.is_meta or torch.compiler.is_compiling())


def without_autocast(tensor: Tensor) -> AbstractContextManager[Any]:
    """Compute in the precision of the tensors themselves; ``meta`` knows no autocast."""
    return nullcontext() if tensor.is_meta else torch.autocast(tensor.device.type, enabled=False)


def transformed() -> bool:
    """Whether ``torch.func`` transforms what runs now (``grad``, ``vmap``, ...).

    An operator of torch with a backward pass of its own is none of torch's differentiable operations to it; what has
    such an operator for whole sequences goes by its definition then.
    """
    return bool(torch._C._are_functorch_transforms_active())


_HALF = (torch.float16, torch.bfloat16)


def wide(x: Tensor) -> Tensor:
    """Return ``x`` in float32 if it is in half precision, else as it is.

    What sums over steps needs this: a bfloat16 membrane of 4 stays 4 when 0.01 is added.
    """
    return x.float() if x.dtype in _HALF else x


def narrow(x: Tensor, like: Tensor) -> Tensor:
    """Return ``x`` in the dtype of ``like`` if that is half precision, else as it is: undo :func:`wide`."""
    return x.to(like.dtype) if like.dtype in _HALF else x
