"""Run a program on Lava, in a side process that can always be ended.

Lava runs under another Python (:mod:`neuromorphic.executors.lava.environment`), starts many processes of its own, and
hangs when one of them fails. So everything it does happens in a side process
(:mod:`neuromorphic.executors.lava.side_process`), and whatever happens, a failure, a time-out, Ctrl-C, the end of this
process, that is ended with all that it started.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neuromorphic.bounds import proven_for
from neuromorphic.errors import ExecutorError, ExecutorTimeoutError
from neuromorphic.executors.lava.environment import find_lava_python
from neuromorphic.executors.lava.grouping import PROCESSES, Processes
from neuromorphic.executors.lava.mapping import Layout, as_synapses
from neuromorphic.executors.lava.side_process import SideProcess
from neuromorphic.ops import Conv
from neuromorphic.program import Program
from neuromorphic.recording import Recording
from neuromorphic.wording import counted

RUNTIMES = ("processes", "in_process")
START_LIMIT_S = 120.0  # allowed on top of the steps: starting Python, importing Lava, starting its processes
STEP_LIMIT_S = 0.05  # a step takes about 2 ms
WEIGHT_LIMIT_S = 1e-7  # a synapse takes 1 to 5 ns a step
KERNEL_LIMIT_S = 4e-4  # Lava's Conv calls scipy for each pair of channels, about 20 us

Runtime = Literal["processes", "in_process"]
Progress = Callable[[int, int], None]


def default_time_limit(program: Program, inputs: NDArray[np.int32]) -> float:
    """Return the seconds a run may take: 120, and for every step 0.05 and 1e-7 a synapse, about 20 times the need."""
    layout = Layout(program)
    steps: int = inputs.shape[0] * inputs.shape[1] + max(layout.depth.values())
    step_s = STEP_LIMIT_S
    for op in filter(None, map(as_synapses, program.ops)):
        step_s += op.size * op.weights[0].size * WEIGHT_LIMIT_S
        if isinstance(op, Conv):
            step_s += len(op.weights) * op.weights.shape[1] * KERNEL_LIMIT_S
    return START_LIMIT_S + steps * step_s


class LavaSession:
    """A Lava side process kept for many programs, one at a time: starting it takes a second, a further job hundredths.

    Parameters
    ----------
    python : str or PathLike, optional
        Interpreter with lava-nc; by default :func:`neuromorphic.executors.lava.environment.find_lava_python` looks for
        one.
    runtime : str
        ``"processes"``: Lava's own runtime, an operating-system process for every Lava process. ``"in_process"``: the
        same unmodified Lava models in one process, several times faster on small networks.

    Raises
    ------
    LavaNotFoundError
        When there is no Python with Lava.

    Examples
    --------
    Use it as a context manager::

        with LavaSession() as session:
            for program, inputs in jobs:
                recording = session.execute(program, program.prepare_inputs(inputs))
    """

    def __init__(self, *, python: str | os.PathLike[str] | None = None, runtime: Runtime = "processes") -> None:
        if runtime not in RUNTIMES:
            raise ExecutorError(f"lava: runtime must be one of {', '.join(RUNTIMES)}, got {runtime!r}")
        self.runtime: Runtime = runtime
        self.python = find_lava_python(python)
        self._worker: SideProcess | None = None
        self._one_at_a_time = Lock()

    def __enter__(self) -> LavaSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def worker_pid(self) -> int | None:
        """Process id of the side process, which is also its process group, or ``None`` when there is none."""
        return None if self._worker is None else self._worker.pid

    def close(self) -> None:
        """End the side process and all that it started."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()

    def execute(
        self,
        program: Program,
        inputs: NDArray[np.int32],
        *,
        processes: Processes = "operation",
        time_limit_s: float | None = None,
        progress: Progress | None = None,
    ) -> Recording:
        """Run a program; see :func:`execute`. After a failure the next call starts a new side process.

        A second thread waits until the first one's program is done.
        """
        with self._one_at_a_time:
            return self._execute(program, inputs, processes, time_limit_s, progress)

    def _execute(
        self,
        program: Program,
        inputs: NDArray[np.int32],
        processes: Processes,
        time_limit_s: float | None,
        progress: Progress | None,
    ) -> Recording:
        if processes not in PROCESSES:
            raise ExecutorError(f"lava: processes must be one of {', '.join(PROCESSES)}, got {processes!r}")
        if time_limit_s is not None and not time_limit_s > 0:
            raise ExecutorError(f"lava: time_limit_s must be positive, got {time_limit_s!r}")
        program = proven_for(program, len(inputs))
        limit = default_time_limit(program, inputs) if time_limit_s is None else time_limit_s
        deadline = time.monotonic() + limit
        doing = "starting"
        try:
            if self._worker is None:
                self._worker = SideProcess(self.python)
                next(self._worker.replies(deadline, "ready"))
            doing = f"running {counted(inputs.shape[1], 'sample')} of {counted(inputs.shape[0], 'step')}"
            return self._run(self._worker, program, inputs, processes, deadline, progress)
        except TimeoutError as error:
            self.close()
            raise ExecutorTimeoutError(
                f"lava: not done {doing} within {limit:g} s, and ended; give it longer with time_limit_s (--time-limit)"
            ) from error
        except BaseException:  # Ctrl-C too: a side process in the middle of a job is of no further use
            self.close()
            raise

    def _run(
        self,
        worker: SideProcess,
        program: Program,
        inputs: NDArray[np.int32],
        processes: Processes,
        deadline: float,
        progress: Progress | None,
    ) -> Recording:
        with tempfile.TemporaryDirectory(prefix="job-", dir=worker.folder) as job:
            program.save(Path(job) / "program.npz")
            np.save(Path(job) / "inputs.npy", inputs, allow_pickle=False)
            worker.send({"job": job, "runtime": self.runtime, "processes": processes})
            for message in worker.replies(deadline, "progress", "done"):
                if message["type"] == "done":
                    break
                if progress is not None:
                    progress(message["done"], message["total"])
            try:
                files = message["files"].items()
                variables = {name: np.load(Path(job) / str(file), allow_pickle=False) for name, file in files}
            except (OSError, ValueError, EOFError) as error:
                raise ExecutorError(f"lava: what the side process recorded cannot be read ({error})") from error
        metadata = {
            "seconds": message["run_seconds"],
            "build_seconds": message["build_seconds"],
            "us_per_step": 1e6 * message["run_seconds"] / message["steps"],
            "steps": message["steps"],
            "processes": message["processes"],
            "process_of": processes,
            "runtime": self.runtime,
            "python": self.python.python_version,
            "numpy": self.python.numpy_version,
            "lava": self.python.lava_version,
            "shim": self.python.shim,
        }
        return Recording(variables, "lava", metadata)


def execute(
    program: Program,
    inputs: NDArray[np.int32],
    *,
    python: str | os.PathLike[str] | None = None,
    runtime: Runtime = "processes",
    processes: Processes = "operation",
    time_limit_s: float | None = None,
    progress: Progress | None = None,
) -> Recording:
    """Run a program on Lava, all samples one after the other through one network.

    Parameters
    ----------
    program : Program
        What to run; :class:`neuromorphic.executors.lava.mapping.Layout` says which Lava process runs what.
    inputs : NDArray[np.int32]
        ``[T, B, N]``, as :meth:`Program.prepare_inputs` returns them.
    python : str or PathLike, optional
        Interpreter with lava-nc; by default one is looked for.
    runtime : str
        ``"processes"`` or ``"in_process"``; see :class:`LavaSession`.
    processes : str
        What has a Lava process of its own: ``"operation"``, as on Loihi, with stock processes where they are equal;
        ``"block"``, all operations up to neurons that send nothing but spikes on; ``"one"``, the whole program. The
        fewer processes, the faster a step; recordings are the same.
    time_limit_s : float, optional
        Seconds until the run is ended; by default :func:`default_time_limit`.
    progress : callable, optional
        Called with (Lava steps done, Lava steps in all); a Lava step is one step of one sample.

    Returns
    -------
    Recording
        As the reference executor's. ``metadata``: ``seconds``, ``us_per_step``, ``steps``, ``processes`` (how many),
        ``process_of`` (as asked for), ``runtime``,
        the versions of Python, NumPy and Lava, and whether the import ``shim`` was used.

    Raises
    ------
    LavaNotFoundError
        No Python with lava-nc.
    CompileError
        The program cannot be exact on Lava.
    ExecutorError
        Lava failed; the message carries its error text.
    ExecutorTimeoutError
        The time limit passed.
    """
    with LavaSession(python=python, runtime=runtime) as session:
        return session.execute(program, inputs, processes=processes, time_limit_s=time_limit_s, progress=progress)
