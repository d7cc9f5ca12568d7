"""What a claim of the source document is, and how its figure is judged: what it prints against its own formula."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from pnbx_snn.errors import PnbxValueError

Verdict = Literal["right", "rounded", "wrong", "misleading", "unsupported", "definition", "no claim"]
VERDICTS: dict[Verdict, str] = {
    "right": "the figure or statement follows",
    "rounded": "off by less than 1 %: cut off or rounded on the way",
    "wrong": "the figure does not follow from its own formula, or the statement is false",
    "misleading": "the arithmetic holds, what it is said to show does not",
    "unsupported": "nothing in the document supports it",
    "definition": "a choice, not a claim",
    "no claim": "a plan, a wish or a reference",
}
TOLERANCE = 0.01
"""Up to here a figure counts as rounded."""
RECOMPUTE = "python -m studies.claims"
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


class Claim(NamedTuple):
    """One figure or statement.

    Parameters
    ----------
    id, where
        For example ``"M22"`` and the document's section ``"3.3"``.
    says
        What it says, in few words.
    claimed
        The figure as printed, with its unit: ``"88.0 %"``; a range is ``"10 to 20 times"``; ``""`` without one.
    recompute
        The document's own formula, done right, in that unit; ``None`` without one.
    judged
        Verdict where the arithmetic does not decide alone; a figure that is wrong stays wrong.
    reason
        Why it is not simply right.
    contradictions
        Numbers in :data:`studies.claims.contradictions.CONTRADICTIONS`.
    counted, modelled, measured
        Keys of :class:`studies.claims.facts.Facts`: what stands beside it.
    check
        The command that checks it.
    """

    id: str
    where: str
    says: str
    claimed: str = ""
    recompute: Callable[[], float | int] | None = None
    judged: Verdict | None = None
    reason: str = ""
    contradictions: tuple[str, ...] = ()
    counted: str = ""
    modelled: str = ""
    measured: str = ""
    check: str = RECOMPUTE


def printed(claimed: str) -> tuple[list[float], float]:
    """Return the numbers of a printed figure and half a unit of its last digit.

    Examples
    --------
    >>> printed("88.0 %"), printed("10 to 20 times"), printed("2.87e-21 J")[1] < 1e-23
    (([88.0], 0.05), ([10.0, 20.0], 0.5), True)
    """
    words = NUMBER.findall(claimed)
    if not words:
        raise PnbxValueError(f"claims: a figure to compare must hold a number, got {claimed!r}")
    mantissa, _, exponent = words[0].replace(",", "").partition("e")
    decimals = len(mantissa.partition(".")[2])
    return [float(word.replace(",", "")) for word in words], 0.5 * 10.0 ** (int(exponent or 0) - decimals)


def arithmetic(claimed: str, value: float | int) -> Literal["right", "rounded", "wrong"]:
    """Compare a printed figure with what its formula gives.

    A figure is right if the value rounds to it, rounded if it is the value cut off or within 1 %; a value inside a
    range is right.

    Examples
    --------
    >>> [arithmetic("88.0 %", value) for value in (88.04, 88.3, 89.5)]
    ['right', 'rounded', 'wrong']
    """
    numbers, half = printed(claimed)
    if len(numbers) == 2 and " to " in claimed:
        return "right" if numbers[0] - half <= value <= numbers[1] + half else "wrong"
    error = abs(value - numbers[0])
    if error <= half * (1 + 1e-9):
        return "right"
    near = error <= TOLERANCE * abs(value) or math.trunc(value / (2 * half)) * 2 * half == numbers[0]
    return "rounded" if near else "wrong"


def verdict(claim: Claim) -> Verdict:
    """Return the verdict of a claim: its figure's, unless something else than its figure is at fault."""
    if claim.recompute is None:
        if claim.judged is None:
            raise PnbxValueError(f"claims: {claim.id} has neither a formula nor a verdict")
        return claim.judged
    found = arithmetic(claim.claimed, claim.recompute())
    if found == "wrong" or claim.judged is None:
        return found
    return claim.judged
