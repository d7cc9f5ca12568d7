"""What a training says of itself: a line that fits 80 columns on a terminal, lines every few seconds in a pipe."""

import io
import re

import pytest
from rich.console import Console

from pnbx_snn.cli import progress

MOST = {"accuracy_train": 1.0, "accuracy_validation": 1.0, "loss": 12.345, "firing_rate": 1.0}


@pytest.fixture
def told(monkeypatch):
    """Show the batches of two epochs of a hundred, each batch a second long; return what is on the console."""

    def tell(*, terminal, batches, epochs=100, shown=2):
        console = Console(file=io.StringIO(), width=80, force_terminal=terminal)
        clock = iter(range(10**6))
        monkeypatch.setattr(progress, "err", console)
        monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
        with progress.training_progress(epochs) as show:
            for epoch in range(epochs - shown + 1, epochs + 1):
                for batch in range(1, batches + 1):
                    show({"epoch": epoch, "batch": batch, "num_batches": batches, **MOST, "accuracy_validation": None})
                show({"epoch": epoch, **MOST})
                if terminal:
                    console.file.write("\n")
        return console.file.getvalue()

    return tell


def test_the_bar_fits_80_columns(told):
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", told(terminal=True, batches=2))
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    assert max(map(len, lines)) <= 80
    last = lines[-1]
    assert last.startswith("epoch 100/100 ")
    assert "acc 100.0 % val 100.0 % loss 12.345 rate 100.0 % " in last
    assert last.rstrip().endswith("left")


def test_lines_in_a_pipe_come_every_few_seconds(told):
    lines = told(terminal=False, batches=40).splitlines()
    # 100 epochs of 41 s: a line may come every 30 s, after an epoch or 30 s after one began.
    assert [re.match(r"epoch \d+ of 100( \(\d+ %\))?:", line).group() for line in lines] == [
        "epoch 99 of 100 (75 %):",
        "epoch 100 of 100 (75 %):",
        "epoch 100 of 100:",
    ]
    assert lines[0] == "epoch 99 of 100 (75 %): acc 100.0 % loss 12.345 rate 100.0 %, 0:00:50 left"
    assert lines[-1] == "epoch 100 of 100: acc 100.0 % val 100.0 % loss 12.345 rate 100.0 %"
    assert max(map(len, lines)) <= 80


def test_short_epochs_are_not_cut(told):
    lines = told(terminal=False, batches=2, epochs=10, shown=10).splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"epoch {epoch} of 10" for epoch in (2, 4, 6, 8, 10)]
    assert lines[1].endswith(", 0:00:19 left")
