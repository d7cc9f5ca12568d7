"""``Input``: where a program meets the world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from neuromorphic.errors import ProgramError
from neuromorphic.ops.base import MAX_SIZE, Operation, checked_integer, operation


@operation
@dataclass(frozen=True)
class Input(Operation):
    """Integers in ``low..high`` that come from outside; one unit stands for the real value ``scale``.

    Real inputs are converted once, outside the program: ``clip(rint(float32(x) / float32(scale)), low, high)``,
    rounding half to even.

    Parameters
    ----------
    name : str
        Name of the operation.
    size : int
        Number of channels.
    low, high : int
        Inclusive range; ``0, 1`` for spikes.
    scale : float
        Real value of one integer unit; real inputs are quantised by :func:`neuromorphic.inputs.quantize_input`.
    """

    name: str
    size: int
    low: int = 0
    high: int = 1
    scale: float = 1.0
    kind: ClassVar[str] = "events"
    sources: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        checked_integer(self.name, "size", self.size, 1, MAX_SIZE)
        checked_integer(self.name, "low", self.low, -(1 << 15), 0)
        checked_integer(self.name, "high", self.high, 1, 1 << 15)
        real = isinstance(self.scale, (int, float)) and not isinstance(self.scale, bool)  # 1.0 is 1 in other languages
        if not real or not 0.0 < self.scale < float("inf"):
            raise ProgramError(f"{self.name}: scale must be a positive finite float, got {self.scale!r}")
        object.__setattr__(self, "scale", float(self.scale))

    @property
    def event_range(self) -> tuple[int, int]:
        """What it was declared to give."""
        return (self.low, self.high)

    def step(self, xp: Any, state: Any, *inputs: Any) -> Any:
        """Never called: an executor hands over the inputs of the step."""
        raise NotImplementedError
