"""Samples of several streams: side by side, paired by label, missing, noisy, from arrays and configurations."""

from collections import Counter

import numpy as np
import pytest
import torch

from pnbx_snn.data.array_streams import array_stream_sizes, load_array_streams
from pnbx_snn.data.catalog import augment, load_split
from pnbx_snn.data.split import Split
from pnbx_snn.data.streams import Pairs, Stream, StreamSamples, drop_streams, each_stream, perturbed, shown
from pnbx_snn.errors import ConfigError, DataError, PnbxValueError, ShapeError
from pnbx_snn.training.config import make_config, resolve, to_toml

SOUND = torch.arange(2 * 6 * 2, dtype=torch.float32).reshape(2, 6, 2)
ROWS = 100 + torch.arange(2 * 4 * 3, dtype=torch.float32).reshape(2, 4, 3)
STILL = torch.tensor([[-1.0], [-2.0]])
PAIRS = {"name": "pairs", "streams": ["left", "right"], "sources": ["digits", "digits"]}


def test_streams_stand_side_by_side_and_shorter_ones_are_stretched():
    samples = StreamSamples([SOUND, ROWS, STILL])
    x = samples[:]
    assert samples.shape == x.shape == (2, 6, 6)
    assert torch.equal(x[:, :, :2], SOUND)
    assert torch.equal(x[:, :, 2:5], ROWS[:, [0, 0, 1, 2, 2, 3]])
    assert (x[0, :, 5] == -1).all()
    assert torch.equal(samples[torch.tensor([1])], x[1:])
    assert StreamSamples([STILL, STILL])[:].tolist() == [[-1, -1], [-2, -2]]
    with pytest.raises(ShapeError, match=r"equally many samples, got \[2, 1\]"):
        StreamSamples([SOUND, STILL[:1]])


@pytest.mark.parametrize("own", [1, 5, 28, 64])
def test_each_stream_is_changed_in_its_own_form_and_shown_again(own):
    values = torch.rand(3, own, 2) if own > 1 else torch.rand(3, 2)
    x = torch.cat([torch.rand(3, 64, 4), shown(values, 64)], dim=2)
    seen = {}

    def change(number, found):
        seen[number] = found
        return found + 1 if number else found

    changed = each_stream(x, [Stream("a", 4, 64), Stream("b", 2, own)], change)
    assert torch.equal(seen[1], values)
    assert torch.equal(changed[:, :, 4:], shown(values + 1, 64))
    assert torch.equal(changed[:, :, :4], x[:, :, :4])


def test_pairs_have_equal_labels_and_deal_out_every_sample():
    few = Split(torch.arange(6.0).reshape(6, 1), torch.tensor([0, 1, 1, 1, 0, 2]))
    many = Split(torch.arange(40.0).reshape(40, 1), torch.arange(40) % 3)
    pairs = Pairs([few, many], seed=3)
    found = [pairs.numbers.clone()]
    for seed in (3, 4):
        pairs.draw(seed)
        found.append(pairs.numbers.clone())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    for numbers in found:
        assert torch.equal(few.labels[numbers[0]], pairs.labels)
        assert torch.equal(many.labels[numbers[1]], pairs.labels)
        assert sorted(numbers[1].tolist()) == list(range(40))
        dealt = Counter(numbers[0].tolist())
        for label in range(3):
            times = [dealt[sample] for sample in range(6) if few.labels[sample] == label]
            assert max(times) - min(times) <= 1
    assert len(Pairs([few, many], count=10, seed=0).labels) == 10
    with pytest.raises(PnbxValueError, match="data set 1 has no sample of class 2"):
        Pairs([few.first(5), many])


def test_dropping_takes_one_whole_stream_of_a_share_of_the_samples():
    x = torch.ones(4000, 2, 5)
    dropped = drop_streams(x, [2, 3], 0.5, generator=torch.Generator().manual_seed(0))
    there = torch.stack([dropped[:, :, :2].flatten(1), dropped[:, :, 2:].flatten(1)[:, :4]])  # [2, B, 4]
    assert set(there.mean(dim=2).unique().tolist()) == {0.0, 1.0}
    shares = there[:, :, 0].mean(dim=1)
    assert shares.tolist() == pytest.approx([0.75, 0.75], abs=0.03)
    assert (there[:, :, 0].sum(dim=0) > 0).all()
    rows = torch.tensor([5, 9])
    part = drop_streams(x[rows], [2, 3], 0.5, generator=torch.Generator().manual_seed(0), batch=(4000, rows))
    assert torch.equal(part, dropped[rows])


def test_missing_is_zero_and_noise_stays_as_long_as_a_value_is_shown():
    split = Split(StreamSamples([SOUND, ROWS]), torch.tensor([0, 1]))
    x = split.images[:]
    gone = perturbed(split, ["sound", "image"], missing=["sound"]).images[:]
    assert (gone[:, :, :2] == 0).all()
    assert torch.equal(gone[:, :, 2:], x[:, :, 2:])
    noisy = perturbed(split, ["sound", "image"], noise={"image": 0.5}).images
    noise = (noisy[:] - x)[:, :, 2:]
    assert torch.equal((noisy[:] - x)[:, :, :2], torch.zeros(2, 6, 2))
    assert torch.equal(noise[:, 0], noise[:, 1])  # one row of the image
    assert not torch.equal(noise[:, 1], noise[:, 2])
    assert not torch.equal(noise[0], noise[1])  # of each sample its own
    assert torch.equal(noisy[1:], noisy[:][1:])  # whatever the batch
    for wrong, message in (
        ({"missing": ["smell"]}, "no 'smell'; there are sound, image"),
        ({"missing": ["sound", "image"]}, "at least one must be there"),
        ({"noise": {"sound": -1.0}}, "finite and at least 0, got -1"),
    ):
        with pytest.raises(PnbxValueError, match=message):
            perturbed(split, ["sound", "image"], **wrong)


def test_arrays_of_several_streams_are_read_from_one_file(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"sound": rng.random((40, 6, 2)), "image": rng.random((40, 3)), "y": np.arange(40) % 2}
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    names = ["image", "sound"]
    split = load_array_streams(path, names, part="train_all", test_share=0.5)
    assert split.images.shape == (20, 6, 5)
    x = split.images[:]
    for sample in range(20):  # each image with its own sound
        (number,) = np.flatnonzero((arrays["image"].astype(np.float32) == x[sample, 0, :3].numpy()).all(axis=1))
        assert np.array_equal(x[sample, :, 3:].numpy(), arrays["sound"][number].astype(np.float32))
        assert split.labels[sample] == arrays["y"][number]
    assert array_stream_sizes(path, names) == ((5, 6, 2), (3, 2))
    config = make_config({"data": {"name": "arrays", "path": str(path), "streams": names}, "pnbx": {"d_hidden": 32}})
    config = resolve(config)
    assert config.data.stream_widths == {"image": 3, "sound": 2}
    assert "widths = [3, 2]" in to_toml(config)
    assert load_split(config.data, "test").images.shape == (8, 6, 5)
    np.savez(path, **{**arrays, "image": arrays["image"][:, :2]})
    with pytest.raises(DataError, match=r"streams of \[3, 2\] values, the arrays have \[2, 2\]"):
        load_split(config.data, "test")
    np.savez(path, **{**arrays, "smell": arrays["image"]})
    with pytest.raises(DataError, match="unknown array 'smell'; known are image, sound, y and lengths"):
        load_array_streams(path, names, part="test")
    ragged = {**arrays, "image": rng.random((40, 6, 3)), "lengths": rng.integers(1, 7, 40)}
    np.savez(path, **ragged)
    assert load_array_streams(path, names, part="train_all").lengths is not None


def test_pairs_of_data_sets_are_changed_each_in_its_own_way():
    data = make_config({"data": {**PAIRS, "pairs": 50}, "pnbx": {}}).data
    assert data.stream_widths == {"left": 64, "right": 64}
    train, test = load_split(data, "train"), load_split(data, "test")
    assert train.images.shape == (50, 128)
    assert len(test.labels) == 360  # always the largest data set
    assert torch.equal(test.images[:], load_split(data, "test").images[:])
    x = train.images[:]
    changed = augment(x, data, strength=1.0, generator=torch.Generator().manual_seed(0))
    assert (changed[:, :64] != x[:, :64]).any()
    assert (changed[:, 64:] != x[:, 64:]).any()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {**PAIRS, "sources": ["digits"]}}, "for each of them a data set in data.sources"),
        ({"data": {**PAIRS, "sources": ["digits", "shd"]}}, "data.sources must be of digits, mnist.*, got 'shd'"),
        ({"data": {**PAIRS, "streams": ["a", "a"]}}, r"must be different names, got \['a', 'a'\]"),
        ({"data": {**PAIRS, "streams": ["A", "b"]}}, "a list of up to 8 names of small letters"),
        ({"data": {"streams": ["a"]}}, "data.streams is for data.name = 'pairs' or 'arrays', got 'digits'"),
        ({"data": {"sources": ["digits"]}}, "data.sources is for data.name = 'pairs'"),
        ({"data": {"name": "arrays", "path": "x", "streams": ["a", "b_test"]}}, "got 'b_test'"),
        ({"data": {"name": "arrays", "path": "x", "streams": ["a"], "window": 2}}, "data.window must be 1"),
        ({"augment": {"stream_dropout": 0.5}}, "needs two data.streams or more: must be 0, got 0.5"),
        ({"data": PAIRS, "cnn": {}}, r"needs \[pnbx\].*, got \[cnn\]"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(sections, message):
    with pytest.raises(ConfigError, match=message):
        make_config({"pnbx": {}, **sections} if "cnn" not in sections else sections)
