"""What can be drawn: arrays and tensors of every kind, mappings of layers, recordings; and the part chosen of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pnbx_plot.errors import PlotError

Range = tuple[int, int] | slice | None


@dataclass(frozen=True)
class Events:
    """Where an array ``[T, N]`` is not 0, for arrays that are too large to hold: 100,000 steps of 100,000 neurons.

    Parameters
    ----------
    steps, neurons : NDArray
        ``[E]``, in any order, each pair once.
    shape : tuple of int
        ``(T, N)``.
    values : NDArray or None
        ``[E]``; ``None``: all are 1.
    """

    steps: NDArray[Any]
    neurons: NDArray[Any]
    shape: tuple[int, int]
    values: NDArray[Any] | None = None


def as_array(values: Any) -> Any:
    """Return a tensor (recognised by its ``detach``), a list of them or what NumPy takes as an array.

    A sparse matrix becomes :class:`Events`. bfloat16, which NumPy lacks, becomes float32.

    Examples
    --------
    >>> as_array([[0, 1], [1, 0]]).shape
    (2, 2)
    """
    if isinstance(values, Events):
        return values
    if isinstance(values, (list, tuple)) and any(hasattr(value, "detach") for value in values):
        return np.stack([_dense(value) for value in values])
    if hasattr(values, "detach"):
        values = values.detach()
        if getattr(values, "is_sparse", False) and values.ndim == 2:
            values = values.cpu().coalesce()
            steps, neurons = values.indices().numpy()
            return Events(steps, neurons, tuple(values.shape), _dense(values.values()))
        return _dense(values)
    if hasattr(values, "tocoo"):  # SciPy
        found = values.tocoo()
        return Events(found.row, found.col, found.shape, found.data)
    return np.asarray(values)


def _dense(value: Any) -> NDArray[Any]:
    if not hasattr(value, "detach"):
        return np.asarray(value)
    value = value.detach().cpu()
    if hasattr(value, "to_dense") and str(value.layout) != "torch.strided":
        value = value.to_dense()
    if value.is_floating_point() and value.element_size() < 4:
        value = value.float()
    array: NDArray[Any] = value.numpy()
    return array


def layers_of(what: Any, *, default: str = "spikes") -> dict[str, Any]:
    """Return the arrays of a mapping, of a recording (its spikes) or of one layer by their names."""
    if hasattr(what, "variables") and callable(getattr(what, "spikes", None)):
        found = what.spikes()
        if not found:
            raise PlotError(f"this recording holds no spikes, only {', '.join(what.variables) or 'nothing'}")
        return dict(found)
    if isinstance(what, Mapping):
        if not what:
            raise PlotError("layers must name at least one layer, got none")
        return dict(what)
    return {default: what}


def sample_lengths(what: Any) -> Any:
    """Return the steps that belong to each sample of a recording ``[B]``, or ``None``: all."""
    return what.lengths if hasattr(what, "variables") else None


def chosen_layers(where: str, layers: Mapping[str, Any], only: Sequence[str] | None) -> dict[str, Any]:
    """Return the layers named in ``only``, in its order; ``None``: all."""
    if only is None:
        return dict(layers)
    unknown = [name for name in only if name not in layers]
    if unknown or not only:
        raise PlotError(f"{where}: layers must be among {', '.join(layers)}, got {', '.join(only) or 'none'}")
    return {name: layers[name] for name in only}


def one_sample(where: str, name: str, values: Any, sample: int, *, vector: bool = False) -> Any:
    """Return ``[T, N]`` of one sample: ``[T, N]`` as it is, ``[T, B, ...]`` flattened; with ``vector`` also ``[T]``.

    Raises
    ------
    PlotError
        When it has another number of axes or is empty, or there is no such sample.
    """
    array = as_array(values)
    if isinstance(array, Events):
        return array
    if vector and array.ndim == 1 and array.size:
        return array[:, None]
    if array.ndim < 2 or array.size == 0 or array.dtype.kind not in "biuf":
        allowed = "[T], [T, N] or [T, B, N]" if vector else "[T, N] or [T, B, N]"
        raise PlotError(
            f"{where}: {name} must be numbers {allowed} and not empty, got {array.dtype} of shape {list(array.shape)}"
        )
    if array.ndim > 2:
        if not 0 <= sample < array.shape[1]:
            raise PlotError(f"{where}: sample must be in 0..{array.shape[1] - 1} for {name}, got {sample}")
        array = array[:, sample].reshape(len(array), -1)
    return array


def bounds(where: str, name: str, chosen: Range, count: int) -> tuple[int, int]:
    """Return the first and the end of a range ``(a, b)`` or slice within ``count``; ``None``: all."""
    if chosen is None:
        return 0, count
    first, end = (chosen.start, chosen.stop) if isinstance(chosen, slice) else chosen
    first, end = 0 if first is None else int(first), count if end is None else min(int(end), count)
    if not 0 <= first < end:
        raise PlotError(f"{where}: {name} must be a:b with 0 <= a < b and a < {count}, got {chosen}")
    return first, end


def is_range(chosen: Any) -> bool:
    """Whether neurons are chosen as a range ``(a, b)`` or slice; a list or an array names single ones."""
    return chosen is None or isinstance(chosen, (slice, tuple))


def neuron_numbers(where: str, chosen: Any, count: int) -> NDArray[np.int64]:
    """Return the numbers of chosen neurons: of a range ``(a, b)`` or a list of numbers."""
    if is_range(chosen):
        return np.arange(*bounds(where, "neurons", chosen, count))
    numbers = np.asarray(chosen, dtype=np.int64).reshape(-1)
    if not len(numbers) or numbers.min() < 0 or numbers.max() >= count:
        raise PlotError(f"{where}: neurons must be in 0..{count - 1}, got {list(chosen)}")
    return numbers
