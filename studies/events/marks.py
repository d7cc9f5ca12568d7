"""What the literature reaches on the event data sets: the mark to pass."""

from typing import NamedTuple


class Mark(NamedTuple):
    """An accuracy in percent, the network that reached it, and where that was published."""

    accuracy: float
    network: str
    source: str


DELAYS = "Sun, Achterberg, Su, Goodman and Akarca 2025, arXiv:2510.27434"
MARKS: dict[str, tuple[Mark, ...]] = {
    "shd": (
        Mark(90.0, "ternary weights, learned axonal delays of 3 bits, 22 kB", DELAYS),
        Mark(94.0, "4-bit weights, delays of 5 bits", DELAYS),
        Mark(95.1, "fp32, delays of every synapse, 0.2 M", "Hammouamri et al. 2024, arXiv:2306.17670"),
    ),
    "ssc": (
        Mark(80.7, "fp32, delays of every synapse, 2.5 M", "Hammouamri et al. 2024, arXiv:2306.17670"),
        Mark(81.0, "fp32, axonal delays, of which a fifth is enough", "arXiv:2602.09746"),
    ),
    "nmnist": (
        Mark(98.8, "fp32, 34 x 34 x 2 - 800 - 10, dense", "Wu et al. 2018, doi:10.3389/fnins.2018.00331"),
        Mark(99.5, "fp32, convolutions", "Wu et al. 2019, doi:10.1609/aaai.v33i01.33011311"),
    ),
    "dvs_gesture": (
        Mark(96.9, "fp32, ResNet-17, spiking", "Zheng et al. 2021, arXiv:2011.05280"),
        Mark(98.6, "fp32, convolutions, temporal attention", "Yao et al. 2021, arXiv:2107.11711"),
    ),
}
SAMPLES = {"shd": 8_156, "ssc": 75_466, "nmnist": 60_000, "dvs_gesture": 1_077}
"""Recordings of the training files, for an estimate of the time before they are there."""


def of(name: str) -> str:
    """Return the marks of a data set as lines."""
    return "\n".join(f"- {mark.accuracy:.1f} %: {mark.network} ({mark.source})" for mark in MARKS[name])
