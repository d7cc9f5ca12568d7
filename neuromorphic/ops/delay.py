"""``Delay``: events as they were some steps ago."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from neuromorphic.ops.base import MAX_SIZE, OneSource, State, checked_integer, operation

MAX_DELAY = 4096


@operation
@dataclass(frozen=True)
class Delay(OneSource):
    """Events as they were ``steps`` steps ago: ``y[t] = x[t - steps]``, 0 for ``t < steps``.

    This is the only operation that may stand before its source, so every loop passes through one. It alone has two
    phases: :meth:`read` before all other operations of a step, and :meth:`step` after them.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Events; a loop through a program passes through at least one ``Delay``.
    size : int
        Number of units.
    steps : int
        1..4096.
    """

    name: str
    source: str
    size: int
    steps: int = 1
    kind: ClassVar[str] = "events"
    accepts: ClassVar[tuple[str, ...]] = ("events",)

    def __post_init__(self) -> None:
        checked_integer(self.name, "size", self.size, 1, MAX_SIZE)
        checked_integer(self.name, "steps", self.steps, 1, MAX_DELAY)

    def states(self) -> dict[str, State]:
        """Return a ring of the last events, and the place of the oldest."""
        return {"ring": State((self.steps, self.size)), "place": State((1,), counts_steps=True)}

    def read(self, xp: Any, state: Any) -> Any:
        """Return the oldest events."""
        return xp.row(state.ring, state.place)

    def step(self, xp: Any, state: Any, x: Any) -> Any:
        """Write the newest events in the place of the oldest."""
        state.ring = xp.set_row(state.ring, state.place, x)
        after = state.place + 1
        state.place = xp.where(after >= self.steps, 0, after)
        return x
