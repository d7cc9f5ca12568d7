"""The table of data sets says what a configuration needs, and what it says is so."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from pnbx_snn.data.catalog import DATA_SETS, augment, load_split
from pnbx_snn.errors import PnbxValueError
from pnbx_snn.training.settings import DataConfig

ON_DISK = {"mnist": "mnist", "mnist_rows": "mnist", "fsdd": "fsdd"}


@pytest.mark.parametrize("name", ["digits", "mnist", "mnist_rows", "fsdd"])
def test_sizes_are_those_of_the_samples(name):
    if name in ON_DISK and not Path(os.environ.get("PNBX_DATA", "none"), ON_DISK[name]).is_dir():
        pytest.skip(f"PNBX_DATA names no folder with {ON_DISK[name]}/")
    data = DataConfig(name=name)
    split = load_split(data, "test")
    assert split.images.shape[-1] == data.in_features
    assert (split.images.shape[1] if len(split.images.shape) == 3 else 1) == data.num_steps
    assert split.labels.unique().tolist() == list(range(data.num_classes))


@pytest.mark.parametrize("name", [name for name, row in DATA_SETS.items() if row.augment is None])
def test_what_cannot_be_changed_at_random_is_refused(name):
    x, generator = torch.ones(2, 3, 4), torch.Generator()
    assert augment(x, DataConfig(name=name), strength=0.0, generator=generator) is x
    with pytest.raises(PnbxValueError, match=f"samples of '{name}' cannot be changed: strength must be 0, got 0.5"):
        augment(x, DataConfig(name=name), strength=0.5, generator=generator)


def test_windows_are_part_of_the_sizes():
    data = DataConfig(name="arrays", path="mine.npz", features=3, steps=5, classes=2, window=4)
    assert (data.in_features, data.num_steps, data.num_classes) == (12, 5, 2)
    assert np.prod(DATA_SETS["arrays"].sizes(data)) == 12 * 5 * 2
