"""Every example runs in fast mode, prints something or leaves a figure, and stays short (CI runs it nowhere else)."""

import re
from pathlib import Path

import pytest

from quick_commands import processes, run_command

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("[0-9][0-9]_*.py"))


def test_the_examples_are_there():
    assert [path.name[:2] for path in EXAMPLES] == [f"{number:02}" for number in range(1, 22)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_leaves_the_display_to_who_runs_it(path):
    """A notebook made of it would otherwise show no figure."""
    assert not re.search(r"(mpl|matplotlib|plt)\.(use|switch_backend)\(|MPLBACKEND", path.read_text())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path, tmp_path, request):
    if '"lava"' in path.read_text():
        request.getfixturevalue("lava_python")
    assert len(path.read_text().splitlines()) <= 120
    command, log = ["python", str(path), "--fast"], tmp_path / "printed.txt"
    process = processes().Process(target=run_command, args=(command, tmp_path, {"MPLBACKEND": "Agg"}, log, "files"))
    process.start()
    process.join(120)
    printed = log.read_text()
    assert process.exitcode == 0, printed
    figures = list(tmp_path.rglob("*.png"))
    assert figures or printed.strip()
    assert all(figure.stat().st_size > 5_000 for figure in figures)
