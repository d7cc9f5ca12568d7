"""Run a program in C: write it, compile it, and run it in a process of its own."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.bounds import proven_for
from neuromorphic.errors import ExecutorError
from neuromorphic.executors.c.compiler import compile_c
from neuromorphic.executors.c.network import to_c
from neuromorphic.ops import Variable
from neuromorphic.program import Program
from neuromorphic.recording import Recording

FLAGS = ("-std=c99", "-O2")
HARNESS = """
#include <stdio.h>
#include "network.h"

static network_input given[NETWORK_INPUTS];
static int32_t out[NETWORK_OUTPUTS], seen[NETWORK_RECORDED];

int main(void)
{
    FILE *in = fopen("inputs.bin", "rb"), *to = fopen("outputs.bin", "wb");
    if (!in || !to)
        return 2;
    for (long b = 0; b < $BATCH; b++) {
        network_reset();
        for (long t = 0; t < $STEPS; t++) {
            if (fread(given, sizeof given[0], NETWORK_INPUTS, in) != NETWORK_INPUTS)
                return 3;
            network_step(given, out);
            network_record(seen);
            if (fwrite(seen, sizeof seen[0], NETWORK_RECORDED, to) != NETWORK_RECORDED)
                return 4;
        }
        printf("%ld\\n", b + 1);
        fflush(stdout);
    }
    return fclose(to) ? 4 : 0;
}
""".strip()
_STATUS = {2: "cannot open its files", 3: "was given too few inputs", 4: "cannot write what it records"}


def execute(
    program: Program,
    inputs: NDArray[np.int32],
    *,
    record: Iterable[str] | None = None,
    flags: tuple[str, ...] = FLAGS,
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Run a program as C, one sample after the other.

    Parameters
    ----------
    program, inputs, progress
        As of :func:`neuromorphic.executors.reference.execute`.
    record : iterable of str, optional
        Variables to record, ``"op.variable"``; by default all.
    flags : tuple of str
        What the compiler is told.

    Returns
    -------
    Recording
        Equal to the reference's, of the variables asked for. ``seconds`` in its metadata is the run alone.

    Raises
    ------
    InputError
        Inputs of more steps than the program is proven for.
    ExecutorError
        When there is no compiler, or it fails.
    """
    started = time.perf_counter()
    program = proven_for(program, len(inputs))
    wanted = program.variables_to_record(record, "c")
    num_steps, batch = inputs.shape[:2]
    network = to_c(program, record=wanted)
    facts = {"BATCH": batch, "STEPS": num_steps}
    harness = HARNESS
    for name, value in facts.items():
        harness = harness.replace(f"${name}", str(value))
    with tempfile.TemporaryDirectory(prefix="pnbx-c-") as name:
        folder = Path(name)
        (folder / "network.c").write_text(network.source)
        (folder / "network.h").write_text(network.header)
        (folder / "main.c").write_text(harness)
        compile_c(["main.c", "network.c"], "network", folder, flags)
        given = np.ascontiguousarray(inputs.transpose(1, 0, 2).astype(network.input_type.removesuffix("_t")))
        given.tofile(folder / "inputs.bin")
        compiled = time.perf_counter()
        _run(folder, num_steps, batch, progress)
        seconds = time.perf_counter() - compiled
        words = np.fromfile(folder / "outputs.bin", dtype=np.int32)
    variables = recorded(words, wanted, num_steps, batch)
    return Recording(variables, "c", {"seconds": seconds, "seconds_to_prepare": compiled - started})


def recorded(
    words: NDArray[np.int32], wanted: Mapping[str, tuple[str, Variable]], num_steps: int, batch: int
) -> dict[str, NDArray[Any]]:
    """Return as variables ``[T, B, N]`` what ``network_record`` left of each step, sample after sample."""
    width = sum(variable.size for _, variable in wanted.values())
    seen = words.reshape(batch, num_steps, width).transpose(1, 0, 2)
    variables, at = {}, 0
    for key, (_, variable) in wanted.items():
        variables[key] = np.ascontiguousarray(seen[:, :, at : at + variable.size]).astype(variable.dtype)
        at += variable.size
    return variables


def _run(folder: Path, num_steps: int, batch: int, progress: Callable[[int, int], None] | None) -> None:
    """Run the compiled network; it is ended when this is interrupted."""
    with (folder / "errors.txt").open("wb") as errors:
        process = subprocess.Popen(
            [str(folder / "network")], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if progress is not None:
                    progress(int(line) * num_steps, batch * num_steps)
            status = process.wait()
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
    if status != 0:
        said = (folder / "errors.txt").read_text(errors="replace").strip().splitlines()[:12]
        why = _STATUS.get(status, f"ended with status {status}")
        raise ExecutorError("\n".join([f"c: the compiled network {why}", *said]))
