"""Inputs that fit and are probably a mistake warn at the user's line; those that are none are silent."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from neuromorphic import LIF, Dense, Input, Program, run
from neuromorphic.cli import app
from neuromorphic.errors import InputError, InputWarning
from neuromorphic.inputs import warn_of_mistakes


def scaled_program(**changed):
    """Two real inputs of units of 1/127, an LIF; as :func:`neuromorphic.run` takes it."""
    x = Input("x", 2, **{"low": -128, "high": 127, "scale": 1 / 127, **changed})
    one = np.ones(1, dtype=np.int32)
    fc = Dense("fc", "x", np.ones((1, 2), dtype=np.int8))
    return Program((x, fc, LIF("lif", ("fc",), 4096 * one, 99 * one, 0 * one, shift=0)), num_steps=4)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            np.full((4, 3, 2), 2.0),
            r"100.0% of the inputs lie beyond -1.008..1 and are clipped .the largest is 2.; comp",
        ),
        (np.full((4, 3, 2), 255.0), r"clipped .the largest is 255.; are these pixels of 0..255, and the network was"),
        (
            np.full((3, 2), 16),
            r"integers are units of 0.007874, so the largest input, 16, stands for 0.126 of at most 1",
        ),
        (
            np.full((3, 2), True),
            r"so the largest input, 1, stands for 0.007874 of at most 1; hand real values over as fl",
        ),
    ],
)
def test_inputs_that_are_probably_a_mistake_warn(inputs, message):
    with pytest.warns(InputWarning, match=message) as caught:
        run(scaled_program(), inputs)
    assert [Path(warning.filename) for warning in caught] == [Path(__file__)]  # the line that a user wrote


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((3, 2)), r"x: all inputs are 0$"),
        (np.zeros((3, 2), dtype=bool), r"x: all inputs are 0$"),
        (np.full((3, 2), 0.003), r"x: all inputs are 0 once they are rounded to units of 0.007874"),
        (np.ones((1, 3, 2)), r"x: the inputs have 1 step, the program was compiled for 4: it runs 1, and labels are"),
        (
            np.ones((3, 4, 2)),
            r"have 3 steps, the program was compiled for 4 .are the first two axes swapped\?.: it runs 3",
        ),
    ],
)
def test_the_commands_also_warn_of_silence_and_of_other_numbers_of_steps(inputs, message, tmp_path):
    with pytest.warns(InputWarning, match=message):
        warn_of_mistakes(inputs, scaled_program().input, 4)
    run(scaled_program(), inputs)  # a stream may end anywhere, and silence is an input
    np.save(tmp_path / "x.npy", inputs)
    scaled_program().save(tmp_path / "p.npz")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        done = CliRunner().invoke(app, ["verify", str(tmp_path / "p.npz"), str(tmp_path / "x.npy"), "--executor", "c"])
    lines = [line for line in done.stderr.splitlines() if not line.startswith("running ")]
    assert len(lines) == 1
    assert re.search(f"^warning: .*{message}", lines[0])


@pytest.mark.parametrize(
    ("inputs", "options"),
    [
        (np.full((3, 2), 0.3), {}),
        (np.full((4, 3, 2), 20), {}),
        (np.ones((9, 3, 2)), {"lengths": [9, 8, 7]}),
        (np.eye(2), {}),
    ],
)
def test_inputs_without_a_mistake_are_silent(inputs, options):
    for program in (scaled_program(), scaled_program(low=0, high=30, scale=1.0)):
        inputs = inputs if program.input.scale != 1.0 else np.ceil(inputs)
        run(program, inputs, **options)
        if not options:
            warn_of_mistakes(inputs, program.input, program.num_steps)


def test_pixels_for_units_of_a_real_input_are_refused_with_the_remedy():
    message = r"x: inputs must lie in -128..127, got 255..255; integers are units of 0.007874: hand real values over as"
    with pytest.raises(InputError, match=message):
        run(scaled_program(), np.full((3, 2), 255, dtype=np.uint8))


def test_fractions_for_an_input_of_spikes_are_refused_with_the_remedy():
    message = "got 6 fractions such as 0.3; encode them as spikes, or compile with a scale"
    with pytest.raises(InputError, match=message):
        run(scaled_program(low=0, high=1, scale=1.0), np.full((3, 2), 0.3))
