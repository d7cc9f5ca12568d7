"""The Lava side process: what it answers, what it does when something fails, and that it leaves nothing behind.

Lava is made to fail through its interpreter: a script that stands for one, and changes a Lava model before it runs the
worker. Whether something is left is asked of the processes themselves: which of the group live, and whether the shared
memory they had mapped is still there.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import neuromorphic
from neuromorphic import LIF, Dense, Input, Program, Readout, run, verify
from neuromorphic.errors import ExecutorError, ExecutorTimeoutError, LavaNotFoundError
from neuromorphic.executors.lava import executor as lava_executor
from neuromorphic.executors.lava.environment import WORKER, clean_environment
from neuromorphic.executors.lava.executor import LavaSession, default_time_limit
from neuromorphic.executors.lava.side_process import living_members

pytestmark = pytest.mark.lava

ONE = np.ones(3, dtype=np.int32)


@pytest.fixture(scope="module")
def program():
    ones = np.ones(4, dtype=np.int32)
    weights = np.random.default_rng(0).integers(-1, 2, (4, 3)).astype(np.int8)
    return Program(
        (
            Input("x", 3, low=-128, high=127),
            Dense("fc", "x", weights),
            LIF("lif", ("fc",), decay=3686 * ones, threshold=640 * ones, bias=64 * ones, shift=6),
            Dense("out", "lif", weights.T.copy()),
            Readout("readout", ("out",), bias=ONE, shift=0),
        ),
        num_steps=10,
    )


def inputs_for(program, batch):
    return program.prepare_inputs(np.random.default_rng(1).integers(-128, 128, (10, batch, 3)))


def members(group):
    return living_members(group)


def start_time(pid):
    """When a process started; numbers of processes start anew after the highest."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def segments(group):
    """Shared memory that the processes of a group have mapped."""
    found = set()
    for pid in members(group):
        try:
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        except OSError:
            continue
        found |= {line.split()[-1] for line in lines if "/dev/shm/" in line}
    return found


def gone(group, mapped, limit_s=15.0):
    """Wait until no process of the group lives; return whether its shared memory is gone too."""
    deadline = time.monotonic() + limit_s
    while members(group) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not members(group) and not any(Path(name).exists() for name in mapped)


@pytest.fixture
def sabotaged(lava_python, tmp_path):
    """Make an interpreter that changes Lava's ``Dense`` model before the worker uses it."""

    def make(body, step=50):
        script = tmp_path / "python"
        script.write_text(
            f"#!{lava_python.path}\n"
            "import os, runpy, signal, sys, time\n"
            "original_register = os.register_at_fork\n"
            "def register(**functions):\n"
            "    if 'lava.magma.runtime.runtime' in sys.modules:  # the worker has imported Lava\n"
            "        from lava.proc.dense.models import PyDenseModelBitAcc as Model\n"
            "        run_spk = Model.run_spk\n"
            "        def changed(self):\n"
            f"            if self.time_step == {step}:\n"
            f"                {body}\n"
            "            run_spk(self)\n"
            "        Model.run_spk = changed\n"
            "    original_register(**functions)\n"
            "os.register_at_fork = register\n"
            "sys.argv = sys.argv[1:]\n"
            "runpy.run_path(sys.argv[0], run_name='__main__')\n"
        )
        script.chmod(0o755)
        return script

    return make


class Watch:
    """A progress callback that notes the shared memory in use, and may do something at its first call."""

    def __init__(self, session, action=lambda: None):
        self.session, self.action = session, action
        self.calls, self.mapped, self.group = [], set(), None

    def __call__(self, done, total):
        if not self.calls:
            self.group = self.session.worker_pid
            self.mapped = segments(self.group)
            self.action()
        self.calls.append((done, total))


def test_run_and_verify_reach_lava_by_name(program, lava_python):
    assert lava_python.lava_version == "0.10.0"
    comparison, _, got = verify(program, inputs_for(program, 3), "lava", runtime="in_process")
    assert comparison.equal
    assert (got.executor, got.metadata["runtime"], got.metadata["lava"]) == ("lava", "in_process", "0.10.0")
    assert got.metadata["python"] == lava_python.python_version
    assert got.metadata["numpy"] == lava_python.numpy_version
    assert got.metadata["us_per_step"] == pytest.approx(1e6 * got.metadata["seconds"] / 32)


def test_progress_counts_lava_steps_and_a_session_is_used_again(program, lava_python):
    with LavaSession(python=lava_python.path) as session:
        watch = Watch(session)
        first = session.execute(program, inputs_for(program, 60), progress=watch)
        assert watch.calls[-1] == (602, 602)  # 60 samples of 10 steps, and 2 for the depth
        assert len(watch.calls) >= 40
        assert [done for done, _ in watch.calls] == sorted(done for done, _ in watch.calls)
        assert watch.mapped
        pid, folder = session.worker_pid, session._worker.folder
        assert [path.name for path in folder.iterdir()] == ["stderr.txt"]  # a job's files go with the job
        assert "Cannot import" not in (folder / "stderr.txt").read_text()  # Lava executes every module beside a process
        started = time.monotonic()
        second = session.execute(program, inputs_for(program, 5))
        assert time.monotonic() - started < 10
        assert session.worker_pid == pid
        np.testing.assert_array_equal(
            second.variables["lif.v"], run(program, inputs_for(program, 5)).variables["lif.v"]
        )
        assert first.metadata["processes"] == 7
    assert session.worker_pid is None
    assert not folder.exists()
    assert gone(pid, watch.mapped, limit_s=0.0)


def test_prints_of_lava_do_not_disturb_the_protocol(program, sabotaged):
    noise = "print('noise', flush=True); os.write(1, b'{not json}\\n')"
    with LavaSession(python=sabotaged(noise)) as session:
        got = session.execute(program, inputs_for(program, 8))
    expected = run(program, inputs_for(program, 8))
    np.testing.assert_array_equal(got.variables["readout.y"], expected.variables["readout.y"])


@pytest.mark.parametrize("runtime", ["processes", "in_process"])
def test_the_text_of_an_error_in_a_model_reaches_the_user(program, sabotaged, runtime):
    broken = sabotaged("raise ArithmeticError('the model broke')", step=400)  # the callback looks at what lives before
    with LavaSession(python=broken, runtime=runtime) as session:
        started = time.monotonic()
        watch = Watch(session)
        with pytest.raises(ExecutorError, match="ArithmeticError: the model broke") as raised:
            session.execute(program, inputs_for(program, 50), progress=watch)
        assert time.monotonic() - started < 20
        assert "in changed" in str(raised.value)  # the traceback, not only its last line
        if runtime == "processes":
            named = [
                f"the Lava process {name} (PyDenseModelBitAcc) failed" in str(raised.value) for name in ("fc", "out")
            ]
            assert any(named)
            assert watch.mapped
        assert session.worker_pid is None
        assert gone(watch.group, watch.mapped, limit_s=0.0)


def test_an_error_that_cannot_be_written_down_still_arrives(program, sabotaged):
    body = "import shutil; shutil.rmtree(sys.argv[2]); raise ArithmeticError('the disk is gone')"
    with LavaSession(python=sabotaged(body)) as session, pytest.raises(ExecutorError, match="the disk is gone"):
        session.execute(program, inputs_for(program, 50))


def test_a_hang_ends_at_the_time_limit(program, sabotaged):
    with LavaSession(python=sabotaged("time.sleep(3600)")) as session:
        session.execute(program, inputs_for(program, 2))  # too short to reach the step that hangs
        watch = Watch(session)
        started = time.monotonic()
        with pytest.raises(ExecutorTimeoutError, match="lava: not done running 50 samples of 10 steps within 5 s, and"):
            session.execute(program, inputs_for(program, 50), time_limit_s=5, progress=watch)
        assert 4.9 < time.monotonic() - started < 15
        assert watch.mapped
        assert gone(watch.group, watch.mapped, limit_s=0.0)


def test_a_time_limit_too_short_to_start_says_so(program, lava_python):
    with pytest.raises(ExecutorTimeoutError, match=r"not done starting within 0.01 s, .* longer with time_limit_s"):
        lava_executor.execute(program, inputs_for(program, 1), python=lava_python.path, time_limit_s=0.01)


def test_a_lava_process_that_is_killed_is_noticed(program, lava_python):
    with LavaSession(python=lava_python.path) as session:

        def kill_the_last_started():
            os.kill(max(members(session.worker_pid), key=start_time), signal.SIGTERM)

        watch = Watch(session, kill_the_last_started)
        started = time.monotonic()
        with pytest.raises(ExecutorError, match=r"a process that Lava started \(pid \d+\) was ended by signal 15"):
            session.execute(program, inputs_for(program, 500), progress=watch)
        assert time.monotonic() - started < 15
        assert gone(watch.group, watch.mapped, limit_s=0.0)
        again = session.execute(program, inputs_for(program, 2))  # a new side process
        assert again.variables["lif.v"].shape == (10, 2, 4)
        assert session.worker_pid != watch.group


def test_a_worker_that_is_killed_takes_everything_with_it(program, lava_python):
    with LavaSession(python=lava_python.path) as session:
        watch = Watch(session, lambda: os.kill(session.worker_pid, signal.SIGKILL))
        with pytest.raises(ExecutorError, match="the side process was ended by SIGKILL without a reason"):
            session.execute(program, inputs_for(program, 500), progress=watch)
        assert watch.mapped
        assert gone(watch.group, watch.mapped, limit_s=0.0)


@pytest.mark.parametrize("stopped", ["the worker", "the others", "all"])
def test_stopped_processes_leave_no_shared_memory(program, lava_python, stopped):
    """SIGTERM waits until a stopped process goes on; killed at once, the group left 15 to 24 segments."""

    def stop():
        for pid in members(session.worker_pid):
            if stopped == "all" or (pid == session.worker_pid) == (stopped == "the worker"):
                os.kill(pid, signal.SIGSTOP)

    with LavaSession(python=lava_python.path) as session:
        session.execute(program, inputs_for(program, 2))
        watch = Watch(session, stop)
        with pytest.raises(ExecutorTimeoutError):
            session.execute(program, inputs_for(program, 500), time_limit_s=5, progress=watch)
        assert watch.mapped
        assert gone(watch.group, watch.mapped, limit_s=0.0)


KILL_THE_FIRST = """#!{python}
import os, runpy, signal, sys
original_register = os.register_at_fork
def register(**functions):
    if 'lava.magma.runtime.runtime' in sys.modules:  # the worker has imported Lava
        from lava.magma.runtime.message_infrastructure.multiprocessing import SystemProcess
        start, started = SystemProcess.start, []
        def start_and_kill(self):
            start(self)
            started.append(self.pid)
            if len(started) == 1:
                os.kill(self.pid, signal.SIGKILL)
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        SystemProcess.start = start_and_kill
    original_register(**functions)
os.register_at_fork = register
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def test_a_lava_process_that_is_killed_while_others_start_is_noticed(program, lava_python, tmp_path):
    """Starting the next process takes its status away: it went unnoticed until the time limit."""
    script = tmp_path / "python"
    script.write_text(KILL_THE_FIRST.format(python=lava_python.path))
    script.chmod(0o755)
    with LavaSession(python=script) as session:
        started = time.monotonic()
        with pytest.raises(ExecutorError, match=r"a process that Lava started \(pid \d+\) was ended by signal 9"):
            session.execute(program, inputs_for(program, 50), time_limit_s=60)
        assert time.monotonic() - started < 40


def test_an_error_in_the_callers_progress_ends_the_run(program, lava_python):
    def broken(done, total):
        raise ZeroDivisionError("mine")

    with LavaSession(python=lava_python.path) as session:
        with pytest.raises(ZeroDivisionError, match="mine"):
            session.execute(program, inputs_for(program, 500), progress=broken)
        assert session.worker_pid is None


PARENT = """
import os, sys
sys.path[:0] = [{root!r}]
import numpy as np
from neuromorphic import Program
from neuromorphic.executors.lava.executor import LavaSession
program = Program.load(sys.argv[1])
session = LavaSession(python={python!r})
told = []
def progress(done, total):
    if not told:
        told.append(done)
        print(session.worker_pid, session._worker.folder, flush=True)
try:
    inputs = np.zeros((10, int(sys.argv[2]), 3), dtype=np.int32)
    session.execute(program, inputs, progress=progress)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    raise
print("finished", flush=True)
"""


@pytest.fixture
def parent(program, lava_python, tmp_path):
    """Start another process that runs Lava; return it, its worker's group and what it uses, once it is running."""
    started = []

    def start(batch):
        program.save(tmp_path / "program.npz")
        root = str(Path(neuromorphic.__file__).parents[1])
        code = PARENT.format(root=root, python=str(lava_python.path))
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "program.npz"), str(batch)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        group, folder = process.stdout.readline().split()
        return process, int(group), Path(folder), segments(int(group))

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_ctrl_c_in_the_parent_leaves_nothing(parent):
    process, group, folder, mapped = parent(2000)
    assert mapped
    assert folder.is_dir()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert output == "interrupted\n"
    assert process.returncode == -signal.SIGINT or "KeyboardInterrupt" in errors
    assert gone(group, mapped, limit_s=0.0)
    assert not folder.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_parent_leaves_nothing(parent, number):
    process, group, folder, mapped = parent(2000)
    assert mapped
    process.send_signal(number)
    process.wait(timeout=60)
    assert gone(group, mapped)
    assert not folder.exists()


def test_a_parent_and_a_worker_killed_at_once_leave_no_process_and_no_memory(parent):
    process, group, folder, mapped = parent(2000)
    assert mapped
    os.kill(process.pid, signal.SIGSTOP)  # it must not have the time to clean up
    os.kill(group, signal.SIGKILL)
    process.kill()
    process.wait(timeout=60)
    assert gone(group, mapped)
    shutil.rmtree(folder)  # the one thing that nobody is left to remove


def test_a_parent_that_forgets_to_close_leaves_nothing(parent):
    process, group, folder, mapped = parent(20)
    assert process.communicate(timeout=60)[0] == "finished\n"
    assert process.returncode == 0
    assert gone(group, mapped, limit_s=0.0)
    assert not folder.exists()


def test_a_worker_that_cannot_start_is_quoted(program, lava_python, tmp_path):
    script = tmp_path / "python"
    script.write_text(
        f'#!/bin/sh\nif [ "$2" = serve ]; then echo "no luck today" >&2; exit 3; fi\nexec {lava_python.path} "$@"\n'
    )
    script.chmod(0o755)
    with pytest.raises(ExecutorError, match=r"the side process ended with status 3 without a reason\nno luck today"):
        lava_executor.execute(program, inputs_for(program, 1), python=script)


DEADLOCK = """
import runpy, sys
runpy.run_path(sys.argv[1])["load_lava"]()
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.lif.process import LIF
from neuromorphic.executors.lava.worker.local_runtime import LocalRuntime
first, second = LIF(shape=(2,)), LIF(shape=(2,))
first.s_out.connect(second.a_in)
second.s_out.connect(first.a_in)  # each waits for the other's spikes before it sends its own
LocalRuntime(first, Loihi2SimCfg(select_tag="fixed_pt")).run(1)
"""


def test_a_network_in_which_nobody_can_move_is_an_error_in_process(lava_python):
    command = [str(lava_python.path), "-c", DEADLOCK, str(WORKER)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean_environment())
    assert "RuntimeError: no process can move: PyLifModelBitAcc, PyLifModelBitAcc wait for messages" in done.stderr


def test_a_program_with_nothing_to_record_needs_no_run(lava_session):
    bare = Program((Input("x", 3), Dense("fc", "x", np.ones((2, 3), dtype=np.int8))), num_steps=4)
    recording = lava_session.execute(bare, bare.prepare_inputs(np.ones((2, 3), dtype=np.int8)))
    assert recording.variables == {}


def test_what_is_refused_before_anything_starts(program, lava_python):
    with pytest.raises(
        LavaNotFoundError, match="the interpreter asked for is /nowhere/python, and Lava cannot be used"
    ):
        run(program, inputs_for(program, 1), "lava", python="/nowhere/python")
    with pytest.raises(ExecutorError, match="lava: runtime must be one of processes, in_process, got 'threads'"):
        run(program, inputs_for(program, 1), "lava", runtime="threads")
    session = LavaSession(python=lava_python.path)
    with pytest.raises(ExecutorError, match="lava: time_limit_s must be positive, got 0"):
        session.execute(program, inputs_for(program, 1), time_limit_s=0)
    assert session.worker_pid is None


def test_the_default_time_limit_grows_with_steps_and_weights(program):
    assert default_time_limit(program, inputs_for(program, 1)) == pytest.approx(120 + 12 * (0.05 + 24e-7))
    assert default_time_limit(program, inputs_for(program, 100)) == pytest.approx(120 + 1002 * (0.05 + 24e-7))
