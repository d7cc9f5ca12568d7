"""The configurations of the package: listed, copied, named by commands; and what commands answer without torch."""

import json
import shlex
import subprocess
import sys
from typing import get_args

import pytest
from typer.testing import CliRunner

from pnbx_snn.cli import app
from pnbx_snn.cli.measuring import Section
from pnbx_snn.configs import known_configs, summary
from pnbx_snn.data import catalog
from pnbx_snn.data.download import Downloadable
from pnbx_snn.metrics.report import SECTIONS
from pnbx_snn.training.config import load_config


def pnbx(*arguments, code=0):
    result = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"}).invoke(app, [str(word) for word in arguments])
    assert result.exit_code == code, result.output
    return result


def test_config_lists_them_all_at_80_columns():
    lines = pnbx("config").stdout.splitlines()
    assert {line.split()[0]: line.split(maxsplit=1)[1] for line in lines} == {
        name: summary(path) for name, path in known_configs().items()
    }
    assert max(map(len, lines)) <= 80
    for path in known_configs().values():
        assert path.read_text().startswith("# ")


def test_config_copies_one(tmp_path):
    text = known_configs()["digits"].read_text()
    assert pnbx("config", "digits").stdout == text
    copy = tmp_path / "my own.toml"
    hint = pnbx("config", "digits", "-o", copy).stdout
    assert hint == f"wrote {copy}. Next: pnbx-snn train '{copy}'\n"
    assert copy.read_text() == text
    assert f"{copy}: is there already" in pnbx("config", "mnist", "-o", copy, code=1).stderr
    assert copy.read_text() == text
    assert "no configuration of this name; did you mean digits?" in pnbx("config", "digit", code=2).stderr
    assert "-o is for one configuration" in pnbx("config", "-o", copy, code=2).stderr
    assert "could not be written" in pnbx("config", "digits", "-o", tmp_path / "missing" / "a.toml", code=1).stderr


@pytest.mark.parametrize("name", ["mnist", "mnist_rows"])
def test_a_distilled_configuration_differs_in_its_teacher_alone(name):
    plain, distilled = load_config(name).model_dump(), load_config(f"{name}_distilled").model_dump()
    assert plain.pop("distill")["teacher"] == ""
    assert distilled.pop("distill")["teacher"] == "runs/mnist_teacher"
    assert plain == distilled


def test_every_comment_names_configurations_that_are_there():
    for path in known_configs().values():
        for line in path.read_text().splitlines():
            words = shlex.split(line.removeprefix("#").replace("'", ""))
            if words[:2] in (["pnbx-snn", "train"], ["pnbx-snn", "info"]):
                assert words[2] in known_configs(), (path, line)


def test_info_knows_a_configuration_by_name():
    by_name = json.loads(pnbx("info", "digits", "--json").stdout)
    assert by_name == json.loads(pnbx("info", known_configs()["digits"], "--json").stdout)
    assert by_name["parameters"] > 10_000
    assert "digit: no such run" in pnbx("info", "digit", code=1).stderr


@pytest.mark.parametrize("name", get_args(Downloadable))
def test_download_recommends_a_training_that_runs(name, monkeypatch):
    monkeypatch.setattr(catalog, "download", lambda *_, **__: [])
    line = pnbx("download", name, "--data", "my data").stdout
    command = shlex.split(line.partition("Next: ")[2])
    assert command == ["pnbx-snn", "train", name, "--data", "my data"]
    config = load_config(name)
    assert config.distill.teacher == ""
    assert config.data.name == name


def test_sections_are_those_of_the_report():
    assert tuple(Section) == SECTIONS


WITHOUT_TORCH = """
import sys
from typer.testing import CliRunner
from pnbx_snn.cli import app
for words in (
    "--help", "--version", "config", "config digits", "train --help", "train wrongname", "train a.toml",
    "train digits --nope", "train digits --data nowhere", "eval nowhere", "info nowhere", "training nowhere -o a.png",
    "raster . -o a.png", "summary nowhere", "analyze nowhere", "analyze . --section none", "download cifar --data .",
):
    result = CliRunner().invoke(app, words.split())
    print(result.exit_code, "torch" in sys.modules, "numpy" in sys.modules, sep=" ")
    if words == "--version":
        print(result.stdout.strip())
"""


def test_answers_that_need_no_torch_come_without_it():
    run = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True, capture_output=True, text=True)
    rows = run.stdout.splitlines()
    assert rows.pop(2).startswith("pnbx-snn ")
    codes = [row.split()[0] for row in rows]
    assert codes == ["0"] * 5 + ["2"] * 4 + ["1"] * 5 + ["1", "2", "2"]
    assert {row.split(maxsplit=1)[1] for row in rows} == {"False False"}
