"""``.ts`` files: read as the format says, split as documented, refused with one clear error, found where they lie."""

import os

import numpy as np
import pytest
import torch

from pnbx_snn.data import time_series
from pnbx_snn.data.catalog import load_split
from pnbx_snn.data.time_series import load_series, read_ts, series_file
from pnbx_snn.errors import ConfigError, DataError
from pnbx_snn.training.config import make_config
from pnbx_snn.training.settings import DataConfig
from series_files import write_vowels


def test_parts_are_the_archives_scaled_by_its_training_file(tmp_path):
    train, test = write_vowels(tmp_path), write_vowels(tmp_path, "TEST", each=2)
    steps = np.concatenate([series for series, _ in train])
    mean, deviation = steps.mean(axis=0), steps.std(axis=0)
    validation = [row for row, (_, label) in enumerate(train) if sum(x == label for _, x in train[:row]) == 4]
    wanted = {
        "train": [one for row, one in enumerate(train) if row not in validation],
        "validation": [train[row] for row in validation],
        "train_all": train,
        "test": test,
    }
    for part, series in wanted.items():
        split = load_split(DataConfig(name="japanese_vowels", folder=str(tmp_path)), part)
        assert split.images.shape == (len(series), 29, 12)
        assert split.labels.tolist() == [label for _, label in series]
        assert split.lengths.tolist() == [len(one) for one, _ in series]
        for row, (one, _) in zip(split.images[:], series, strict=True):
            np.testing.assert_allclose(row[: len(one)], (one - mean) / deviation, rtol=1e-4, atol=1e-5)
            assert not row[len(one) :].any()
    windowed = load_series(tmp_path, "japanese_vowels", part="test", window=3)
    plain = load_series(tmp_path, "japanese_vowels", part="test")
    assert torch.equal(windowed.images[:, 4, 1::3], plain.images[:, 3, :])  # value n of one step ago: n * 3 + 1
    assert DataConfig(name="japanese_vowels", window=3).in_features == 36


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no line @data"),
        ("1,2,3:a\n@data\n", "line 1: before @data must stand # or @, got '1,2,3:a'"),
        ("@timeStamps true\n@classLabel true a b\n@data\n1:a\n", "@timeStamps must be false, got 'true'"),
        ("@classLabel false\n@data\n1\n", "@classLabel must be true and name two or more different classes"),
        ("@classLabel true a a\n@data\n1:a\n", "two or more different classes"),
        ("@classLabel true a b\n@data\n1,2:c\n", "line 3: the class must be one of a, b, got 'c'"),
        ("@classLabel true a b\n@data\n1,x:a\n", "line 3: must be numbers separated by commas"),
        ("@classLabel true a b\n@data\n1,2:3:a\n", r"line 3: must have channels of one length .* got 2 of \[1, 2\]"),
        ("@classLabel true a b\n@data\n1,?:a\n", "line 3: must be numbers separated by commas"),
        ("@classLabel true a b\n@data\n1,nan:a\n", "line 3: must be finite numbers"),
        ("@classLabel true a b\n@data\na\n", "line 3: must have channels of one length"),
        ("@classLabel true a b\n@data\n", "has no series"),
        ("@classLabel true a b\n@data\n1:2:a\n1:b\n", "all series must have as many channels, got 1 to 2"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, text, message):
    path = tmp_path / "x_TRAIN.ts"
    path.write_text(text)
    with pytest.raises(DataError, match=f"^{path}: .*{message}"):
        read_ts(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "x_TRAIN.ts"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no .ts file"):
        read_ts(path)
    os.mkfifo(tmp_path / "pipe.ts")
    with pytest.raises(DataError, match="must be a regular file"):
        read_ts(tmp_path / "pipe.ts")
    write_vowels(tmp_path)
    longer = tmp_path / "JapaneseVowels" / "JapaneseVowels_TRAIN.ts"
    longer.rename(tmp_path / "JapaneseVowels" / "ArrowHead_TRAIN.ts")
    with pytest.raises(DataError, match="ArrowHead has 1 channel, at most 251 steps and 3 classes, got 12, 11 and 9"):
        load_series(tmp_path / "JapaneseVowels", "arrow_head", part="train")


def test_where_the_files_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(time_series, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="part of the package aeon, which is not installed: pip install --no-deps aeon"):
        series_file(tmp_path, "gun_point", "TEST")
    package = tmp_path / "site" / "aeon"
    (package / "datasets" / "data" / "GunPoint").mkdir(parents=True)
    file = package / "datasets" / "data" / "GunPoint" / "GunPoint_TEST.ts"
    file.write_text("")
    spec = type("Spec", (), {"submodule_search_locations": [str(package)]})()
    monkeypatch.setattr(time_series, "find_spec", lambda name: spec)
    assert series_file("", "gun_point", "TEST") == file
    (tmp_path / "GunPoint_TEST.ts").write_text("")
    assert series_file(tmp_path, "gun_point", "TEST") == tmp_path / "GunPoint_TEST.ts"
    with pytest.raises(DataError, match="aeon; the installed one lacks it"):
        series_file("", "gun_point", "TRAIN")


def test_networks_that_read_no_series():
    with pytest.raises(ConfigError, match=r"'gun_point' is a sequence and needs \[pnbx\]"):
        make_config({"data": {"name": "gun_point"}, "model": {}})
    with pytest.raises(ConfigError, match=r"\[cnn\] sees pictures: data.name = 'gun_point' is a time series"):
        make_config({"data": {"name": "gun_point"}, "cnn": {}})
