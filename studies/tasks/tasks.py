"""The tasks of docs/results.md: what is asked of each, and how many bytes its weights may take."""

from typing import NamedTuple


class Task(NamedTuple):
    """A task: its title, the least and the wanted accuracy in percent, and the bytes that weights may take at most."""

    title: str
    must: float | None
    aim: float
    most_bytes: int


TASKS = {
    "static": Task("MNIST, static", 99.45, 99.60, 1_250_000),
    "pixels": Task("MNIST as a set of pixels", 98.85, 99.05, 1_250_000),
    "rows": Task("MNIST row by row", 99.30, 99.52, 110_000),
    "spoken": Task("spoken digits, official split", 99.60, 99.78, 210_000),
    "unheard": Task("spoken, unheard speaker", 86.0, 92.0, 210_000),
    "pixel_by_pixel": Task("MNIST pixel by pixel, 784 steps", None, 98.50, 210_000),
    "dense": Task("smallest dense network, MNIST", 99.00, 99.00, 12_000),
    "conv": Task("smallest convolutional network, MNIST", 99.50, 99.60, 13_000),
}
