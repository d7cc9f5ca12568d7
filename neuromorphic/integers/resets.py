"""How a spike resets a membrane: one word for what happens before the input of a step, one for after the spike."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple


class Reset(NamedTuple):
    """What a reset does; ``r = v > threshold`` says that the membrane was above the threshold before the step.

    Attributes
    ----------
    before
        Where ``r``: ``"forget"`` counts the membrane as 0; ``"lower"`` takes the threshold from the new membrane;
        ``"lose"`` sets the new membrane to 0, so that the input of the step is lost; ``"nothing"``.
    after
        Where it spikes: ``"zero"`` sets the membrane to 0; ``"subtract"`` takes the threshold from it, and returns what
        ``"lower"`` took; ``"nothing"``.
    """

    before: Literal["nothing", "forget", "lower", "lose"]
    after: Literal["nothing", "zero", "subtract"]


NO_RESET = Reset("nothing", "nothing")
RESETS: Mapping[str, Reset] = MappingProxyType(
    {
        "zero": Reset("nothing", "zero"),
        "subtract": Reset("nothing", "subtract"),
        "none": NO_RESET,
        "subtract_snntorch": Reset("lower", "subtract"),
        "zero_delayed": Reset("forget", "nothing"),
        "subtract_delayed": Reset("lower", "nothing"),
        "zero_with_input": Reset("lose", "nothing"),
    }
)
"""The names that programs use. ``subtract_snntorch`` is snnTorch's ``Leaky(reset_delay=False)`` with ``"subtract"``,
``*_delayed`` are ``Leaky(reset_delay=True)``, ``zero_with_input`` the late reset of snnTorch's other neurons."""
