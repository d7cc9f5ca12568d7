"""Programs as C files for a microcontroller: ``network.c``, ``network.h`` and an example, ``main.c``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from neuromorphic.executors.c.network import Network, to_c
from neuromorphic.files.atomic_write import write_atomically
from neuromorphic.program import Program

FILES = ("network.c", "network.h", "main.c")
EXAMPLE = """
/* An example: cc -std=c99 -O2 main.c network.c -o network && ./network
 *
 * It runs one sample of zeros; put yours in its place. On a board, call the same two functions. */
#include <stdio.h>
#include "network.h"

static network_input in[NETWORK_INPUTS]; /* one step of the inputs */
static int32_t out[NETWORK_OUTPUTS];

int main(void)
{
    int best = 0;
    network_reset();
    for (int step = 0; step < NETWORK_STEPS; step++)
        network_step(in, out);
    for (int i = 0; i < NETWORK_OUTPUTS; i++) {
        printf("out[%d] = %ld\\n", i, (long)out[i]);
        if (out[i] > out[best])
            best = i;
    }
    printf("largest: %d\\n", best);
    return 0;
}
""".lstrip()


def write_c(
    program: Program,
    folder: str | os.PathLike[str],
    *,
    num_steps: int | None = None,
    record: Iterable[str] = (),
) -> Network:
    """Write a program as C99 files into a folder, which is made if it is not there.

    Parameters
    ----------
    program : Program
        What to write.
    folder : path
        Where ``network.c``, ``network.h`` and ``main.c`` go.
    num_steps : int, optional
        Steps between two resets for which the integers are proven to fit; else the program's.
    record : iterable of str
        Variables ``"op.variable"`` that ``network_record`` copies, for tests.

    Returns
    -------
    Network
        The texts, and the bytes of constants and of static memory.

    Raises
    ------
    BoundError
        When an accumulator could overflow in so many steps.
    StorageError
        When a file cannot be written.
    """
    network = to_c(program if num_steps is None else replace(program, num_steps=num_steps), record=record)
    for name, text in zip(FILES, (network.source, network.header, EXAMPLE), strict=True):
        write_atomically(Path(folder) / name, text.encode())
    return network


def check(program: Program) -> None:
    """Raise the error of :func:`~neuromorphic.executors.c.network.to_c` for a program that is not C."""
    to_c(program)


def write(program: Program, path: str | os.PathLike[str], **options: Any) -> str:
    """Write a folder with :func:`write_c`; return its files and the sizes of what they hold."""
    network = write_c(program, path, **options)
    return (
        f"{', '.join(FILES)}; {network.constant_bytes:,} bytes of constants in flash, besides the code; "
        f"{network.state_bytes:,} bytes of static RAM, besides the stack"
    )
