"""MNIST from its files: the real ones where PNBX_DATA names them, and broken ones made here."""

import gzip
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pnbx_snn.data.mnist import load_mnist
from pnbx_snn.errors import DataError, PnbxValueError

COUNTS = {"train": 55_000, "validation": 5_000, "train_all": 60_000, "test": 10_000}
# Of the real files, with NumPy alone: the sum of all bytes.
PIXEL_SUMS = {"train": 1_437_309_103, "validation": 129_989_442, "test": 264_923_200}


@pytest.fixture(scope="module")
def real():
    folder = os.environ.get("PNBX_DATA")
    if not folder or not (Path(folder) / "mnist").is_dir():
        pytest.skip("PNBX_DATA names no folder with mnist/")
    return Path(folder)


def idx(shape, data=None):
    header = bytes([0, 0, 8, len(shape)]) + np.array(shape, dtype=">u4").tobytes()
    return header + (bytes(int(np.prod(shape))) if data is None else data)


def write_test_part(folder, *, labels=None, images=None, suffix=".gz"):
    """Write the two files of the test part; black images and zeros unless told."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("t10k-labels-idx1-ubyte", idx([10_000]) if labels is None else labels),
        ("t10k-images-idx3-ubyte", idx([10_000, 28, 28]) if images is None else images),
    ):
        data = gzip.compress(content, 1) if suffix else content
        (folder / (name + suffix)).write_bytes(data)
    return folder


@pytest.mark.parametrize("part", PIXEL_SUMS)
def test_real_counts_and_checksums(real, part):
    split = load_mnist(real, part=part)
    assert split.images.shape == (COUNTS[part], 784)
    assert split.images.dtype == torch.float32
    assert split.labels.dtype == torch.int64
    assert split.images.min() == 0.0
    assert split.images.max() == 1.0
    assert int((split.images * 255).round().to(torch.int64).sum()) == PIXEL_SUMS[part]


def test_real_classes_and_order(real):
    test = load_mnist(real / "mnist", part="test")
    assert torch.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert test.labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    everything, late = load_mnist(real, part="train_all"), load_mnist(real, part="validation")
    assert torch.bincount(everything.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert torch.equal(everything.images[55_000:], late.images)
    assert torch.equal(everything.labels[55_000:], late.labels)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_pixels_and_labels_stay_in_order(tmp_path, suffix):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (10_000, 784), dtype=np.uint8)
    labels = generator.integers(0, 10, 10_000, dtype=np.uint8)
    write_test_part(
        tmp_path / "mnist",
        labels=idx([10_000], labels.tobytes()),
        images=idx([10_000, 28, 28], images.tobytes()),
        suffix=suffix,
    )
    for folder in (tmp_path, tmp_path / "mnist", str(tmp_path)):
        split = load_mnist(folder, part="test")
        assert np.array_equal(split.labels.numpy(), labels)
        assert np.array_equal(split.images.numpy(), images.astype(np.float32) / 255)


@pytest.mark.parametrize("inside", ["", "mnist"])
def test_missing_files_are_named_and_how_to_get_them(tmp_path, inside):
    name = re.escape(str(tmp_path / "mnist" / "train-labels-idx1-ubyte"))
    hint = re.escape(f"pnbx-snn download mnist --data {tmp_path}")
    with pytest.raises(DataError, match=rf"{name}\[\.gz\]: no such file; to get it: {hint}"):
        load_mnist(tmp_path / inside, part="train")


def test_unknown_part(unchecked, tmp_path):
    with pytest.raises(PnbxValueError, match="part must be 'train', 'validation', 'train_all' or 'test', got 'all'"):
        load_mnist(tmp_path, part="all")


LABELS = idx([10_000])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (b"\1" + LABELS[1:], "is no IDX file: must start with two zero bytes, got 0100"),
        (b"\0\0\x0d" + LABELS[3:], r"elements must be unsigned bytes \(type 0x08\), got type 0x0d"),
        (b"\0\0\x08\3" + LABELS[4:], "must have 1 dimensions, got 3"),
        (idx([60_000]), r"must have the shape \[10000\], got \[60000\]"),
        (LABELS[:-1], "is cut short: must have 10008 bytes uncompressed"),
        (LABELS + b"\0", "goes on after its data: must have 10008 bytes"),
        (LABELS[:5], "is cut short: has 5 bytes, its header alone 8"),
        (LABELS[:50] + b"\x0a" + LABELS[51:], "labels must be digits 0 to 9, got 10 at 42"),
    ],
)
def test_wrong_labels(tmp_path, labels, message):
    write_test_part(tmp_path, labels=labels)
    with pytest.raises(DataError, match=rf"t10k-labels-idx1-ubyte\.gz: {message}"):
        load_mnist(tmp_path, part="test")


@pytest.mark.parametrize("length", [0, 7, 10_007, 10_009])
def test_wrong_size_uncompressed(tmp_path, length):
    write_test_part(tmp_path, labels=bytes(length), suffix="")
    with pytest.raises(DataError, match=f"must have 10008 bytes, got {length}"):
        load_mnist(tmp_path, part="test")


def test_images_that_lie_about_their_shape(tmp_path):
    write_test_part(tmp_path, images=idx([2**31, 28, 28], b""))
    with pytest.raises(DataError, match=r"must have the shape \[10000, 28, 28\], got \[2147483648, 28, 28\]"):
        load_mnist(tmp_path, part="test")


@pytest.mark.parametrize("change", [lambda data: data[:-9], lambda data: data[:-5] + b"\7" + data[-4:], lambda _: b"x"])
def test_broken_gzip(tmp_path, change):
    write_test_part(tmp_path)
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match="is cut short, altered or no gzip file"):
        load_mnist(tmp_path, part="test")


def test_a_bomb_is_not_decompressed(tmp_path, monkeypatch):
    write_test_part(tmp_path, labels=LABELS + bytes(10_000_000))
    most = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda file, size=-1: most.append(size) or read(file, size))
    with pytest.raises(DataError, match="goes on after its data"):
        load_mnist(tmp_path, part="test")
    assert most == [8, 10_001]
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(bytes(100_000))
    with pytest.raises(DataError, match="compressed must be smaller than 10008 bytes, got 100000"):
        load_mnist(tmp_path, part="test")


def test_neither_folders_nor_pipes_are_opened(tmp_path):
    path = tmp_path / "t10k-labels-idx1-ubyte"
    path.mkdir()
    with pytest.raises(DataError, match="cannot be read: must be a regular file, is a"):
        load_mnist(tmp_path, part="test")
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(DataError, match="cannot be read: must be a regular file, is a"):
        load_mnist(tmp_path, part="test")
