"""Every example runs in fast mode, prints something or leaves a figure, and stays short."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("[0-9][0-9]_*.py"))


def test_the_examples_are_there():
    assert [path.name[:2] for path in EXAMPLES] == [f"{number:02}" for number in range(1, 21)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_leaves_the_display_to_who_runs_it(path):
    """A notebook made of it would otherwise show no figure."""
    assert not re.search(r"(mpl|matplotlib|plt)\.(use|switch_backend)\(|MPLBACKEND", path.read_text())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path, tmp_path, request):
    if '"lava"' in path.read_text():
        request.getfixturevalue("lava_python")
    assert len(path.read_text().splitlines()) <= 120
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    command = [sys.executable, str(path), "--fast"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    figures = list(tmp_path.rglob("*.png"))
    assert figures or done.stdout.strip()
    assert all(figure.stat().st_size > 5_000 for figure in figures)
