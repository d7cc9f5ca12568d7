"""The rule is chosen on validation streams; test streams then see it once, and at other thresholds for the curve."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from studies.spotting.detector import Margins, Rule, Score, added, detections, margins, score
from studies.spotting.streams import Heard

SUMMED, HELD, SILENT = (40, 60, 80), (3, 8, 15), (30,)
FALSE_ALARMS_AN_HOUR = 10.0
"""What a rule may have at most on the validation streams; of those, the one with the fewest misses is taken."""
NUM_THRESHOLDS = 40


def summed(streams: Iterable[Heard], steps: int) -> list[tuple[Heard, Margins]]:
    """Return each stream with its margins."""
    return [(one, margins(one.answers, steps)) for one in streams]


def scored(streams: Iterable[tuple[Heard, Margins]], rule: Rule) -> Score:
    """Return the score of a rule on all of some streams, summed over as many steps as the rule says."""
    return added([score(detections(found, rule), one.scene.words, len(one.scene.sound)) for one, found in streams])


def misses(found: Score) -> float:
    """Return the share of words that were missed."""
    return float(np.mean(np.isnan(found.delays_s)))


def curve(streams: Sequence[tuple[Heard, Margins]], rule: Rule) -> list[tuple[int, float, float]]:
    """Return (threshold, misses, false alarms an hour) at 40 thresholds from 0 up to the largest margin."""
    largest = max(int(found.margin.max()) for _, found in streams)
    points = []
    for threshold in np.unique(np.linspace(0, largest, NUM_THRESHOLDS).astype(np.int64)).tolist():
        found = scored(streams, rule._replace(threshold=threshold))
        points.append((threshold, misses(found), found.false_alarms / found.hours))
    return points


def choose(streams: Sequence[Heard]) -> Rule:
    """Return the rule with the fewest misses among those with at most 10 false alarms an hour on these streams.

    Ties are broken by the fewer false alarms. If no rule is that quiet, the quietest one is returned.
    """
    best: tuple[float, float, float] | None = None
    chosen = Rule(0, SUMMED[-1], 1, SILENT[0])
    for steps in SUMMED:
        ready = summed(streams, steps)
        for held, silent in itertools.product(HELD, SILENT):
            for threshold, missed, alarms in curve(ready, Rule(0, steps, held, silent)):
                over = max(alarms - FALSE_ALARMS_AN_HOUR, 0.0)
                if best is None or (over, missed, alarms) < best:
                    best, chosen = (over, missed, alarms), Rule(threshold, steps, held, silent)
    return chosen
