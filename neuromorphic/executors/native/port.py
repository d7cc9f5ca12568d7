"""What a network takes in: int32 or, for spikes, bits, checked so that compiled code can trust it."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import InputError
from neuromorphic.ops import Input


class Port:
    """The input of a program for ``batch`` samples."""

    def __init__(self, port: Input, batch: int) -> None:
        self.name, self.size, self.low, self.high, self.batch = port.name, port.size, port.low, port.high, batch
        self.takes_bits = (port.low, port.high) == (0, 1)
        self._shapes = ((batch, port.size), (batch, -(-port.size // 64)))

    def checked(self, inputs: NDArray[Any], *, one_step: bool = False) -> NDArray[Any]:
        """Return inputs ``[T, B, N]`` of a usable dtype, shape and layout; messages on one step leave out T."""
        if not isinstance(inputs, np.ndarray):
            raise InputError(f"{self.name}: inputs must be a NumPy array, got {type(inputs).__name__}")
        dtype, shape = inputs.dtype, inputs.shape
        packed = dtype == np.uint64 and self.takes_bits
        if not packed and dtype != np.int32:
            also = " or uint64 (bits)" if self.takes_bits else ""
            raise InputError(f"{self.name}: inputs must be int32{also}, got {dtype}; use inputs.astype('int32')")
        if len(shape) != 3 or shape[1:] != self._shapes[packed] or not shape[0]:
            first, got = ("", list(shape[1:])) if one_step else ("T >= 1, ", list(shape))
            wanted = f"[{first}{self.batch}, {self._shapes[packed][1]}]"
            raise InputError(f"{self.name}: inputs must be {wanted}, got {got}")
        if not inputs.flags.c_contiguous or not inputs.flags.aligned:
            raise InputError(f"{self.name}: inputs must be contiguous; use numpy.ascontiguousarray(inputs)")
        return inputs

    def refuse(self, inputs: NDArray[Any], bad: int) -> NoReturn:
        """Raise an error about the input that compiled code found to be out of range."""
        if inputs.dtype == np.uint64:
            step, sample = divmod(bad, self.batch)
            raise InputError(
                f"{self.name}: bits beyond the {self.size} channels must be 0, "
                f"they are not at step {step}, sample {sample}"
            )
        raise InputError(
            f"{self.name}: inputs must lie in {self.low}..{self.high}, got {int(inputs.flat[bad])} "
            f"at {[int(i) for i in np.unravel_index(bad, inputs.shape)]}"
        )
