"""Where an emulated core spends its instructions: by function, counted one by one from QEMU's log.

python -m studies.mcu.profile program.npz inputs.npy [--core cortex-m0] [--samples 2]
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from bisect import bisect
from collections import Counter
from pathlib import Path

import numpy as np

from neuromorphic import Program
from neuromorphic.executors.c.executor import FLAGS
from neuromorphic.executors.c.network import to_c
from neuromorphic.executors.qemu.executor import Core, build
from neuromorphic.executors.qemu.firmware import BOARDS, HARNESS
from neuromorphic.executors.qemu.tools import GCC, QEMU, call


def profile(
    program: Program, inputs: np.ndarray, core: Core, flags: tuple[str, ...]
) -> tuple[Counter[str], Counter[int]]:
    """Return instructions by function and by address, of all steps of all samples."""
    codes = program.prepare_inputs(inputs)
    num_steps, batch = codes.shape[:2]
    last = program.ops[-1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network = to_c(program, record=[f"{last.name}.{last.variables[0].name}"])
        harness = HARNESS.replace("$BATCH", str(batch)).replace("$STEPS", str(num_steps))
        build(network, harness, core, folder, (*flags, "-fno-inline-functions-called-once"))
        given = np.ascontiguousarray(codes.transpose(1, 0, 2).astype(network.input_type.removesuffix("_t")))
        given.tofile(folder / "inputs.bin")
        command = [QEMU, "-M", BOARDS[core].machine, "-display", "none", "-monitor", "none", "-serial", "none"]
        command += ["-semihosting-config", "enable=on,target=native", "-singlestep", "-d", "exec,nochain", "-D", "log"]
        subprocess.run([*command, "-kernel", "firmware.elf"], cwd=folder, check=True, capture_output=True)
        places = Counter(
            int(found[1], 16)
            for line in (folder / "log").open()
            if (found := re.match(r"Trace \d+: \S+ \[\w+/(\w+)/", line))
        )
        told = call([GCC.replace("gcc", "nm"), "-n", "firmware.elf"], folder)
        symbols = [(int(a, 16) & ~1, n) for a, k, n in (line.split() for line in told.splitlines()) if k in "tT"]
    starts = [start for start, _ in symbols]
    functions: Counter[str] = Counter()
    for place, count in places.items():
        functions[symbols[bisect(starts, place) - 1][1]] += count
    return functions, places


def main() -> None:
    """Print the functions, most instructions first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("inputs", type=Path)
    parser.add_argument("--core", choices=list(BOARDS), default="cortex-m3")
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--flags", default=" ".join(FLAGS))
    given = parser.parse_args()
    program, inputs = Program.load(given.program), np.load(given.inputs)
    few = inputs[: given.samples] if inputs.ndim == 2 else inputs[:, : given.samples]
    functions, _ = profile(program, few, given.core, tuple(given.flags.split()))
    steps = len(few) * program.num_steps if few.ndim == 2 else few.shape[0] * few.shape[1]
    for name, count in functions.most_common(20):
        sys.stdout.write(f"{name:48} {count / steps:12,.0f} a step\n")


if __name__ == "__main__":
    main()
