"""Every command and every Python block of README and docs runs, in order, from a fresh folder, at fast sizes."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quick_commands import processes, run_command, run_python
from shown_blocks import blocks

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("*/*.md"))]
PAGES = [page for page in PAGES if page.parent.name != "zh"]  # the same blocks: tests/test_docs.py compares them
PAGES = {str(page.relative_to(REPOSITORY)): found for page in PAGES if (found := blocks(page))}
NOT_RUN = {
    r"make (demo|test|test-wheel|bench|docs|fuzz|stream)\b": "CI runs the first ones, the last ones take minutes",
    r"pip install|apt install|python3 -m venv|python -m build|run-only/bin": "make test-wheel does",
    r"pnbx-snn download|tonic\.datasets|train shd|runs/shd": "needs a network",
    r"python examples/\d\d_\w+\.py": "tests/test_examples.py runs every one",
    r"setup-lava|\. \.venv|doctor": "the environment of these tests is made and entered",
    r"--device (cuda|GPU)|--multi_gpu|sbatch|pytest ": "needs a GPU, a cluster, or is another test",
    r"studies\.(measurements|recall|bench|mcu|sparsity|senses|claims --measure)|ablation\.py": "minutes to hours",
    r"search_(dense|conv)|two_senses": "minutes to hours",
    r"studies\.(spotting|series|events|choices|tasks)": "trains or measures for minutes to hours",
    r"japanese_vowels": "needs the files of aeon",
}
"""Commands that are not run, by what they look like, and why."""
FAST = {
    r"(pnbx-snn|studies\.rivals|pnbx_snn\.cli) train \S+": r"\g<0> --set train.epochs=1",
    r"train (mnist|mnist_distilled|mnist_pi|reference) ": r"\g<0>--set train.settle=2 ",
    r"studies/measurements\b.*": r"\g<0> --quick",
    r"(search digits .*?)train.epochs=\d+": r"\1train.epochs=1",
    r"--trials [1-9]\d*": "--trials 1",
    r"^for _ in range\(30\):": "for _ in range(3):",  # epochs
    r'load_config\("digits"\)': 'load_config("digits", ["train.epochs=1"])',
}


@pytest.fixture(scope="module")
def started():
    return processes()


@pytest.fixture(scope="module")
def first_round(started, tmp_path_factory):
    """What README's first commands leave: every other page may use it."""
    folder = workspace(tmp_path_factory.mktemp("first_round"))
    for command in (
        "pnbx-snn train digits --set train.epochs=1 --out runs/digits",
        "neuromorphic compile runs/digits -o program.npz",
        "neuromorphic inputs runs/digits --samples 0:20 -o inputs.npy",
        "neuromorphic run program.npz inputs.npy -o recording.npz",
    ):
        run(started, command, folder)
    return folder


def workspace(folder):
    """Return a folder that looks like a fresh clone and shares its files."""
    for entry in REPOSITORY.iterdir():
        if entry.name not in ("runs", "data", "build") and not entry.name.startswith("."):
            (folder / entry.name).symlink_to(entry)
    (folder / "data").mkdir()
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_runs(page, started, tmp_path, request):
    folder = workspace(tmp_path)
    if page != "README.md":
        for made in ("runs", "program.npz", "inputs.npy", "recording.npz"):
            first = request.getfixturevalue("first_round") / made
            (shutil.copytree if first.is_dir() else shutil.copy)(first, folder / made)
    python = None
    for block in PAGES[page]:
        where = f"{page}, line {block.line}"
        if block.kind == "python":
            python = python or Python(started, folder)
            problem = python.run(fast(block.text))
            assert not problem, f"{where}:\n{problem}\n{python.log.read_text()}"
        elif not any(re.search(pattern, block.text) for pattern in NOT_RUN):
            if file := re.fullmatch(r"cat (\S+)", block.text):
                (folder / file[1]).write_text(block.under)
            run(started, fast(block.text), folder, where)
    if python:
        python.end()


def test_nothing_is_excused_that_is_not_there():
    commands = [block.text for found in PAGES.values() for block in found if block.kind == "command"]
    for pattern in NOT_RUN:
        assert any(re.search(pattern, command) for command in commands), pattern


def fast(command):
    """Return a command or a block at a size that takes seconds, on the data at hand."""
    for pattern, instead in FAST.items():
        command = re.sub(pattern, instead, command, flags=re.MULTILINE)
    return command


def commands(line):
    """Yield the commands of a line, joined by ``&&`` or repeated by ``for NAME in ...; do ...; done``."""
    line = re.sub(r"\s+#.*", "", line)
    if loop := re.fullmatch(r"for (\w+) in ([^;]*); do (.*); done", line):
        first, *others = loop[2].split()
        yield from commands(loop[3].replace(f"${loop[1]}", first))
        out = re.search(r"--out (\S+)", loop[3])[1]
        for value in others:  # other seeds take as long
            yield f"cp -r {out.replace(f'${loop[1]}', first)} {out.replace(f'${loop[1]}', value)}"
    else:
        yield from re.split(r"\s&&\s", line)


def run(started, line, folder, where="first round"):
    """Run a line as a shell would, and raise what it printed if it fails. A page may train anew what is there."""
    for command in commands(line):
        words = shlex.split(command)
        if "train" in words and "--out" in words:
            shutil.rmtree(folder / words[words.index("--out") + 1], ignore_errors=True)
        environment = {"PNBX_DATA": str(folder / "data"), "MPLBACKEND": "Agg"}
        while "=" in words[0]:
            environment |= [words.pop(0).split("=", 1)]
        if words[0] in ("pnbx-snn", "neuromorphic", "python") and not {">", "|", "||"} & set(words):
            log = folder / "log.txt"
            process = started.Process(target=run_command, args=(words, folder, environment, log))
            process.start()
            process.join(240)
            code, printed = process.exitcode, log.read_text()
            if process.is_alive():
                process.kill()
        else:
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # as after `. .venv/bin/activate`
            environment = os.environ | {"PATH": path} | environment
            shell = ["bash", "-c", command]
            done = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            code, printed = done.returncode, done.stdout + done.stderr
        assert code == 0, f"{where}: {command}\nexit code {code}\n{printed}"


class Python:
    """The Python of a page: its blocks share their names."""

    def __init__(self, started, folder):
        self.log = folder / "python.txt"
        self.pipe, theirs = started.Pipe()
        environment = {"PNBX_DATA": str(folder / "data"), "MPLBACKEND": "Agg"}
        self.process = started.Process(target=run_python, args=(theirs, folder, environment, self.log))
        self.process.start()

    def run(self, source):
        self.pipe.send(source)
        return self.pipe.recv() if self.pipe.poll(240) else "took longer than 240 s"

    def end(self):
        self.pipe.send("")
        self.process.join(10)
