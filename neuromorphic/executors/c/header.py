"""``network.h``: what a network is given and what it returns, in C and in words."""

from __future__ import annotations

import re
from collections.abc import Mapping

from neuromorphic.ops import Operation, Readout, Variable
from neuromorphic.program import Program
from neuromorphic.wording import counted


def header(
    program: Program,
    output: Operation,
    input_type: str,
    record: Mapping[str, tuple[str, Variable]],
    *,
    flash: int,
    ram: int,
) -> str:
    """Return the text of ``network.h``."""
    entry, what = program.input, "running sums" if isinstance(output, Readout) else "values"
    whose = f"{plain(output.name)} ({type(output).__name__})"
    lines = [
        "/* A network of integers in C99, written by `neuromorphic export --to c`. Static memory, no library.",
        " *",
        f" * Flash: {flash:,} bytes of constants, and the code. RAM: {ram:,} bytes of static memory, and the stack.",
        " *",
        " * Call network_reset before each sample, then network_step for each of its steps.",
        f" * in: NETWORK_INPUTS integers in {entry.low}..{entry.high}, not beyond. One unit is {entry.scale:.9g}: a",
        " *     real input is divided by it, rounded to the nearest integer, half to even, and limited to this range.",
        f" * out: NETWORK_OUTPUTS integers after the step, the {what} of {whose}.",
        f" * Nothing overflows within {counted(program.num_steps, 'step')} after a reset; of more that is not "
        "proven. */",
        "#ifndef NETWORK_H",
        "#define NETWORK_H",
        "",
        "#include <stdint.h>",
        "",
        f"#define NETWORK_INPUTS {entry.size}",
        f"#define NETWORK_OUTPUTS {output.size}",
        f"#define NETWORK_STEPS {program.num_steps}",
        "",
        f"typedef {input_type} network_input;",
        "",
        "void network_reset(void);",
        "void network_step(const network_input *in, int32_t *out);",
    ]
    if record:
        lines += ["", f"#define NETWORK_RECORDED {sum(variable.size for _, variable in record.values())}", ""]
        lines += ["/* Copies after a step, one after the other:"]
        lines += [f" * {variable.size} of {plain(name)}" for name, (_, variable) in record.items()]
        lines += [" */", "void network_record(int32_t *to);"]
    return "\n".join([*lines, "", "#endif", ""])


def plain(text: str) -> str:
    """Return a text in letters that every compiler reads, which ends no comment."""
    return re.sub(r"[^A-Za-z0-9_ ,.:()-]", "_", text)
