"""What TensorBoard gets beside the curves; the training does not notice."""

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pnbx_snn.data.catalog import load_split
from pnbx_snn.training import monitor
from pnbx_snn.training.checkpoint import load_run
from pnbx_snn.training.config import make_config
from pnbx_snn.training.evaluate import evaluating
from pnbx_snn.training.run import train

NETWORKS = {
    "model": {"hidden": [12], "num_steps": 3, "encoder": "rate"},
    "pnbx": {
        "d_hidden": 16,
        "d_ssm": 4,
        "d_rnn": 4,
        "rank": 2,
        "slots": 4,
        "hippocampus": "persistent",
        "dropout": 0.1,
    },
}


def config(section, epochs=3):
    settings = {"epochs": epochs, "batch_size": 400, "threads": 1}
    return make_config({"data": {"part": "train"}, section: NETWORKS[section], "train": settings})


def events(folder):
    read = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "histograms": 0, "images": 0})
    return read.Reload()


@pytest.fixture
def every_epoch(monkeypatch):
    monkeypatch.setattr(monitor, "STATISTICS_SHARE", float("inf"))
    monkeypatch.setattr(monitor, "PICTURES_SHARE", float("inf"))


def test_weights_rates_and_rasters_are_there(every_epoch, tmp_path):
    train(config("model"), tmp_path)
    read = events(tmp_path)
    model, saved = load_run(tmp_path)
    ternary = model.layers[0].linear.ternary_weight()
    name = "layers.0.linear"
    last = {tag: read.Scalars(tag)[-1].value for tag in read.Tags()["scalars"]}
    for weight in (-1, 0, 1):
        share = (ternary == weight).float().mean().item()
        assert last[f"share of weights that are {weight}/{name}"] == pytest.approx(share)
    assert last[f"scale of weights/{name}"] == pytest.approx(model.layers[0].linear.gamma().item())
    flips = read.Scalars(f"share of weights that flip in an epoch/{name}")
    assert [event.step for event in flips] == [2, 3]
    assert 0 < flips[0].value < 0.5
    histogram = read.Histograms("firing rates of neurons/layer 1")[-1]
    split = load_split(saved.data, "validation").first(monitor.NUM_SAMPLES)
    with evaluating(model):
        _, (spikes,) = model.classify(split.images, generator=torch.Generator().manual_seed(0))
    assert histogram.histogram_value.num == 12
    assert histogram.histogram_value.sum == pytest.approx(spikes.mean(dim=(0, 1)).sum().item(), rel=1e-5)
    assert [event.step for event in read.Images("raster of a sample")] == [1, 2, 3]
    assert len(read.Images("raster of a sample")[0].encoded_image_string) > 2_000


@pytest.mark.parametrize("section", NETWORKS)
def test_the_training_does_not_notice(section, every_epoch, tmp_path, monkeypatch):
    """Rate coding, noise, dropout, glia and a memory of all samples: the weights are equal to the bit."""
    train(config(section, epochs=2), tmp_path / "seen")
    monkeypatch.setattr(monitor.Monitor, "look", lambda *_, **__: None)
    train(config(section, epochs=2), tmp_path / "alone")
    states = [load_run(tmp_path / name)[0].state_dict() for name in ("seen", "alone")]
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        assert np.array_equal(tensor.numpy(), states[1][name].numpy()), name


def test_looking_takes_a_bounded_share_of_the_time(tmp_path, monkeypatch):
    """What an earlier look took has to fit into the share, so of fast epochs most are passed over; never the last."""
    clock = [0.0]
    monkeypatch.setattr(monitor.time, "perf_counter", lambda: clock[0])
    budget = monitor._Budget(0.01)
    times = []
    for second in range(1000):
        clock[0] = float(second)
        if budget.is_due():
            with budget.spending():
                clock[0] += 0.5
            times.append(second)
    assert times[:3] == [0, 100, 150]
    assert 0.5 * len(times) <= 0.01 * 1000 + 0.5
    monkeypatch.undo()
    monkeypatch.setattr(monitor, "STATISTICS_SHARE", -1.0)
    train(config("model", epochs=2), tmp_path)
    assert [event.step for event in events(tmp_path).Images("raster of a sample")] == [2]


def test_a_network_without_spikes_has_nothing_to_show(every_epoch, tmp_path):
    values = {"cnn": {"channels": 2}, "train": {"epochs": 1, "batch_size": 400, "threads": 1}}
    train(make_config(values), tmp_path)
    tags = events(tmp_path).Tags()
    assert tags["images"] == tags["histograms"] == []
