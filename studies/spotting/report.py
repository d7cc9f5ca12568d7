"""The tables of what was measured on test streams."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return a mean over seeds, and its standard deviation where there are several.

    Examples
    --------
    >>> spread([1.0, 2.0]), spread([3.0])
    ('1.5 ± 0.5', '3.0')
    """
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values):.{digits}f}"


def report(every: Sequence[dict[str, Any]]) -> str:
    """Return tables in Markdown: by background and level, by digit, and what it takes. One entry a seed."""
    lines = [
        "| background | SNR | words | missed | another digit heard | false alarms an hour | median delay |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows = [("all", "", [one["test"] for one in every])]
    for number, condition in enumerate(every[0]["conditions"]):
        level = f"{condition['snr_db']:g} dB"
        rows.append((condition["background"], level, [one["conditions"][number] for one in every]))
    for name, level, found in rows:
        delays = [1000 * one["delay_s"][1] for one in found if one["delay_s"]]
        lines.append(
            f"| {name} | {level} | {sum(one['words'] for one in found):,} | "
            f"{spread([100 * one['misses'] for one in found])} % | "
            f"{spread([100 * one['wrong'] for one in found])} % | "
            f"{spread([one['false_alarms_an_hour'] for one in found])} | "
            f"{spread(delays, 0) if delays else '-'} ms |"
        )
    digits = [[one["test"]["misses_by_digit"][digit] for one in every] for digit in range(10)]
    shares = [spread([100 * share for share in some if share is not None]) for some in digits]
    lines += ["", "| digit | " + " | ".join(map(str, range(10))) + " |", "| --- " * 11 + "|"]
    lines += ["| missed, % | " + " | ".join(shares) + " |", ""]
    for one in every:
        speed, live, rule = one["speed"], one["live"], one["rule"]
        lines.append(
            f"- seed {one['seed']}: rule {rule}; {one['validation_accuracy']:.1%} of validation windows, program and "
            f"network agree on {one['agreement']['labels_equal']:.2%}; a step takes {speed['step_us_median']:.1f} us, "
            f"from sound to answer {live['frame_us_median']:.0f} us of the 10,000 us of a frame, which grows by "
            f"{live['grew_bytes']:,} bytes; {speed['weight_bytes']:,} bytes of weights, {speed['parameter_bytes']:,} "
            f"of parameters, {speed['state_bytes']:,} of state; {one['test']['hours']:.2f} h of sound"
        )
    return "\n".join(lines)
