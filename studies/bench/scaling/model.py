"""The model of more machines: what a training step costs on N of them, and how many recordings a queue answers.

All of it is *modelled* from constants that `studies.bench.scaling` measured, but for the network between machines.
"""

from __future__ import annotations

from typing import Any

SUMS = 12
"""Small sums of a training step of one block, one after the other: docs/scale_out.md counts them."""
MACHINES = (1, 2, 4, 8, 16, 32, 64)
NETWORKS = {"1 Gb/s": 0.125e9, "10 Gb/s": 1.25e9, "100 Gb/s": 12.5e9}
LATENCY_S = 30e-6
"""Of a message between machines; assumed, as the bandwidths are."""
RECORDING_STEPS, IN_A_TASK = 1000, 20


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


def training_speedup(found: dict[str, Any], machines: int, bytes_per_s: float, latency_s: float = LATENCY_S) -> float:
    """Return how many times as fast N machines train as one of them, each with one thread."""
    training = found["training"]
    alone_s = training["batch"] / training["rows"][0]["samples_per_s"]
    return alone_s / step_seconds(
        machines,
        alone_s=alone_s,
        gradient_bytes=training["gradient_bytes"],
        bytes_per_s=bytes_per_s,
        latency_s=latency_s,
    )


def queue_speedup(found: dict[str, Any], workers: int, bytes_per_s: float) -> float:
    """Return how many times as many recordings of a thousand steps N workers answer as one."""
    recording_s = RECORDING_STEPS / found["inference"]["rows"][0]["steps_per_s"]
    return recording_s * recordings_per_s(
        workers,
        recording_s=recording_s,
        task_s=found["link"]["task_s"] or 1e-3,
        in_a_task=IN_A_TASK,
        recording_bytes=RECORDING_STEPS * found["inference"]["step_bytes"],
        bytes_per_s=bytes_per_s,
    )
