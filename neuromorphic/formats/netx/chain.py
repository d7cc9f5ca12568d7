"""A chain of layers while it is read: its operations, what the next layer reads, and how late that is."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.formats.netx.fields import Group
from neuromorphic.integers.numbers import INT32_MAX
from neuromorphic.ops import Delays, Input, Operation
from neuromorphic.wording import counted

MAX_UNITS = 1 << 24
"""Units of all layers together: a few numbers of a file can ask for many, and each takes memory."""
MAX_DELAY = 62  # what Lava's synapses hold
OpT = TypeVar("OpT", bound=Operation)


class Chain:
    """The operations of a chain of layers.

    Attributes
    ----------
    ops, notes, late_biases
        The operations so far, what slayer or Lava would do otherwise, and neurons whose biases slayer counts otherwise.
    shape
        Of what the next layer reads: ``(channels, rows, columns)``, ``(size,)`` of no image, ``()`` before any layer.
    graded, shift
        Whether that is graded, and by how many bits it is to be shifted to the left.
    number, layer_steps
        Of the layer that is read, from 1, and steps that a layer takes.
    """

    def __init__(self, layer_steps: int) -> None:
        self.ops: list[Operation] = []
        self.notes: list[str] = []
        self.late_biases: list[str] = []
        self.shape: tuple[int, ...] = ()
        self.graded = False
        self.shift = 0
        self.number = 0
        self.layer_steps = layer_steps
        self._delay: NDArray[np.int64] | None = None
        self._units = 0

    @property
    def source(self) -> Operation:
        """What the next layer reads."""
        return self.ops[-1]

    def reserve(self, group: Group, shape: tuple[int, ...]) -> int:
        """Return the units of a shape, before memory is taken for them."""
        size = math.prod(shape)
        self._units += size
        if self._units > MAX_UNITS:
            raise group.refuse(f"this layer and those before have {self._units} units, at most {MAX_UNITS} are read")
        return size

    def add(self, op: OpT) -> OpT:
        """Append an operation."""
        self.ops.append(op)
        return op

    def begin(self, group: Group, shape: tuple[int, ...], **fields: Any) -> None:
        """Append the input."""
        self.add(Input("input", self.reserve(group, shape), **fields))
        self.shape = shape

    def delay(self, group: Group, shape: tuple[int, ...]) -> None:
        """Let the spikes of the last layer come later, as its field says: one number, or one a channel."""
        if "delay" in group:
            steps = group.per_channel("delay", 0, MAX_DELAY, shape)
            self._delay = steps if steps.any() else None

    def arriving(self) -> Operation:
        """Return what reaches the next layer: the source, delayed where it is."""
        late = np.int64(self.layer_steps) if self._delay is None else self._delay + self.layer_steps
        self._delay = None
        if not late.any():
            return self.source
        source, name = self.source, f"late{self.number}"
        span = {"low": -INT32_MAX, "high": INT32_MAX} if source.kind == "values" else {}
        if source.kind == "events" and source.event_range != (0, 1):
            span = dict(zip(("low", "high"), source.event_range, strict=True))
        return self.add(Delays(name, source.name, np.broadcast_to(late, (source.size,)).astype(np.int32), **span))

    def end(self) -> None:
        """Say of the whole chain what slayer does otherwise, and what is left out."""
        if self.late_biases:
            self.notes.append(
                f"{', '.join(self.late_biases)}: biases count from the step in which a sample's first events arrive, "
                "as with reset_interval in lava-dl; in slayer they count from the first step, before the layer's "
                "input is there"
            )
        if self._delay is not None:
            self.notes.append(
                f"the last layer's spikes are those before its delay of up to {counted(int(self._delay.max()), 'step')}"
            )
