"""What a user sees of long work: nothing for short work, a line now and then in a pipe, a bar within 80 columns."""

import io
import re
import time

import pytest
from rich.console import Console

from neuromorphic.cli import waiting


@pytest.fixture
def pipe(monkeypatch):
    """Standard error that is no terminal, and seconds that are shorter."""
    text = io.StringIO()
    monkeypatch.setattr(waiting, "err", Console(file=text, width=80))
    monkeypatch.setattr(waiting, "QUIET_S", 0.2)
    monkeypatch.setattr(waiting, "EVERY_S", 0.2)
    return text


def test_short_work_writes_nothing_into_a_pipe(pipe):
    with waiting.progress_bar("running") as progress:
        progress(1, 2)
    with waiting.status("reading") as say:
        say("reading more")
    assert pipe.getvalue() == ""


def test_long_work_writes_lines_into_a_pipe(pipe):
    with waiting.progress_bar("running on lava") as progress:
        time.sleep(0.3)
        progress(25, 100)
        time.sleep(0.3)
    first, later, *_ = pipe.getvalue().splitlines()
    assert first == "running on lava, 0 s"
    assert later.startswith("running on lava: 25/100 steps, 0 s, about ")
    assert later.endswith(" s left")


def test_what_is_being_done_is_said_in_a_pipe(pipe):
    with waiting.status("setting up Lava") as say:
        say("installing lava-nc")
        time.sleep(0.3)
    assert pipe.getvalue().splitlines()[0] == "installing lava-nc, 0 s"


def test_an_error_ends_the_lines(pipe):
    with pytest.raises(ValueError, match="stop"), waiting.progress_bar("running"):
        raise ValueError("stop")
    time.sleep(0.3)
    assert pipe.getvalue() == ""


def test_a_bar_fits_80_columns(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(waiting, "err", Console(file=text, width=80, force_terminal=True, color_system=None))
    with waiting.progress_bar("compiling " + "a_long_path/" * 10, unit="samples") as progress:
        progress(5000, 10000)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue())
    shown = next(line for line in re.split(r"[\r\n]", plain) if "5000/10000 samples" in line)
    assert len(shown) == 80
    assert "…" in shown
    assert shown.endswith("s left")
