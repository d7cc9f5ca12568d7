"""The table of what was measured on the test files."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pnbx_snn.data.time_series import SERIES

HEAD = (
    "| data set | steps, channels, classes | bytes | PNB-X, program | GRU, int8 | GRU, fp32 | settings |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
)


def spread(values: Sequence[float]) -> str:
    """Return accuracies in percent, mean, standard deviation and each seed's.

    Examples
    --------
    >>> spread([0.5, 0.75])
    '62.5 ± 12.5 (50.0, 75.0)'
    """
    percent = 100 * np.array(values)
    return f"{percent.mean():.1f} ± {percent.std():.1f} ({', '.join(f'{value:.1f}' for value in percent)})"


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Return a table in Markdown, a row for each data set of which both networks were tested."""
    lines = [line for line in lines if "test" in line]
    rows = []
    for name, known in SERIES.items():
        ours, theirs = ([x for x in lines if (x["data"], x["network"]) == (name, kind)] for kind in ("PNB-X", "GRU"))
        if not ours or not theirs:
            continue
        sizes = f"{known.num_steps}, {known.channels}, {known.num_classes}"
        settings = "; ".join(
            ", ".join(f"{key} {value:g}" for key, value in some[0]["setting"].items()) for some in (ours, theirs)
        )
        rows.append(
            f"| `{name}` | {sizes} | {ours[0]['bytes']:,}; {theirs[0]['bytes']:,} "
            f"| {spread([x['test_program'] for x in ours])} | {spread([x['test_int8'] for x in theirs])} "
            f"| {spread([x['test'] for x in theirs])} | {settings} |\n"
        )
    return HEAD + "".join(rows)
