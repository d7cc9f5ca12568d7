"""Writing a file at once, in both packages alike: whole or not at all, whoever else writes or is killed."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from neuromorphic.errors import StorageError as NeuromorphicStorageError
from neuromorphic.files.atomic_write import write_atomically as of_neuromorphic
from pnbx_snn.errors import StorageError as PnbxStorageError
from pnbx_snn.files.atomic_write import write_atomically as of_pnbx_snn

BOTH = [(of_neuromorphic, NeuromorphicStorageError), (of_pnbx_snn, PnbxStorageError)]
WRITER = """
import sys
from pathlib import Path
from {module} import write_atomically
path, letter = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
while not path.with_name("stop").exists():
    write_atomically(path, letter.encode() * 100_000)
"""
MODULES = ["neuromorphic.files.atomic_write", "pnbx_snn.files.atomic_write"]


@pytest.mark.parametrize("module", MODULES)
def test_two_writers_and_a_reader(tmp_path, module):
    """With one temporary name for both, 149 of 150 files that were read were torn, and writers failed."""
    path = tmp_path / "file"
    command = [sys.executable, "-c", WRITER.format(module=module), str(path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with (
        subprocess.Popen([*command, "a"], **pipes) as first,
        subprocess.Popen([*command, "b"], **pipes) as second,
    ):
        seen = set()
        try:
            for writer in (first, second):
                assert writer.stdout.readline() == "ready\n"
            while not path.exists():
                time.sleep(0.01)
            for _ in range(150):
                content = path.read_bytes()
                assert len(content) == 100_000
                assert len(set(content)) == 1
                seen.add(content[:1])
        finally:
            (tmp_path / "stop").touch()
        for writer in (first, second):
            _, errors = writer.communicate(timeout=60)
            assert (writer.returncode, errors) == (0, "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "stop"]


@pytest.mark.parametrize(("write", "error"), BOTH)
def test_eight_threads(tmp_path, write, error):
    path = tmp_path / "file"
    threads = [threading.Thread(target=lambda i=i: write(path, bytes([i]) * 100_000)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in [bytes([i]) * 100_000 for i in range(8)]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("write", "error"), BOTH)
def test_what_killed_writers_left_goes_with_time(tmp_path, write, error):
    old, young, other = (tmp_path / name for name in (".pnbx-01.tmp", ".pnbx-02.tmp", "mine.tmp"))
    for path in (old, young, other):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - 3700,) * 2)
    os.utime(young)
    write(tmp_path / "file", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"file", young.name, other.name}


@pytest.mark.parametrize(("write", "error"), BOTH)
def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, write, error):
    path = tmp_path / "file"
    write(path, b"old")
    for name, owner in (("fsync", os), ("replace", Path)):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(error, match=r"No space left on device"):
                write(path, b"new")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("write", "error"), BOTH)
def test_names_and_permissions(tmp_path, write, error):
    """The longest name that a folder takes will do, and who may read is what the process says."""
    path = tmp_path / ("x" * 255)
    before = os.umask(0o027)
    try:
        write(path, b"content")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(error, match="Is a directory"):
        write(tmp_path, b"content")
