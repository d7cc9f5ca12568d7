"""The guard before every reader, of both packages: what is no ordinary file is refused at once, in the same words."""

import os
import socket
import time
from pathlib import Path

import numpy as np
import pytest

import neuromorphic.files.regular_files
import pnbx_snn.regular_files
from neuromorphic import Program, Recording
from neuromorphic.compiler import compile_nir
from neuromorphic.errors import FileFormatError, NeuromorphicError
from neuromorphic.executors.onnx.files import load_onnx
from neuromorphic.files.arrays import read_inputs
from pnbx_snn.data.files import reading
from pnbx_snn.errors import CheckpointError, PnbxError
from pnbx_snn.storage import read_tensors
from pnbx_snn.training.checkpoint import load_run, read_meta
from pnbx_snn.training.config import load_config
from pnbx_snn.training.packed import load_packed
from pnbx_snn.training.run_log import read_metrics


def data_file(path):
    with reading(path, "npz"):
        raise AssertionError("it is read")


READERS = {
    "program": Program.load,
    "recording": Recording.load,
    "inputs": read_inputs,
    "onnx": load_onnx,
    "nir": lambda path: compile_nir(path, num_steps=1),
    "checkpoint": read_meta,
    "tensors": read_tensors,
    "packed": load_packed,
    "configuration": load_config,
    "metrics": read_metrics,
    "data": data_file,
    "run": lambda path: load_run(path.parent),
}
GUARDS = [
    (neuromorphic.files.regular_files, FileFormatError, NeuromorphicError),
    (pnbx_snn.regular_files, CheckpointError, PnbxError),
]


@pytest.fixture
def places(tmp_path):
    """Each kind of thing that is no file, under the name that every reader takes."""
    made = {}
    for kind in ("pipe", "folder", "device", "socket"):
        folder = tmp_path / kind
        folder.mkdir()
        path = folder / "checkpoint.safetensors"
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            with socket.socket(socket.AF_UNIX) as listener:
                os.chdir(folder)  # the path of a socket is short
                listener.bind(path.name)
        made[kind] = path
    return made


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_opens_what_is_no_file(places, reader, monkeypatch, tmp_path):
    """A pipe blocked for ever, and /dev/zero as a program took 47 s of memory."""
    monkeypatch.chdir(tmp_path)
    for kind, path in places.items():
        started = time.monotonic()
        with pytest.raises((NeuromorphicError, PnbxError), match=f"must be a regular file, is a {kind}") as caught:
            READERS[reader](path)
        assert str(path) in str(caught.value)
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("reader", READERS)
def test_a_missing_file_is_one_error(tmp_path, reader):
    with pytest.raises((NeuromorphicError, PnbxError), match="no such file"):
        READERS[reader](tmp_path / "none" / "checkpoint.safetensors")


def test_a_file_for_a_library_is_its_path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    check = neuromorphic.files.regular_files.check_regular
    assert check(path, FileFormatError, max_bytes=5) == path
    with pytest.raises(FileFormatError, match="has 5 bytes, at most 4"):
        check(path, FileFormatError, max_bytes=4)


@pytest.mark.parametrize(("guard", "error", "base"), GUARDS)
def test_sizes_and_errors_of_the_guard(tmp_path, monkeypatch, guard, error, base):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert guard.read_regular(path, error, max_bytes=5) == b"12345"
    with pytest.raises(error, match="file: has 5 bytes, at most 4 are read"):
        guard.read_regular(path, error, max_bytes=4)
    with pytest.raises(error, match="a name cannot hold a zero byte"):
        guard.read_regular(f"{path}\0", error, max_bytes=4)
    with (
        pytest.raises(error, match=r"cannot be read \(Input/output error\)"),
        guard.open_regular(path, error, max_bytes=5),
    ):
        raise OSError(5, "Input/output error")
    with pytest.raises(base, match="mine"), guard.open_regular(path, error, max_bytes=5):
        raise error("mine")


@pytest.mark.parametrize(("guard", "error", "base"), GUARDS)
def test_a_file_that_becomes_a_pipe_before_it_is_opened_blocks_nobody(tmp_path, monkeypatch, guard, error, base):
    path = tmp_path / "file"
    os.mkfifo(path)
    (tmp_path / "other").write_bytes(b"")
    status = (tmp_path / "other").stat()
    monkeypatch.setattr(Path, "stat", lambda path: status)
    with pytest.raises(error, match="must be a regular file, is a pipe"):
        guard.read_regular(path, error, max_bytes=5)


def test_a_terabyte_on_paper_is_not_read(tmp_path):
    for name, reader in READERS.items():
        path = tmp_path / name / "checkpoint.safetensors"
        path.parent.mkdir()
        path.touch()
        os.truncate(path, (1 << 40) + 1)
        with pytest.raises((NeuromorphicError, PnbxError), match=r"has 1099511627777 bytes, at most \d+ are read"):
            reader(path)


def test_inputs_of_every_number_type_are_read(tmp_path):
    array = np.arange(24).reshape(2, 3, 4)
    for dtype in ("i1", "u2", "<i8", ">f8", "f2", "?"):
        for order in "CF":
            np.save(tmp_path / "a.npy", np.asarray(array % 2, dtype=dtype, order=order))
            got = read_inputs(tmp_path / "a.npy")
            assert got.dtype == np.dtype(dtype)
            assert np.array_equal(got, (array % 2).astype(dtype))
            assert np.array_equal(read_inputs(tmp_path / "a.npy", slice(1, 3)), got[:, 1:3])
