"""The rule is chosen on validation streams; test streams then see it once, and at other thresholds for the curve."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from studies.spotting.detector import Rule, Score, added, detections, margins, score
from studies.spotting.streams import Heard

SUMMED, HELD, SILENT = (50, 65, 80), (1, 5, 10), (40, 60)
FALSE_ALARMS_AN_HOUR = 20.0
"""What a rule may have at most on the validation streams; of those, the one with the fewest misses is taken."""
NUM_THRESHOLDS = 40


def scored(streams: Iterable[Heard], rule: Rule) -> Score:
    """Return the score of a rule on all of some streams."""
    return added(
        [
            score(detections(margins(one.answers, rule.summed), rule), one.scene.words, len(one.scene.sound))
            for one in streams
        ]
    )


def misses(found: Score) -> float:
    """Return the share of words that were missed."""
    return float(np.mean(np.isnan(found.delays_s)))


def thresholds(streams: Sequence[Heard], summed: int) -> NDArray[np.int64]:
    """Return thresholds from 0 up to the largest margin in some streams."""
    largest = max(int(margins(one.answers, summed).margin.max()) for one in streams)
    return np.unique(np.linspace(0, largest, NUM_THRESHOLDS).astype(np.int64))


def curve(streams: Sequence[Heard], rule: Rule) -> list[tuple[int, float, float]]:
    """Return (threshold, misses, false alarms an hour) at all thresholds, the rest of the rule as it is."""
    points = []
    for threshold in thresholds(streams, rule.summed).tolist():
        found = scored(streams, rule._replace(threshold=threshold))
        points.append((threshold, misses(found), found.false_alarms / found.hours))
    return points


def choose(streams: Sequence[Heard]) -> Rule:
    """Return the rule with the fewest misses among those with at most 20 false alarms an hour on these streams.

    Ties are broken by the fewer false alarms. If no rule is that quiet, the quietest one is returned.
    """
    best: tuple[float, float, float] | None = None
    chosen = Rule(0, SUMMED[-1], 1, SILENT[0])
    for summed, held, silent in itertools.product(SUMMED, HELD, SILENT):
        for threshold, missed, alarms in curve(streams, Rule(0, summed, held, silent)):
            over = max(alarms - FALSE_ALARMS_AN_HOUR, 0.0)
            if best is None or (over, missed, alarms) < best:
                best, chosen = (over, missed, alarms), Rule(threshold, summed, held, silent)
    return chosen
