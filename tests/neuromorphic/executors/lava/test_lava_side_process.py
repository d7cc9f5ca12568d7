"""What the parent makes of a side process that is no worker of ours: scripts stand for its Python, without Lava."""

import time
from pathlib import Path

import numpy as np
import pytest

from neuromorphic import Dense, Input, Program
from neuromorphic.errors import ExecutorError
from neuromorphic.executors.lava import executor as lava_executor
from neuromorphic.executors.lava.environment import LavaPython, _probe
from neuromorphic.executors.lava.executor import LavaSession
from neuromorphic.executors.lava.side_process import SideProcess

READY = '{"type": "ready"}'
DONE = '{"type": "done", "files": {"v": "v.npy"}, "run_seconds": 1, "build_seconds": 1, "steps": 1, "processes": 1}'


@pytest.fixture
def speaking(tmp_path, monkeypatch):
    """Make an interpreter that says these lines and then waits."""

    def make(*lines, raw=None):
        script = tmp_path / "python"
        said = raw if raw is not None else "\n".join(lines) + "\n"
        (tmp_path / "said").write_bytes(said if isinstance(said, bytes) else said.encode())
        script.write_text(f"#!/bin/sh\ncat {tmp_path / 'said'}\nexec sleep 100\n")
        script.chmod(0o755)
        python = LavaPython(script, "3.10", "0.10.0", "1.26", "test", shim=False)
        monkeypatch.setattr(lava_executor, "find_lava_python", lambda explicit: python)
        return python

    return make


def run_one():
    program = Program((Input("x", 3), Dense("fc", "x", np.ones((2, 3), dtype=np.int8))), num_steps=4)
    with LavaSession() as session:
        return session.execute(program, program.prepare_inputs(np.ones((1, 3), dtype=np.int8)), time_limit_s=20)


NONSENSE = {
    "no JSON": ("Segmentation fault",),
    "no message": ("[1, 2]",),
    "another kind": ('{"type": "hello"}',),
    "too early": (DONE,),
    "no kind": ('{"kind": "ready"}',),
    "nested": ("[" * 100_000,),
    "twice ready": (READY, READY),
    "half a message": (READY, '{"type": "progress", "done": 1}'),
    "wrong types": (READY, DONE.replace('{"v": "v.npy"}', '["v.npy"]')),
    "an error without a text": ('{"type": "error"}',),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_what_is_no_message_is_quoted(what, speaking):
    speaking(*NONSENSE[what])
    with pytest.raises(ExecutorError, match="lava: the side process said '.*', which is none of its messages"):
        run_one()


def test_bytes_without_an_end_are_no_message(speaking):
    speaking(raw=b"\xff\x00" * (1 << 20))
    with pytest.raises(ExecutorError, match=r"lava: the side process said '\\\\xff\\x00"):
        run_one()


def test_recorded_files_that_are_none(speaking):
    speaking(READY, DONE)
    with pytest.raises(ExecutorError, match="lava: what the side process recorded cannot be read"):
        run_one()


def test_an_interpreter_that_cannot_be_started(tmp_path):
    (tmp_path / "python").write_text("no program")
    (tmp_path / "python").chmod(0o755)
    before = set(Path("/tmp").glob("pnbx-lava-*"))
    with pytest.raises(ExecutorError, match="lava: .*python cannot be started .Exec format error"):
        SideProcess(LavaPython(tmp_path / "python", "3.10", "0.10.0", "1.26", "test", shim=False))
    assert set(Path("/tmp").glob("pnbx-lava-*")) <= before


def test_a_probe_that_prints_bytes(tmp_path):
    script = tmp_path / "python"
    script.write_bytes(b"#!/bin/sh\nprintf '\\377\\376'\n")
    script.chmod(0o755)
    assert "gave an unexpected answer" in _probe(script, "test")


def test_nothing_of_a_speaker_stays(speaking):
    process = SideProcess(speaking(READY))
    assert next(process.replies(time.monotonic() + 20, "ready"))["type"] == "ready"
    process.end()
    assert not process.folder.exists()
