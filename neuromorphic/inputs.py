"""Inputs of a program: one rule for every dtype, so that no value changes without a scale that says how."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import InputError, InputWarning, warn_user
from neuromorphic.ops import Input
from neuromorphic.wording import counted

MAX_HELD = 1 << 31  # values of inputs that are held for all steps of a sample
CLIPPED = 0.01  # part of real inputs that may lie beyond the range of an input without a warning
EIGHT_BITS = (127, 255)  # largest integer of an input of real values in 8 bits
LITTLE = 0.15  # part of that range that integers should use


def as_array(inputs: Any) -> NDArray[Any]:
    """Return an array of anything like one; of a torch tensor its values, without gradient, from any device."""
    if hasattr(inputs, "detach"):
        inputs = inputs.detach().cpu()
        inputs = inputs.to_dense() if inputs.is_sparse else inputs
        inputs = inputs.float() if inputs.is_floating_point() and inputs.element_size() < 4 else inputs
    return np.asarray(inputs)


def quantize_input(x: NDArray[np.floating], scale: float, low: int, high: int) -> NDArray[np.int32]:
    """Real inputs to integers, at the edge of a program: ``clip(rint(x / scale), low, high)``.

    Rounding is half to even in float32, the same as ``torch.round(x / scale)`` in training. ``x`` has any shape and is
    finite; ``scale`` is the real value of one integer unit; ``low`` and ``high`` are allowed.

    Examples
    --------
    >>> quantize_input(np.array([0.0, 0.5, 9.0], dtype=np.float32), 1 / 127, -128, 127).tolist()
    [0, 64, 127]
    """
    quotient = x.astype(np.float32) / np.float32(scale)
    clipped: NDArray[np.float32] = np.clip(np.rint(quotient), low, high)
    return clipped.astype(np.int32)


def prepared(inputs: Any, port: Input, num_steps: int) -> NDArray[np.int32]:
    """Check inputs and bring them to int32 ``[T, B, N]``.

    Parameters
    ----------
    inputs : array
        ``[T, B, N]``, or ``[B, N]`` for a constant input held ``num_steps`` steps; a torch tensor of any float type
        will do. Integers and booleans are units of the input and taken as they are. Floats are real values: where
        the input has a ``scale`` other than 1 they are divided by it, rounded to the nearest and clipped to its
        range; where it has none (spikes, counts) they must be whole numbers.
    port : Input
        Of the program.
    num_steps : int
        Steps for which ``[B, N]`` is held.

    Raises
    ------
    InputError
        Wrong dtype, shape or range, NaN or infinity, fractions where the input has no scale, or an empty axis.
    """
    array = as_array(inputs)
    if array.dtype.kind not in "iufb":
        raise InputError(f"{port.name}: inputs must be integers or floats, got dtype {array.dtype}")
    if array.ndim not in (2, 3) or array.shape[-1] != port.size or array.size == 0:
        raise InputError(
            f"{port.name}: inputs must be [T, B, {port.size}] or [B, {port.size}] with T, B >= 1, "
            f"got {list(array.shape)}"
        )
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise InputError(
                f"{port.name}: inputs hold NaN or infinity ({counted(int((~np.isfinite(array)).sum()), 'value')})"
            )
        if port.scale != 1.0:
            _warn_of_clipping(array, port)
            array = quantize_input(array, port.scale, port.low, port.high)
        elif (fractions := array != np.rint(array)).any():
            raise InputError(
                f"{port.name}: inputs must be whole numbers in {port.low}..{port.high}, got "
                f"{counted(int(fractions.sum()), 'fraction')} such as {array[fractions][0]:.6g}; encode them as "
                "spikes, or compile with a scale"
            )
    elif port.scale != 1.0:
        _warn_of_small_integers(array, port)
    low, high = int(array.min()), int(array.max())
    if low < port.low or high > port.high:
        units = f"; integers are units of {port.scale:.4g}: hand real values over as floats" * (port.scale != 1.0)
        raise InputError(f"{port.name}: inputs must lie in {port.low}..{port.high}, got {low}..{high}{units}")
    if array.ndim == 2:
        if num_steps * array.size > MAX_HELD:
            raise InputError(
                f"{port.name}: [B, N] inputs are held {counted(num_steps, 'step')}, {num_steps * array.size} values, "
                f"at most {MAX_HELD} are; hand them over as [T, B, {port.size}]"
            )
        array = np.broadcast_to(array, (num_steps, *array.shape))
    return array.astype(np.int32, order="C")  # held inputs too: each step lies in one piece


def _warn_of_clipping(array: NDArray[Any], port: Input) -> None:
    """Warn where the range of the input takes something from more than a hundredth of real inputs."""
    low, high = port.low * port.scale, port.high * port.scale
    beyond = (array < low - 0.5 * port.scale) | (array > high + 0.5 * port.scale)
    if beyond.mean() > CLIPPED:
        remedy = "compile with an input_scale that fits them"
        if array.min() >= 0 and 100 * high < array.max() <= 255:
            remedy = "are these pixels of 0..255, and the network was trained on other values?"
        warn_user(
            f"{port.name}: {beyond.mean():.1%} of the inputs lie beyond {low:.4g}..{high:.4g} and are clipped (the "
            f"largest is {array.max():.4g}); {remedy}",
            InputWarning,
        )


def _warn_of_small_integers(array: NDArray[Any], port: Input) -> None:
    """Warn of integers that use little of the range of a real input, as pixels 0..16 do that should be floats."""
    largest = max(abs(int(array.min())), abs(int(array.max())))
    if port.high in EIGHT_BITS and 0 < largest < LITTLE * port.high:
        warn_user(
            f"{port.name}: integers are units of {port.scale:.4g}, so the largest input, {largest}, stands for "
            f"{largest * port.scale:.4g} of at most {port.high * port.scale:.4g}; hand real values over as floats",
            InputWarning,
        )


def warn_of_mistakes(inputs: NDArray[Any], port: Input, num_steps: int) -> None:
    """Warn of inputs that fit a program and are probably not what was meant.

    These are another number of steps than the program was compiled for, and nothing but zeros. The commands ask this;
    :func:`neuromorphic.run` does not, for which both are in order: streams end anywhere, and silence is an input.

    Parameters
    ----------
    inputs : NDArray
        As they were given, ``[T, B, N]`` or ``[B, N]``.
    port : Input
        Of the program.
    num_steps : int
        Of the program.
    """
    if inputs.ndim not in (2, 3) or inputs.shape[-1] != port.size:
        return  # refused where they are prepared
    if inputs.ndim == 3 and len(inputs) != num_steps:
        swapped = " (are the first two axes swapped?)" if inputs.shape[1] == num_steps else ""
        warn_user(
            f"{port.name}: the inputs have {counted(len(inputs), 'step')}, the program was compiled for {num_steps}"
            f"{swapped}: it runs {len(inputs)}, and labels are read after the last of these",
            InputWarning,
        )
    unit = port.scale if inputs.dtype.kind == "f" else 1.0
    if inputs.dtype.kind in "iufb" and inputs.size and np.abs(inputs).max() <= unit / 2:
        rounded = f" once they are rounded to units of {unit:.4g}" if inputs.any() else ""
        warn_user(f"{port.name}: all inputs are 0{rounded}", InputWarning)
