"""Recordings: files, comparison, and the first divergence in the order a reader would look for it."""

import numpy as np
import pytest

from neuromorphic import Comparison, Divergence, Recording, compare, first_divergence, run
from neuromorphic.errors import FileFormatError
from programs import small_inputs, small_program


@pytest.fixture(scope="module")
def recording():
    return run(small_program(), small_inputs())


def altered(recording, changes):
    variables = {name: array.copy() for name, array in recording.variables.items()}
    for name, where in changes:
        variables[name][where] += 1
    return Recording(variables, "other")


def test_a_recording_equals_itself(recording):
    comparison = compare(recording, recording)
    assert comparison.equal
    assert first_divergence(recording, recording) is None
    assert comparison.spikes_compared == 12 * 4 * (8 + 6)
    assert comparison.states_compared == 12 * 4 * (8 + 6 + 3)


def test_the_earliest_step_wins_then_the_program_order(recording):
    late_but_first_op, early, early_later_op = ("lif1.v", (7, 0, 0)), ("lif2.v", (3, 2, 4)), ("readout.y", (3, 0, 0))
    found = first_divergence(recording, altered(recording, [late_but_first_op, early_later_op, early]))
    assert (found.op, found.variable, found.step, found.sample, found.neuron) == ("lif2", "v", 3, 2, 4)
    assert found.got == found.expected + 1
    assert str(found).startswith("first divergence: op lif2, variable v, step 3, sample 2, neuron 4: expected ")


def test_differences_are_counted_by_kind(recording):
    other = altered(recording, [("lif1.spikes", (0, 0, 0)), ("lif1.v", (1, 1, 1)), ("readout.y", (2, 2, 2))])
    comparison = compare(recording, other)
    assert (comparison.spikes_different, comparison.states_different) == (1, 2)


def test_what_cannot_be_compared_is_refused(recording):
    with pytest.raises(ValueError, match="recordings hold different variables"):
        compare(recording, Recording({"lif1.v": recording.variables["lif1.v"]}, "other"))
    short = Recording({name: array[:5] for name, array in recording.variables.items()}, "other")
    with pytest.raises(ValueError, match=r"lif1.spikes: shapes differ, \[12, 4, 8\] and \[5, 4, 8\]"):
        compare(recording, short)


def test_saving_and_loading_is_the_identity(recording, tmp_path):
    recording.save(tmp_path / "r.npz")
    loaded = Recording.load(tmp_path / "r.npz")
    assert compare(recording, loaded).equal
    assert list(loaded.variables) == list(recording.variables)
    assert loaded.executor == "numpy"
    assert loaded.metadata == recording.metadata
    assert {a.dtype.name for a in loaded.variables.values()} == {"uint8", "int32"}


def test_a_damaged_recording_is_refused(recording, tmp_path):
    recording.save(tmp_path / "r.npz")
    content = (tmp_path / "r.npz").read_bytes()
    (tmp_path / "r.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(FileFormatError, match="truncated or altered"):
        Recording.load(tmp_path / "r.npz")


def test_labels_are_the_argmax_of_the_last_sum(recording):
    assert np.array_equal(recording.labels(), recording.variables["readout.y"][-1].argmax(axis=1))
    with pytest.raises(ValueError, match="the program has no Readout, so there are no labels"):
        Recording({"lif1.v": recording.variables["lif1.v"]}, "numpy").labels()


def test_a_recording_says_in_five_lines_what_it_is():
    spikes = np.zeros((3, 2, 4), dtype=np.uint8)
    spikes[:2] = 1
    recording = Recording({"a.spikes": spikes, "a.v": np.zeros((3, 2, 4), dtype=np.int32)}, "lava")
    assert repr(recording) == (
        "Recording of lava: 3 steps x 2 samples, 2 variables\na.spikes 4, a.v 4\nfiring rates: a 66.7 %"
    )
    shorter = Recording(recording.variables, "lava", {"lengths": [2, 2]})
    assert "firing rates: a 100.0 %" in repr(shorter)
    altered = Recording(recording.variables, "lava", {"lengths": [9]})
    assert "firing rates: metadata['lengths'] must be 2 whole numbers in 1..3, got [9]" in repr(altered)
    many = Recording({f"layer{i}.spikes": spikes for i in range(40)}, "numpy")
    assert len(repr(many).splitlines()) <= 5
    assert max(map(len, repr(many).splitlines())) < 160
    assert "and 34 more" in repr(many)
    assert repr(Recording({}, "numpy")) == "Recording of numpy: no variables"
    assert "firing rates: a 0.0 %" in repr(Recording({"a.spikes": spikes[:, :0]}, "numpy"))
    assert repr(Recording({"a.v": spikes[0]}, "numpy")) == "Recording of numpy: variables that are not [T, B, N]: a.v"


def test_a_comparison_says_what_differs_and_where():
    assert str(Comparison(1, 1, 2, 0, Divergence("a", "spikes", 0, 0, 0, 0, 1))) == (
        "1 of 1 spikes differ, 0 of 2 states differ\n"
        "first divergence: op a, variable spikes, step 0, sample 0, neuron 0: expected 0, got 1"
    )
