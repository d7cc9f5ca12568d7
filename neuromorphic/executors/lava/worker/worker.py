"""The Lava side process. Started as a file, under a Python that has lava-nc; it never sees the parent's packages.

``worker.py probe`` prints one JSON line: versions, and whether the import shim was needed.

``worker.py serve FOLDER`` takes jobs, one JSON line each on standard input: ``{"job": folder, "runtime": name,
"processes": name}``. The folder holds ``program.npz`` and ``inputs.npy``; the answers are JSON lines on standard
output, ``ready`` once, ``progress`` any number of times, ``done`` with the files of the variables. A failure anywhere,
in this process or in a process that Lava started, is written to ``FOLDER/error.txt`` and ends the whole process group
at once: an exception in a Lava model would otherwise hang the run, and so would Lava's own clean-up after it. The group
also ends when the parent does, however that ends: standard input closes, or this process is adopted by another.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import platform
import select
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent
PR_SET_PDEATHSIG = 1
POLL_S = 0.2


def load_package() -> None:
    """Make ``neuromorphic`` importable by its location, and nothing else that lies near it.

    Python puts the folder of a script on the path; what lies there belongs to a package and is not to be found alone.
    """
    package = HERE.parents[2]
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != HERE]
    spec = importlib.util.spec_from_file_location(
        "neuromorphic", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["neuromorphic"] = module
    spec.loader.exec_module(module)


def load_lava() -> dict[str, Any]:
    """Import Lava and return the versions in use."""
    load_package()
    from importlib.metadata import version

    import numpy as np

    from neuromorphic.executors.lava.worker.shim import import_lava

    shim = import_lava()
    return {"python": platform.python_version(), "numpy": np.__version__, "lava": version("lava-nc"), "shim": shim}


def remember_models() -> None:
    """Let Lava's compiler look for the models of a process class once.

    It looks for each process anew, executing every module beside it: 20 ms a process, most of the time a run takes to
    start.
    """
    from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs

    find = ProcGroupDiGraphs._find_proc_models
    known: dict[type, list[type]] = {}

    def find_once(proc: Any) -> list[type]:  # called by keyword
        if type(proc) not in known:
            known[type(proc)] = find(proc)
        return list(known[type(proc)])

    ProcGroupDiGraphs._find_proc_models = staticmethod(find_once)


def end_group() -> None:
    """End this process and all of its group, stopped ones too: those hear SIGTERM only once they go on."""
    os.killpg(os.getpgrp(), signal.SIGCONT)
    os.killpg(os.getpgrp(), signal.SIGTERM)


class Worker:
    """Answers jobs until its input ends.

    Parameters
    ----------
    folder : Path
        The session's folder: errors are written here, and it is removed when the parent is gone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parent = os.getppid()
        self._jobs: SimpleQueue[dict[str, str]] = SimpleQueue()
        self._actors: list[Any] = []
        # Lava prints to standard output; the protocol keeps the pipe to itself.
        self._replies = os.dup(1)
        os.dup2(2, 1)

    def serve(self) -> NoReturn:
        """Import Lava, say that it is there, then run jobs one after the other."""
        try:
            threading.Thread(target=self._guard, daemon=True).start()
            versions = load_lava()
            self._take_over_lava_processes()
            remember_models()
            self._reply(type="ready", **versions)
            while True:
                job = self._jobs.get()
                self._run(Path(job["job"]), job["runtime"], job["processes"])
        except BaseException:
            self.fail(traceback.format_exc())

    def _reply(self, **message: Any) -> None:
        os.write(self._replies, json.dumps(message).encode() + b"\n")

    def _run(self, folder: Path, runtime: str, processes: Any) -> None:
        import numpy as np

        from neuromorphic.executors.lava.worker.network import run_program
        from neuromorphic.program import Program

        program = Program.load(folder / "program.npz")
        inputs = np.load(folder / "inputs.npy", mmap_mode="r", allow_pickle=False)

        def progress(done: int, total: int) -> None:
            self._reply(type="progress", done=done, total=total)

        variables, facts = run_program(program, inputs, runtime, folder, progress, processes)
        files = {}
        for index, (name, array) in enumerate(variables.items()):
            files[name] = f"variable_{index}.npy"
            np.save(folder / files[name], np.ascontiguousarray(array), allow_pickle=False)
        self._reply(type="done", files=files, **facts)

    def fail(self, text: str) -> NoReturn:
        """Leave the text of the first failure for the parent, and end every process of the group.

        Python's resource tracker ignores SIGTERM, outlives the rest, and removes their shared memory.
        """
        note = self._folder / f"error-{os.getpid()}.txt"
        try:
            note.write_text(text)
            os.link(note, self._folder / "error.txt")
        except FileExistsError:
            pass  # another process failed first
        except OSError:  # a full disk
            self._reply(type="error", text=text[-3000:])  # short enough to arrive in one piece
        end_group()
        time.sleep(10)
        os._exit(1)

    def _take_over_lava_processes(self) -> None:
        """Let every process that Lava starts die with this one, and fail loudly instead of silently."""
        from lava.magma.runtime.message_infrastructure import multiprocessing as lava_multiprocessing

        worker = self
        libc = ctypes.CDLL(None)
        forking = [os.getpid()]

        def note_parent() -> None:
            forking[0] = os.getpid()

        def die_with_parent() -> None:
            if sys.platform == "linux":
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != forking[0]:  # it died before the line above
                os._exit(1)

        os.register_at_fork(before=note_parent, after_in_child=die_with_parent)
        system_process = lava_multiprocessing.SystemProcess
        start, join = system_process.start, system_process.join

        def run_or_fail(self: Any) -> None:
            try:
                lava_multiprocessing.mp.Process.run(self)
                self._cconn.send(None)
            except BaseException:
                worker.fail(f"{_described(self)} failed:\n{traceback.format_exc()}")

        def start_and_note(self: Any) -> None:
            start(self)
            worker._actors.append(self)

        def join_if_well(self: Any) -> None:
            if not self._is_done:
                lava_multiprocessing.mp.Process.join(self)
                worker._check_status(self.pid, self.exitcode)
            join(self)

        system_process.run = run_or_fail
        system_process.start = start_and_note
        system_process.join = join_if_well

    def _guard(self) -> None:
        """Read jobs; end everything when the parent or one of Lava's processes is gone. Runs in its own thread."""
        pending = b""
        while os.getppid() == self._parent:
            if select.select([0], [], [], POLL_S)[0]:
                received = os.read(0, 65536)
                if not received:
                    break
                *lines, pending = (pending + received).split(b"\n")
                for line in lines:
                    self._jobs.put(json.loads(line))
            for process in list(self._actors):
                self._check_actor(process)
        shutil.rmtree(self._folder, ignore_errors=True)
        end_group()

    def _check_actor(self, process: Any) -> None:
        """Fail if one of Lava's processes has ended otherwise than it should.

        To start the next one, multiprocessing looks for those that have ended and takes their status: then it has it.
        """
        started = process._popen
        if started is None:  # Lava has joined it, and found it well
            self._actors.remove(process)
            return
        try:
            ended = os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            status = started.returncode
            if status is None:  # being taken at this moment
                return
            self._actors.remove(process)
        else:
            if ended is None:
                return
            status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        self._check_status(started.pid, status)

    def _check_status(self, pid: int, status: int) -> None:
        if status != 0:
            how = f"exit status {status}" if status > 0 else f"signal {-status}"
            self.fail(f"a process that Lava started (pid {pid}) was ended by {how}")


def _described(process: Any) -> str:
    """Name the operation and the model of a process that Lava started."""
    builder = process._kwargs.get("builder")
    model = getattr(builder, "proc_model", None)
    if model is None:
        return "Lava's runtime service"
    name = builder.proc_params.get("name") if builder.proc_params is not None else None
    return f"the Lava process {name or model.__name__} ({model.__name__})"


def main(arguments: list[str]) -> None:
    """Run the command line of this file."""
    if arguments == ["probe"]:
        sys.stdout.write(json.dumps(load_lava()) + "\n")
    elif len(arguments) == 2 and arguments[0] == "serve":
        if os.getpgrp() != os.getpid():
            os.setpgrp()  # the whole group is ended on failure: it must be ours
        Worker(Path(arguments[1])).serve()
    else:
        sys.exit("usage: worker.py probe | worker.py serve FOLDER")


if __name__ == "__main__":
    main(sys.argv[1:])
