"""The model of more machines: what a training step costs on N of them, and how many recordings a queue answers.

All of it is *modelled* from constants that `studies.bench.scaling` measured, but for the network between machines.
"""

from __future__ import annotations

SUMS = 12
"""Small sums of a training step of one block, one after the other: docs/scale_out.md counts them."""


def step_seconds(
    machines: int, *, alone_s: float, gradient_bytes: float, bytes_per_s: float, latency_s: float, sums: int = SUMS
) -> float:
    """Return seconds of a step: its share of the work, gradients around a ring, and small sums that wait for latency.

    ``alone_s / N + 2 (N - 1) / N * bytes / bandwidth + 2 (N - 1) * (sums + 1) * latency``; nothing overlaps.
    """
    around = 2 * (machines - 1)
    return alone_s / machines + around / machines * gradient_bytes / bytes_per_s + around * (sums + 1) * latency_s


def recordings_per_s(
    workers: int, *, recording_s: float, task_s: float, in_a_task: int, recording_bytes: float, bytes_per_s: float
) -> float:
    """Return recordings a second: what workers can run, the scheduler hand out, or the store send, whichever is least.

    ``min(N / recording time, recordings in a task / task time, bandwidth / bytes of a recording)``
    """
    return min(workers / recording_s, in_a_task / task_s, bytes_per_s / recording_bytes)
