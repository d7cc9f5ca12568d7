"""`pnbx-snn watch`: what it draws, when it ends, what it asks for."""

import json
import re
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from pnbx_snn.cli import app, letters
from pnbx_snn.files.atomic_write import locked_folder
from pnbx_snn.metrics.analysis import one_sample
from pnbx_snn.training.checkpoint import load_run
from pnbx_snn.training.config import make_config
from pnbx_snn.training.run import train

NETWORK = {"hidden": [9, 5], "num_steps": 4}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    settings = {"epochs": 3, "batch_size": 400, "threads": 1}
    train(make_config({"data": {"part": "train"}, "model": NETWORK, "train": settings}), folder)
    return folder


def watch(*arguments, code=0):
    result = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"}).invoke(app, ["watch", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def test_a_finished_run_at_80_columns(run):
    text = watch(run).stdout
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24  # a terminal's
    assert re.search(r": all of 3 epochs done, \d:\d\d:\d\d trained", " ".join(text.split()))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert f"accuracy {100 * rows[-1]['accuracy_train']:.1f} % (validation " in text
    for number, rate in enumerate(rows[-1]["firing_rate_layers"], start=1):
        assert re.search(rf"layer {number} +fires +{100 * rate:.1f} %  [{letters.BARS}]{{3}}", text)
    assert "validation sample 0, a " in text
    assert ", after epoch 3" in text
    assert "validation sample" not in watch(run, "--no-raster").stdout


def test_a_page_loads_itself_again_while_the_training_runs(run, tmp_path, monkeypatch):
    page = tmp_path / "watch.html"
    assert watch(run, "-o", page).stdout == f"wrote {page}\n"
    text = page.read_text()
    assert "http-equiv" not in text
    assert text.count("data:image/png;base64,") == 2
    copy = tmp_path / "running"
    shutil.copytree(run, copy)
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text("".join(lines[:2]))
    pages = []

    def next_look(_seconds):
        pages.append(page.read_text())
        (copy / "metrics.jsonl").write_text("".join(lines))
        lock.__exit__(None, None, None)  # the training ends

    monkeypatch.setattr("pnbx_snn.cli.watch.time.sleep", next_look)
    lock = locked_folder(copy)
    lock.__enter__()
    told = watch(copy, "-o", page, "--every", 3).stdout
    assert "it is written anew while the training runs" in " ".join(told.split())
    assert '<meta http-equiv="refresh" content="3">' in pages[0]
    assert "epoch 2 of 3, " in pages[0]
    assert "http-equiv" not in page.read_text()
    assert "all of 3 epochs done" in page.read_text()


def test_a_run_that_was_stopped_says_so(run, tmp_path):
    shutil.copy(run / "config.toml", tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    assert "stopped after epoch 0 of 3" in " ".join(watch(tmp_path).stdout.split())
    (tmp_path / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text().splitlines(keepends=True)[0])
    text = " ".join(watch(tmp_path).stdout.split())
    assert re.search(r"stopped after epoch 1 of 3, \d:\d\d:\d\d trained; `--resume` goes on", text)


def test_what_a_user_can_do_wrong(run, tmp_path):
    assert "metrics.jsonl: no such file" in watch(run / "checkpoint.safetensors", code=1).stderr
    assert "-o must end in one of .html, .htm, got a.png" in watch(run, "-o", "a.png", code=2).stderr
    assert "--sample must be in [0, 179], got 180" in watch(run, "--sample", 180, code=2).stderr
    (tmp_path / "metrics.jsonl").write_text("")
    (tmp_path / "config.toml").write_text("[trian]\n")
    assert "config.toml: is not the configuration that" in watch(tmp_path, code=1).stderr


def test_every_spike_is_a_dot(run):
    model, config = load_run(run)
    from pnbx_snn.data.catalog import load_split

    spikes = one_sample(model, load_split(config.data, "validation"), 0)["layers"]["layer 1"]
    lines = letters.raster(spikes, width=64, height=4)
    dots = sum((ord(letter) - 0x2800).bit_count() for line in lines for letter in line if letter != " ")
    assert dots == np.count_nonzero(spikes)
    assert {len(line) for line in lines} == {64}


def test_curves_start_and_end_where_their_values_do():
    lines = letters.curves([([0.0, 1.0], "")], top=1.0, width=4, height=2)
    assert [len(line) for line in lines] == [4, 4]
    assert ord(lines[1].plain[0]) - 0x2800 & 0x40  # bottom left
    assert ord(lines[0].plain[-1]) - 0x2800 & 0x08  # top right
    one = letters.curves([([0.5], "")], top=1.0, width=3, height=1)[0].plain
    assert len(set(one)) == 1
    assert letters.curves([([], "")], top=1.0, width=2, height=1)[0].plain == "\u2800\u2800"
