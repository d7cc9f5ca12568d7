"""Two pictures: a minute of a stream with what was heard in it, and misses against false alarms."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import pnbx_plot
from neuromorphic import Program
from neuromorphic.executors.native import NativeNetwork
from pnbx_snn.data.mel import HOP, SAMPLE_RATE_HZ
from pnbx_snn.data.pcen import PCEN
from studies.spotting.detector import TOLERANCE_S, Rule, detections, margins
from studies.spotting.streams import Heard
from studies.spotting.windows import NUM_BANDS

SECONDS = 60
FRAMES_A_SECOND = SAMPLE_RATE_HZ // HOP
FOUND, WRONG = pnbx_plot.COLORS[2], pnbx_plot.ACCENT


def timeline(program: Program, stream: Heard, rule: Rule, path: Path) -> None:
    """Draw the first minute: sound, spikes of the block, the sums of all digits, what was said and what was heard."""
    from matplotlib import pyplot as plt

    frames = PCEN(NUM_BANDS)(stream.scene.sound[: SECONDS * SAMPLE_RATE_HZ])
    network = NativeNetwork(program)
    spikes = np.empty((len(frames), network.spikes("block1").shape[1]), np.uint8)
    for t, x in enumerate(program.prepare_inputs(frames[:, None])):
        network.step(x)
        spikes[t] = network.spikes("block1")[0]
    heard = [(t, digit) for t, digit in detections(margins(stream.answers, rule.summed), rule) if t < len(frames)]
    words = [word for word in stream.scene.words if word.start < SECONDS * SAMPLE_RATE_HZ]
    sums = np.cumsum(stream.answers[: len(frames)], axis=0, dtype=np.int64)
    sums[rule.summed :] -= sums[: -rule.summed].copy()
    above = sums[:, :10] - sums[:, 10:]
    with pnbx_plot.without_display(), pnbx_plot.style.use():
        figure, axes = plt.subplots(
            4, 1, figsize=(13, 7.6), sharex=True, height_ratios=[1.1, 1.6, 2.0, 1.8], layout="constrained"
        )
        extent = (0, len(frames) / FRAMES_A_SECOND, 0, 1)
        for ax, picture, colours, limit in ((axes[1], frames, "magma", 3.0), (axes[2], spikes, "Greys", 1.0)):
            ax.imshow(
                picture.T, origin="lower", aspect="auto", cmap=colours, vmin=0, vmax=limit, interpolation="nearest",
                extent=(*extent[:2], 0, picture.shape[1]),
            )  # fmt: skip
        axes[3].imshow(
            above.T, origin="lower", aspect="auto", cmap="Blues", vmin=0, vmax=np.quantile(above, 0.999),
            interpolation="nearest", extent=(*extent[:2], -0.5, 9.5),
        )  # fmt: skip
        _words(axes[0], words, heard)
        for step, digit in heard:
            good = any(word.digit == digit and _inside(step, word) for word in words)
            axes[3].plot(step / FRAMES_A_SECOND, digit, "o" if good else "X", ms=7, mfc="none" if good else WRONG,
                         mec=FOUND if good else WRONG, mew=1.6)  # fmt: skip
        axes[1].set_ylabel("what it hears\nmel band")
        axes[2].set_ylabel("what it does\nneuron, spikes")
        axes[3].set(ylabel="what it answers\ndigit above nothing", yticks=range(0, 10, 3), xlabel="seconds")
        axes[3].set_xlim(0, SECONDS)
        level = "silence" if stream.kind == "silence" else f"{stream.kind}, {stream.snr_db:g} dB below the words"
        figure.suptitle(f"A minute of digits in {level}: one step of the integer program every 10 ms")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
        plt.close(figure)


def _inside(step: int, word: Any) -> bool:
    now = step * HOP
    return bool(word.start < now <= word.end + TOLERANCE_S * SAMPLE_RATE_HZ)


def _words(ax: Any, words: Sequence[Any], heard: Sequence[tuple[int, int]]) -> None:
    """Draw what was said (boxes) over what was heard (digits)."""
    for word in words:
        begin, end = word.start / SAMPLE_RATE_HZ, word.end / SAMPLE_RATE_HZ
        hit = any(digit == word.digit and _inside(step, word) for step, digit in heard)
        ax.axvspan(begin, end, ymin=0.62, ymax=0.98, color=FOUND if hit else WRONG, alpha=0.35, lw=0)
        ax.text((begin + end) / 2, 0.8, str(word.digit), ha="center", va="center", fontweight="bold")
    for step, digit in heard:
        good = any(word.digit == digit and _inside(step, word) for word in words)
        colour = FOUND if good else WRONG
        ax.text(step / FRAMES_A_SECOND, 0.2, str(digit), ha="center", va="center", color=colour, fontweight="bold")
        ax.plot([step / FRAMES_A_SECOND] * 2, [0.38, 0.58], color=colour, lw=1, linestyle="-")
    ax.set(ylim=(0, 1), yticks=[0.2, 0.8], yticklabels=["heard", "said"])
    ax.tick_params(left=False)
    ax.spines[["left", "bottom"]].set_visible(False)


def curves(every: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw misses against false alarms an hour by level, an entry a seed; the chosen rule is a dot."""
    from matplotlib import pyplot as plt

    with pnbx_plot.without_display(), pnbx_plot.style.use():
        figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2), width_ratios=[1.5, 1], layout="constrained")
        levels = sorted(every[0]["curves"], key=float, reverse=True)
        for level, colour, line in zip(levels, pnbx_plot.COLORS, pnbx_plot.LINES, strict=False):
            for number, one in enumerate(every):
                points = np.array(one["curves"][level])
                points = points[int(points[:, 1].argmin()) :]  # a lower threshold misses more and alarms more
                name = "silence" if float(level) >= 50 else f"{level} dB"
                left.plot(
                    np.maximum(points[:, 2], 0.5), 100 * points[:, 1], color=colour, linestyle=line,
                    label=name if number == 0 else None, alpha=1 if len(every) == 1 else 0.7,
                )  # fmt: skip
                own = [x for x in one["conditions"] if f"{x['snr_db']:g}" == level]
                alarms = sum(x["false_alarms"] for x in own) / sum(x["hours"] for x in own)
                left.plot(max(alarms, 0.5), 100 * np.mean([x["misses"] for x in own]), "o", color=colour)
        left.set(xscale="log", xlabel="false alarms an hour (0.5: none)", ylabel="words missed, %", ylim=(0, 40))
        left.legend(title="speech to noise")
        left.grid(True, which="major")
        shares = [[100 * (one["test"]["misses_by_digit"][digit] or 0) for one in every] for digit in range(10)]
        right.bar(range(10), [np.mean(some) for some in shares], color=pnbx_plot.INK, width=0.7)
        for digit, some in enumerate(shares):
            right.plot([digit] * len(some), some, "o", color=pnbx_plot.ACCENT, ms=3)
        right.set(xticks=range(10), xlabel="digit", ylabel="words missed, %, all streams")
        figure.suptitle("Digits in noise: what is missed and what is heard by mistake")
        figure.savefig(path, dpi=130)
        plt.close(figure)
