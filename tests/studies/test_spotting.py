"""Scenes say what they claim, windows hold one whole word, a detector is its rule, and a live run is a recorded one."""

import numpy as np
import pytest
import torch

from neuromorphic.compiler import compile_model
from neuromorphic.executors.native import NativeNetwork
from pnbx_snn.data.fsdd import Sounds
from pnbx_snn.data.mel import HOP
from pnbx_snn.data.pcen import PCEN
from pnbx_snn.networks.pnbx import PNBX
from studies.spotting.choose import choose, curve, misses, scored, summed
from studies.spotting.detector import Detector, Rule, Score, added, detections, margins, score
from studies.spotting.report import report
from studies.spotting.sounds import SPEECH_RMS, Word, make_scene
from studies.spotting.streams import Heard, hear, live
from studies.spotting.windows import NOTHING, NUM_FRAMES, cut


def sounds(count=12):
    """Return short tones, one of each digit and some more."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(2_000, 4_000, count)
    made = [np.sin(np.arange(n) * (0.1 + 0.05 * i)) * 9_000 for i, n in enumerate(lengths)]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    labels = np.arange(count) % 10
    return Sounds(np.concatenate(made).astype(np.int16), offsets, labels, np.zeros(count, np.int64))


@pytest.mark.parametrize(("kind", "snr_db"), [("white", 6.0), ("pink", 6.0), ("babble", 6.0), ("silence", 50.0)])
def test_words_are_as_loud_as_a_scene_says(kind, snr_db):
    rng = np.random.default_rng(1)
    scene = make_scene(sounds(), kind, snr_db, num_words=8, gap_s=(0.5, 1.0), rng=rng)
    noise = np.ones(len(scene.sound), bool)
    for word in scene.words:
        noise[word.start : word.end] = False
    words = np.concatenate([scene.sound[word.start : word.end] for word in scene.words])
    power, background = np.mean(words**2), np.mean(scene.sound[noise] ** 2)
    assert 10 * np.log10(power / background - 1) == pytest.approx(snr_db, abs=1.0)
    assert 0.3 * SPEECH_RMS < np.sqrt(power) < 4 * SPEECH_RMS
    gaps = np.diff([0, *(edge for word in scene.words for edge in (word.start, word.end)), len(scene.sound)])[::2]
    assert gaps.min() >= 4_000
    assert gaps.max() <= 8_000


def test_windows_hold_a_whole_word_or_none():
    rng = np.random.default_rng(2)
    scene = make_scene(sounds(), "white", 10.0, num_words=12, gap_s=(0.1, 1.5), rng=rng)
    frames = PCEN(4)(scene.sound)
    chosen = cut(frames, scene, words=2, nothings=1.5, rng=rng)
    assert {label for _, label in chosen} >= {NOTHING, 0, 1, 2}
    for first, label in chosen:
        begin, end = first * HOP, (first + NUM_FRAMES) * HOP + 200
        inside = [
            word.digit
            for word in scene.words
            if min(end, word.end) - max(begin, word.start) > 0.6 * (word.end - word.start) + 200
        ]
        assert inside == ([] if label == NOTHING else [label])


def test_a_detector_is_its_rule_all_at_once_or_step_by_step():
    rng = np.random.default_rng(3)
    answers = rng.integers(-50, 51, (600, 11)).astype(np.int32)
    several = 0
    for rule in (Rule(250, 7, 1, 9), Rule(150, 5, 3, 1), Rule(200, 20, 3, 40), Rule(10**6, 7, 1, 9)):
        detector = Detector(rule)
        heard = [(t, digit) for t, one in enumerate(answers) if (digit := detector.step(one)) is not None]
        assert heard == detections(margins(answers, rule.summed), rule)
        several += len(heard) > 5
    assert several >= 2
    found = margins(answers, 7)
    for t in (0, 3, 6, 7, 500):
        total = answers[max(0, t - 6) : t + 1].sum(axis=0)
        assert found.margin[t] == total[:10].max() - total[10]


def test_a_score_counts_hits_misses_and_false_alarms():
    words = [Word(3, 8_000, 12_000), Word(5, 24_000, 28_000), Word(7, 40_000, 44_000)]
    heard = [(10, 1), (140, 3), (160, 3), (320, 6), (530, 7), (620, 7)]  # steps of 80 samples
    found = score(heard, words, 8_000 * 36)
    assert found.delays_s[0] == (140 * 80 + 200 - 12_000) / 8_000  # while the word was said
    assert np.isnan(found.delays_s[1])  # another digit was heard
    assert found.delays_s[2] == pytest.approx((530 * 80 + 200 - 44_000) / 8_000)
    assert (found.false_alarms, found.wrong) == (3, 1)  # before any word, a second time, too late; another digit
    assert found.hours == 0.01
    twice = added([found, found])
    assert (twice.false_alarms, len(twice.delays_s), misses(twice)) == (6, 6, 1 / 3)


def test_the_rule_is_the_one_with_fewest_misses_among_the_quiet():
    """A stream with three words, whose answers rise at the end of each, and higher than at one other place."""
    rng = np.random.default_rng(4)
    scene = make_scene(sounds(), "white", 10.0, num_words=3, gap_s=(1.0, 2.0), rng=rng)
    answers = np.zeros((len(scene.sound) // HOP, 11), np.int32)
    for word in scene.words:
        answers[word.end // HOP - 10 : word.end // HOP + 5, word.digit] = 100
    answers[20:30, 4] = 30
    streams = [Heard("white", 10.0, scene, answers)]
    rule = choose(streams)
    found = scored(summed(streams, rule.summed), rule)
    assert (misses(found), found.false_alarms) == (0, 0)
    points = curve(summed(streams, rule.summed), rule)
    assert points[0][2] > 0  # at a threshold of 0 the other place is heard
    assert points[-1][1] == 1  # above the largest margin nothing is


def test_a_live_run_is_the_recorded_one():
    torch.manual_seed(0)
    sizes = {"d_hidden": 32, "d_ssm": 8, "d_rnn": 4, "fast_weights": "none", "hippocampus": "none", "glia": False}
    model = PNBX(in_features=40, num_classes=11, readout="step", threshold=0.4, quantize=True, **sizes)
    scene = make_scene(sounds(), "pink", 10.0, num_words=2, gap_s=(0.5, 0.7), rng=np.random.default_rng(5))
    model.calibrate(torch.from_numpy(PCEN(40)(scene.sound))[None])
    program = compile_model(model.eval(), num_steps=8)
    answers, seconds = hear(program, scene, NativeNetwork(program))
    assert len(answers) == len(seconds) == (len(scene.sound) - 200) // HOP + 1
    rule = Rule(int(np.quantile(margins(answers, 20).margin, 0.8)), 20, 2, 10)
    heard, facts = live(program, scene.sound, rule)
    assert heard == detections(margins(answers, 20), rule)
    assert heard
    assert facts["frames"] in (len(answers), len(answers) - 1)  # samples that are no whole frame are not given


def test_the_report_has_a_row_for_every_condition():
    part = {
        "words": 10, "misses": 0.1, "misses_by_digit": [0.0] * 10, "false_alarms_an_hour": 2.0,
        "wrong": 0.05, "hours": 0.5, "delay_s": [0.0, 0.1, 0.2],
    }  # fmt: skip
    one = {
        "seed": 0, "rule": {}, "validation_accuracy": 0.9, "agreement": {"labels_equal": 1.0}, "test": part,
        "conditions": [{"background": "pink", "snr_db": 5.0, **part}],
        "speed": {"step_us_median": 2.0, "weight_bytes": 1, "parameter_bytes": 2, "state_bytes": 3},
        "live": {"frame_us_median": 70.0, "grew_bytes": 0},
    }  # fmt: skip
    text = report([one, one])
    assert "| pink | 5 dB | 20 | 10.0 ± 0.0 % | 5.0 ± 0.0 % | 2.0 ± 0.0 | 100 ± 0 ms |" in text
    assert isinstance(score([], [], 8), Score)
