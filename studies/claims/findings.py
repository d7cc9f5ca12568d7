"""What a report says first: the goals of the comparison, met or missed, and where the rivals win."""

from __future__ import annotations

from studies.claims.evidence import EQUAL, MEASURE, NATIVE, Measurements, missing
from studies.report.words import seconds

GOALS: tuple[tuple[str, int, float, str], ...] = (
    ("latency_ratio", 2048, 20, "a step at 2,048"),
    ("latency_ratio", 8192, 20, "a step at 8,192"),
    ("memory_ratio", 8192, 10, "resident memory at 8,192"),
    ("memory_ratio", 100_000, 100, "resident memory at 100,000"),
)


def findings(m: Measurements) -> list[str]:
    """Return sentences on what was measured: goals first, then what the rivals do better.

    Examples
    --------
    >>> findings(Measurements())
    ['Nothing here was timed: not measured on this machine: python -m studies.measurements.run FOLDER']
    """
    if not m:
        return [f"Nothing here was timed: {missing(MEASURE)}"]
    met = []
    for quantity, length, goal, words in GOALS:
        row = m.find(quantity, length=length)
        if row is not None:
            said = "met" if row.value >= goal else "missed"
            met.append(f"{words}: {row.value:,.1f} times less than the best equal Transformer (goal {goal:g}: {said})")
    growth = m.all("state_growth", model=NATIVE)
    if growth:
        said = "met" if growth[-1].value == 0 else "missed"
        met.append(f"growth up to {growth[-1].length:,} steps: {growth[-1].value:,.0f} bytes (goal 0: {said})")
    found = [f"PNB-X native, one stream: {'; '.join(met)}."] if met else []
    return found + _rivals(m)


def _rivals(m: Measurements) -> list[str]:
    """Return where others are better, or nearly as good."""
    better = []
    ours = m.find("training_throughput", model=NATIVE)
    for row in m.all("training_throughput"):
        if ours is not None and row.model != NATIVE and not row.model.startswith(NATIVE) and row.value > ours.value:
            better.append(f"{row.model} trains {row.value / ours.value:.2f} times faster")
    step = m.find("latency_p50", model=NATIVE, form="native")
    gru = m.find("latency_p50", model="GRU", form="int8")
    if step is not None and gru is not None:
        better.append(
            f"a GRU of equal size in int8 has a constant state too, and takes {gru.value / step.value:.1f} times as "
            f"long a step ({seconds(float(gru.value))})"
        )
    length = min((row.length or 0 for row in m.all("total_time", model=NATIVE)), default=0)
    rows = [r for r in m.all("total_time", model=EQUAL) if r.length == length and "decoding" not in r.form]
    whole = m.find("total_time", model=NATIVE, form="native", length=length)
    if rows and whole is not None:
        best = min(rows, key=lambda row: row.value)
        ratio = best.value / whole.value
        words = f"reading {length:,} tokens at once narrows the gap: {best.form} {ratio:.1f} times PNB-X's time"
        better.append(words if ratio >= 1 else f"{words}: the Transformer wins")
    mlp = m.find("image_p50", model="MLP", form="int8")
    image = m.find("image_p50", model=NATIVE)
    if mlp is not None and image is not None:
        better.append(f"for one static image an int8 perceptron takes {mlp.value / image.value:.1f} times as long")
    if not better:
        return []
    return [f"Where the gap is small or rivals win: {'; '.join(better)}. What networks remember is another question: "
            "see the memory tasks of docs/results.md."]  # fmt: skip
