"""Animations: a raster that grows under its input, as GIF and MP4; what is missing is named."""

import shutil

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from pnbx_plot import MissingPackageError, PlotError, animate, write_raster
from pnbx_plot.errors import needed

mpl.use("Agg")
from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def random_spikes(steps, neurons):
    return (np.random.default_rng(0).random((steps, neurons)) < 0.3).astype(np.uint8)


def test_a_gif_has_a_frame_for_every_step_and_shows_more_in_each(tmp_path):
    file = write_raster(tmp_path / "raster.gif", {"lif": np.ones((6, 5))}, input=np.tile(np.arange(16) / 15, (6, 1)))
    with Image.open(file) as gif:
        assert gif.n_frames == 6
        dark = []
        for frame in range(6):
            gif.seek(frame)
            picture = np.asarray(gif.convert("RGB")).astype(int)
            ink = np.abs(picture - np.array([27, 58, 92])).max(axis=-1) < 40
            dark.append(int(ink[len(ink) // 2 :].sum()))
    steps = np.diff(dark)
    assert (steps > 0).all()
    assert steps.max() < 1.5 * steps.min() + 20


def test_long_rasters_move_through_a_window_in_few_frames():
    events = np.zeros((1000, 2, 3, 3), dtype=np.uint8)
    events[990:, 1, 0, 0] = 1
    moving = animate({"lif": random_spikes(1000, 4)}, input=events[:, None], window=200)
    assert moving._save_count == 120
    picture, ax = moving._fig.axes
    moving._func(0)
    assert ax.get_xlim() == (-0.5, 199.5)
    [cover] = ax.patches  # hides what has not happened yet
    assert (cover.get_x(), cover.get_x() + cover.get_width()) == (8.5, 199.5)
    assert picture.images[0].get_array()[0, 0] == 0
    moving._func(119)
    assert ax.get_xlim() == (799.5, 999.5)
    assert picture.images[0].get_array()[0, 0] == 1
    moving._draw_was_started = True


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg on PATH: no .mp4 was written")
def test_an_mp4_is_one(tmp_path):
    file = write_raster(tmp_path / "raster.mp4", {"lif": random_spikes(4, 5)})
    assert file.read_bytes()[4:8] == b"ftyp"


def test_without_ffmpeg_the_error_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPackageError, match=r"needs the program ffmpeg, which was not found .*; .gif needs none"):
        write_raster(tmp_path / "raster.mp4", random_spikes(4, 5))


def test_a_package_that_is_missing_is_named_with_its_extra():
    with pytest.raises(
        MissingPackageError, match=r"a page needs bokhe, which is not installed: pip install .*\[plot\]"
    ):
        needed("bokhe", "a page")


def test_endings_and_places_that_cannot_be_written(tmp_path):
    with pytest.raises(PlotError, match=r"raster.avi: .* must end in .png, .*, .webp, .html, .gif or .mp4"):
        write_raster(tmp_path / "raster.avi", random_spikes(4, 5))
    for ending in ("png", "html"):
        with pytest.raises(PlotError, match=r"could not be written \(No such file or directory\)"):
            write_raster(tmp_path / "nowhere" / f"raster.{ending}", random_spikes(4, 5))
