"""The command `neuromorphic raster`: one recording, two, their inputs; one clear message for each bad input."""

import re
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from neuromorphic import Recording
from neuromorphic.cli import app


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("recordings")
    spikes = (np.random.default_rng(0).random((12, 3, 20)) < 0.3).astype(np.uint8)
    ours = {"lif1.spikes": spikes, "lif1.v": spikes.astype(np.int32), "lif2.spikes": spikes[..., :4]}
    Recording(ours, "numpy").save(place / "numpy.npz")
    theirs = spikes.copy()
    theirs[5, 1, 7] ^= 1
    Recording(ours | {"lif1.spikes": theirs}, "lava").save(place / "lava.npz")
    np.save(place / "inputs.npy", np.linspace(0, 1, 48, dtype=np.float32).reshape(3, 16))
    return place


def call(*arguments):
    return CliRunner().invoke(app, ["raster", *map(str, arguments)])


@pytest.mark.parametrize("ending", ["png", "svg", "html", "gif"])
def test_every_kind_of_file_is_written(folder, tmp_path, ending):
    file = tmp_path / f"raster.{ending}"
    done = call(folder / "numpy.npz", "--inputs", folder / "inputs.npy", "--steps", "0:4", "-o", file)
    assert done.exit_code == 0, done.output
    assert f"wrote {file}" in done.output.replace("\n", "")
    assert file.stat().st_size > 5000


def test_two_recordings_are_compared(folder, tmp_path):
    files = (folder / "numpy.npz", folder / "lava.npz")
    done = call(*files, "--sample", 1, "-o", tmp_path / "raster.svg")
    assert "1 of 864 spikes and 0 of 720 states differ, over all samples" in done.output
    assert "first divergence: op lif1, variable spikes, step 5, sample 1, neuron 7" in done.output
    text = (tmp_path / "raster.svg").read_text()
    assert "sample 1 on numpy and lava: 1 spike differs" in text
    assert "first at step 5, neuron 7" in text


def test_parts_are_chosen(folder, tmp_path):
    options = ("--layers", "lif1", "--neurons", "3,7", "--steps", "2:9", "--dt", "1e-3")
    assert call(folder / "numpy.npz", *options, "-o", tmp_path / "raster.svg").exit_code == 0
    text = (tmp_path / "raster.svg").read_text()
    assert "lif1: 2 neurons" in text
    assert "lif2" not in text
    assert "time in ms" in text


def test_without_matplotlib_the_command_says_what_to_install(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = call(folder / "numpy.npz", "-o", tmp_path / "raster.png")
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert re.search(r"error: a picture needs matplotlib, which is not installed: pip install .*\[plot\]", said)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layers", "lif9"), "layers must be among lif1, lif2, got lif9"),
        (("--sample", "7"), "sample must be in 0..2 for lif1, got 7"),
        (("--steps", "3"), "--steps must be a:b, for example 0:20, got '3'"),
        (("--neurons", "a,b"), "--neurons must be a:b or numbers with commas"),
        (("--dt", "0"), "dt must be the seconds of a step, above 0, got 0"),
        (("-o", "raster.bmp"), "must end in .png, .pdf, .svg, .jpg, .webp, .html, .gif or .mp4"),
        (("--inputs", "INPUTS", "--input-shape", "4x4"), "--input-shape must be rows,columns"),
        (("--inputs", "INPUTS", "--input-shape", "3,4"), "input_shape (3, 4) does not hold the 16 values"),
    ],
)
def test_each_mistake_has_its_message(folder, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = call(folder / "numpy.npz", *(str(folder / "inputs.npy") if a == "INPUTS" else a for a in arguments))
    assert done.exit_code in (1, 2)
    said = " ".join(done.output.replace("│", " ").split())
    assert message in said
    assert list(tmp_path.iterdir()) == []
