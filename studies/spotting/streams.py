"""Streams to choose and to measure on: scenes of every background and level, heard by a program one step at a time."""

import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromorphic import Program
from neuromorphic.executors.native import NativeNetwork
from pnbx_snn.data.fsdd import load_sounds
from pnbx_snn.data.mel import HOP
from pnbx_snn.data.pcen import PCEN
from pnbx_snn.data.split import Part
from studies.spotting.detector import Detector, Rule
from studies.spotting.sounds import Background, Scene, make_scene
from studies.spotting.windows import NUM_BANDS

ANSWERS = "readout_step.v"
"""The variable of the program that holds the answers of a step."""
GAP_S = (0.5, 6.0)
CONDITIONS: tuple[tuple[Background, float], ...] = (
    ("silence", 50.0),
    *((kind, snr_db) for snr_db in (20.0, 10.0, 5.0) for kind in ("white", "pink", "babble")),
)
"""Background and signal-to-noise ratio in decibels."""


class Heard(NamedTuple):
    """A scene, its condition, and the answers ``[T, C]`` of all steps, int32."""

    kind: Background
    snr_db: float
    scene: Scene
    answers: NDArray[np.int32]


def scenes(data: Path, part: Part, *, seed: int, num_words: int) -> Iterator[tuple[Background, float, Scene]]:
    """Yield a scene for each condition, from recordings of that part only, digits and babble alike."""
    sounds = load_sounds(data, part=part)
    for number, (kind, snr_db) in enumerate(CONDITIONS):
        rng = np.random.default_rng([seed, number, part == "test"])
        yield kind, snr_db, make_scene(sounds, kind, snr_db, num_words=num_words, gap_s=GAP_S, rng=rng)


def hear(program: Program, scene: Scene, network: NativeNetwork) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Run a scene from a reset, frame by frame; return the answers ``[T, C]`` and the seconds of each step ``[T]``."""
    inputs = program.prepare_inputs(PCEN(NUM_BANDS)(scene.sound)[:, None])  # [T, 1, F]
    network.reset()
    shown, seconds = network.view(ANSWERS), np.empty(len(inputs))
    answers = np.empty((len(inputs), shown.shape[1]), np.int32)
    for t, x in enumerate(inputs):
        started = time.perf_counter()
        network.step(x)
        seconds[t] = time.perf_counter() - started
        answers[t] = shown[0]
    return answers, seconds


def hear_all(
    program: Program, data: Path, part: Part, *, seed: int, num_words: int
) -> tuple[list[Heard], dict[str, Any]]:
    """Run a scene of each condition; return what was heard, and what a step took."""
    network = NativeNetwork(program)
    if network.most_steps is not None:
        raise ValueError(f"the program is proven for {network.most_steps} steps only, a stream has no end")
    found, seconds = [], []
    for kind, snr_db, scene in scenes(data, part, seed=seed, num_words=num_words):
        answers, each = hear(program, scene, network)
        found.append(Heard(kind, snr_db, scene, answers))
        seconds.append(each)
    every = np.concatenate(seconds)
    return found, {
        "steps": len(every),
        "step_us_median": float(1e6 * np.median(every)),
        "step_us_99": float(1e6 * np.quantile(every, 0.99)),
        "weight_bytes": network.weight_bytes,
        "parameter_bytes": network.parameter_bytes,
        "state_bytes": network.state_bytes,
    }


def live(program: Program, sound: NDArray[np.float32], rule: Rule) -> tuple[list[tuple[int, int]], dict[str, Any]]:
    """Hear a sound as a device would: 80 samples at a time go in, detections (step, digit) come out.

    Nothing is kept but the state of :class:`~pnbx_snn.data.pcen.PCEN`, of the network and of the
    :class:`~studies.spotting.detector.Detector`. Returns also what a frame takes from samples to answer, and
    by how much the process grew from the first tenth to the end.
    """
    front, network, detector = PCEN(NUM_BANDS), NativeNetwork(program), Detector(rule)
    shown, heard, step = network.view(ANSWERS), [], 0
    seconds = np.zeros(len(sound) // HOP)
    settled = 0
    for chunk in range(len(seconds)):
        started = time.perf_counter()
        for frame in front(sound[chunk * HOP : (chunk + 1) * HOP]):
            network.step(program.prepare_inputs(frame[None, None])[0])
            digit = detector.step(shown[0])
            if digit is not None:
                heard.append((step, digit))
            step += 1
        seconds[chunk] = time.perf_counter() - started
        if chunk == len(seconds) // 10:
            settled = _resident()
    facts = {"frames": step, "frame_us_median": float(1e6 * np.median(seconds)), "grew_bytes": _resident() - settled}
    return heard, facts


def _resident() -> int:
    """Return the bytes of memory that this process holds now; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else 0
