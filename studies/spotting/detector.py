"""From the answers of every step to detections: a moving sum, a threshold, and silence after each."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pnbx_snn.data.mel import HOP, SAMPLE_RATE_HZ, WINDOW
from studies.spotting.sounds import Word
from studies.spotting.windows import NOTHING

TOLERANCE_S = 0.5
"""A word counts as found from its beginning until so long after its end."""


class Rule(NamedTuple):
    r"""When a digit is said to be heard.

    With :math:`S_c` the sum of class c's answers over the last ``summed`` steps and :math:`d` the digit with the
    largest, the digit is heard where :math:`S_d - S_{nothing} > \text{threshold}` for ``held`` steps in a row with the
    same :math:`d`. Then nothing is heard for ``silent`` steps, and until the difference has fallen to the threshold: a
    word is heard once. All of it are integers.
    """

    threshold: int
    summed: int
    held: int
    silent: int


class Detector:
    """A :class:`Rule` one step after the other, in memory that does not grow.

    Examples
    --------
    >>> detector = Detector(Rule(threshold=3, summed=2, held=1, silent=10), num_classes=11)
    >>> answers = np.zeros((3, 11), np.int32)
    >>> answers[:, 7] = 2
    >>> [detector.step(one) for one in answers]
    [None, 7, None]
    """

    def __init__(self, rule: Rule, *, num_classes: int = NOTHING + 1) -> None:
        self.rule = rule
        self._last = np.zeros((rule.summed, num_classes), np.int64)
        self._sum = np.zeros(num_classes, np.int64)
        self._place, self._quiet, self._run, self._digit, self._fell = 0, 0, 0, -1, True

    def step(self, answers: NDArray[np.integer]) -> int | None:
        """Take the answers ``[C]`` of a step; return the digit that is heard, or ``None``."""
        self._sum += answers - self._last[self._place]
        self._last[self._place] = answers
        self._place = (self._place + 1) % self.rule.summed
        digit = int(self._sum[:NOTHING].argmax())
        above = self._sum[digit] - self._sum[NOTHING] > self.rule.threshold
        self._run = self._run + 1 if above and digit == self._digit else int(above)
        self._digit = digit
        self._quiet -= 1
        self._fell = self._fell or not above
        if self._run < self.rule.held or self._quiet > 0 or not self._fell:
            return None
        self._quiet, self._fell = self.rule.silent, False
        return digit


class Margins(NamedTuple):
    """Of each step of a stream: the digit with the largest sum, and by how much it is above "nothing"."""

    digit: NDArray[np.int64]
    margin: NDArray[np.int64]


def margins(answers: NDArray[np.integer], summed: int) -> Margins:
    """Sum the answers ``[T, C]`` of all steps over the last ``summed`` of each."""
    total = np.cumsum(answers, axis=0, dtype=np.int64)
    total[summed:] -= total[:-summed].copy()
    digit = total[:, :NOTHING].argmax(axis=1)
    return Margins(digit, total[np.arange(len(total)), digit] - total[:, NOTHING])


def detections(found: Margins, rule: Rule) -> list[tuple[int, int]]:
    """Return (step, digit) of everything that a :class:`Detector` hears in a stream, without going step by step."""
    above = found.margin > rule.threshold
    changed = np.flatnonzero(np.diff(found.digit)) + 1
    broken = np.zeros(len(above), np.int64)  # where a run starts anew
    broken[changed] = changed
    broken[1:] = np.maximum(broken[1:], np.where(above[:-1], 0, np.arange(1, len(above))))
    run = np.arange(len(above)) - np.maximum.accumulate(broken) + 1
    ready, fallen = np.flatnonzero(above & (run >= rule.held)), np.append(np.flatnonzero(~above), len(above))
    heard, place = [], 0
    while place < len(ready):
        step = int(ready[place])
        heard.append((step, int(found.digit[step])))
        fell = int(fallen[np.searchsorted(fallen, step)])
        place = int(np.searchsorted(ready, max(step + rule.silent, fell)))
    return heard


class Score(NamedTuple):
    """What became of a stream: for each word the delay from its end in seconds (nan: missed), and the mistakes.

    ``false_alarms`` were heard while nothing was said, or a word was heard a second time; ``wrong`` are other digits
    than the one that was said at that time.
    """

    digits: NDArray[np.int64]
    delays_s: NDArray[np.float64]
    false_alarms: int
    wrong: int
    hours: float


def score(heard: list[tuple[int, int]], words: list[Word], num_samples: int) -> Score:
    """Compare detections with what was said.

    A detection is known at the end of its frame. It is a hit if its digit was said and that word began before and ended
    at most 0.5 s before that; of several right ones of one word the first one counts, the others are false alarms.
    Another digit at such a time is a wrong one: the word is missed, unless its own digit is heard too.
    """
    delays = np.full(len(words), np.nan)
    starts = np.array([word.start for word in words])
    false_alarms = wrong = 0
    for step, digit in heard:
        now = step * HOP + WINDOW
        number = int(np.searchsorted(starts, now)) - 1
        word = words[number] if number >= 0 else None
        if word is None or now - word.end > TOLERANCE_S * SAMPLE_RATE_HZ:
            false_alarms += 1
        elif word.digit != digit:
            wrong += 1
        elif not np.isnan(delays[number]):
            false_alarms += 1
        else:
            delays[number] = (now - word.end) / SAMPLE_RATE_HZ
    hours = num_samples / SAMPLE_RATE_HZ / 3600
    return Score(np.array([word.digit for word in words]), delays, false_alarms, wrong, hours)


def added(scores: list[Score]) -> Score:
    """Return the score of several streams together."""
    return Score(
        np.concatenate([one.digits for one in scores]),
        np.concatenate([one.delays_s for one in scores]),
        sum(one.false_alarms for one in scores),
        sum(one.wrong for one in scores),
        sum(one.hours for one in scores),
    )
