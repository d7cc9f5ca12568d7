"""Run a program on an emulated microcontroller: write it in C, compile it for Arm, and run that in QEMU."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuromorphic.bounds import proven_for
from neuromorphic.errors import ExecutorError
from neuromorphic.executors.c.executor import FLAGS, recorded
from neuromorphic.executors.c.network import Network, to_c
from neuromorphic.executors.qemu.firmware import BOARDS, HARNESS, ICOUNT_SHIFT, LINK, SMALLEST, START, STATUS
from neuromorphic.executors.qemu.tools import GCC, QEMU, TooLargeError, call, check_tools
from neuromorphic.ops.base import Variable
from neuromorphic.program import Program
from neuromorphic.recording import Recording

Core = Literal["cortex-m3", "cortex-m0"]
Wanted = dict[str, tuple[str, Variable]]
FACTS = 5
"""Words that the harness writes behind all recorded variables."""
_ALONE = ("-mthumb", "-ffreestanding", "-nostdlib", "-ffunction-sections", "-Wl,--gc-sections,--build-id=none")


def execute(
    program: Program,
    inputs: NDArray[np.int32],
    *,
    core: Core = "cortex-m3",
    record: Iterable[str] | None = None,
    flags: tuple[str, ...] = FLAGS,
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Run a program on an emulated core, one sample after the other.

    Parameters
    ----------
    program, inputs, progress
        As of :func:`neuromorphic.executors.reference.execute`.
    core : {"cortex-m3", "cortex-m0"}
        QEMU's board ``mps2-an385`` or ``microbit``, with that board's flash and RAM.
    record : iterable of str, optional
        Variables to record, ``"op.variable"``; by default all.
    flags : tuple of str
        What the compiler is told besides the core.

    Returns
    -------
    Recording
        Equal to the reference's, of the variables asked for. Its metadata hold what :func:`measured_sizes` returns;
        QEMU's count of instructions of a call of ``network_step``, which are not cycles: ``instructions_per_step``, the
        mean over steps and samples, and ``instructions_at_most``, or ``None`` beyond the counter's 24 bits (10 million
        instructions of a step, 16 million on the M0); and ``stack_bytes``, of the first step.

    Raises
    ------
    InputError
        Inputs of more steps than the program is proven for.
    ExecutorError
        When a tool is missing or fails, or the board's memory is too small.
    """
    if core not in BOARDS:
        raise ExecutorError(f"qemu: core must be one of {', '.join(BOARDS)}, got {core!r}")
    started = time.perf_counter()
    program = proven_for(program, len(inputs))
    check_tools()
    wanted = program.variables_to_record(record, "qemu")
    with tempfile.TemporaryDirectory(prefix="pnbx-qemu-") as name:
        board = _Board(program, inputs, core, Path(name), flags, progress)
        sizes = measured_sizes(program, core, board.folder, flags)
        compiled = time.perf_counter()
        variables = board.recorded(wanted) if wanted else {}
    times = {"seconds": board.seconds, "seconds_to_prepare": compiled - started}
    return Recording({key: variables[key] for key in wanted}, "qemu", {**times, "core": core, **sizes, **board.facts})


class _Board:
    """A program and inputs for a board, run as often as its memory needs to record everything."""

    def __init__(
        self,
        program: Program,
        inputs: NDArray[np.int32],
        core: Core,
        folder: Path,
        flags: tuple[str, ...],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.program, self.core, self.folder, self.flags, self.progress = program, core, folder, flags, progress
        self.num_steps, self.batch = inputs.shape[:2]
        self.samples = np.ascontiguousarray(inputs.transpose(1, 0, 2))  # [B, T, N]
        self.seconds = 0.0
        self.facts: dict[str, Any] = {}

    def recorded(self, wanted: Wanted) -> dict[str, NDArray[Any]]:
        """Run and return these variables, half of them at a time where memory does not suffice for all."""
        network = to_c(self.program, record=wanted)
        harness = HARNESS.replace("$BATCH", str(self.batch)).replace("$STEPS", str(self.num_steps))
        try:
            build(network, harness, self.core, self.folder, self.flags)
        except TooLargeError:
            if len(wanted) == 1:
                raise
            names, half = list(wanted), len(wanted) // 2
            first, second = ({key: wanted[key] for key in some} for some in (names[:half], names[half:]))
            return {**self.recorded(first), **self.recorded(second)}
        self.samples.astype(network.input_type.removesuffix("_t")).tofile(self.folder / "inputs.bin")
        started = time.perf_counter()
        _emulate(self.folder, self.core, self.num_steps, self.batch, self.progress)
        self.seconds += time.perf_counter() - started
        words = np.fromfile(self.folder / "outputs.bin", dtype="<i4")
        self.facts = counted(words[-FACTS:], self.core, self.num_steps * self.batch)
        return recorded(words[:-FACTS], wanted, self.num_steps, self.batch)


def counted(words: NDArray[np.int32], core: Core, steps: int) -> dict[str, float | int | None]:
    """Return what the harness left behind the recording: instructions of a step, and its stack."""
    low, high, most, too_many, stack = (int(word) for word in words.view("<u4"))
    per_tick = 1e9 / BOARDS[core].clock_hz / (1 << ICOUNT_SHIFT)
    mean, at_most = (high << 32 | low) * per_tick / steps, most * per_tick
    told = {"instructions_per_step": None if too_many else mean, "instructions_at_most": None if too_many else at_most}
    return {**told, "stack_bytes": stack}


def measured_sizes(program: Program, core: Core, folder: Path, flags: tuple[str, ...] = FLAGS) -> dict[str, int]:
    """Return what a firmware takes that does nothing but step the network.

    ``flash_bytes`` holds constants, code, start-up, vectors and the functions of the compiler's library that it calls;
    ``ram_bytes`` all static memory, one step of inputs and outputs with it, without the stack.
    """
    build(to_c(program, record=()), SMALLEST, core, folder, flags)
    told = call([GCC.replace("gcc", "size"), "firmware.elf"], folder)
    text, data, bss = (int(word) for word in told.splitlines()[1].split()[:3])
    return {"flash_bytes": text + data, "ram_bytes": data + bss}


def build(network: Network, main: str, core: Core, folder: Path, flags: tuple[str, ...]) -> None:
    """Compile a network and a main into ``firmware.elf``."""
    board = BOARDS[core]
    link = LINK.replace("$FLASH", str(board.flash)).replace("$RAM", str(board.ram))
    texts = {
        "network.c": network.source,
        "network.h": network.header,
        "main.c": main,
        "start.c": START,
        "board.ld": link,
    }
    for file, text in texts.items():
        (folder / file).write_text(text)
    sources = ["start.c", "main.c", "network.c", "-lgcc"]
    call([GCC, f"-mcpu={core}", *flags, *_ALONE, "-T", "board.ld", "-o", "firmware.elf", *sources], folder)


def _emulate(folder: Path, core: Core, num_steps: int, batch: int, progress: Callable[[int, int], None] | None) -> None:
    """Run the firmware; QEMU is ended when this is interrupted."""
    machine = ["-M", BOARDS[core].machine, "-display", "none", "-monitor", "none", "-serial", "none"]
    machine += ["-icount", f"shift={ICOUNT_SHIFT}", "-semihosting-config", "enable=on,target=native"]
    with (folder / "errors.txt").open("wb") as errors:
        process = subprocess.Popen(
            [QEMU, *machine, "-kernel", "firmware.elf"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            while process.poll() is None:
                time.sleep(0.01)
                if progress is not None:
                    done = (folder / "errors.txt").read_bytes().count(b".")
                    progress(min(done, batch) * num_steps, batch * num_steps)
        finally:
            process.kill()
            process.wait()
    if process.returncode != 0:
        said = (folder / "errors.txt").read_text(errors="replace").strip(". \n").splitlines()[:12]
        why = STATUS.get(process.returncode, f"ended with status {process.returncode}")
        raise ExecutorError("\n".join([f"qemu: the network on a {core} {why}", *said]))
