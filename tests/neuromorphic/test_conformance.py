"""The conformance table: every operation on every executor gives the same bits as the reference, or is refused by name.

Random programs around one operation, its parameters often at the ends of their ranges. What an executor lacks
stands in its entry of the registry.
"""

import numpy as np
import pytest

import same
from lava_fixtures import assert_equal
from neuromorphic import run
from neuromorphic.errors import ExecutorError
from neuromorphic.executors import EXECUTORS, NAMES
from neuromorphic.ops import OP_TYPES
from random_networks import random_network
from random_programs import random_inputs
from ready import require

SEEDS = range(4)
COMPILED = ("c", "qemu")
"""They call a compiler for each program: one program with as many operations as the four others."""
OPERATIONS = tuple(name for name in OP_TYPES if name != "Input")


def programs(operation, *, together=False):
    """Yield programs around one operation, and inputs for them; every program ends in a Readout."""
    kinds = ("Dense",) if operation == "Readout" else (operation,)
    num_ops, least = (8, 1 if operation == "Readout" else 4) if together else (2, 1)
    for seed in SEEDS[: 1 if together else None]:
        rng, found = np.random.default_rng([seed, OPERATIONS.index(operation)]), 0
        while found < least:  # how many are drawn is random, too
            program = random_network(rng, kinds=kinds, num_ops=num_ops, num_steps=12)
            found = sum(type(op).__name__ == operation for op in program.ops)
        yield program, random_inputs(program, rng, 2)


def test_the_table_is_complete():
    assert all(set(EXECUTORS[name].lacks) < set(OPERATIONS) for name in NAMES)
    assert [name for name in NAMES if EXECUTORS[name].lacks] == ["xylosim"]
    assert all(any(programs(operation)) for operation in OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("executor", [name for name in NAMES if name not in ("numpy", "lava", "xylosim")])
def test_an_operation_gives_the_same_bits(operation, executor):
    for program, inputs in programs(operation, together=executor in COMPILED):
        if operation in EXECUTORS[executor].lacks:
            with pytest.raises(ExecutorError, match=f"executor '{executor}' lacks {operation}"):
                run(program, inputs, executor)
            continue
        same.assert_equal(program, inputs, executor)


def test_xylosim_names_what_it_lacks():
    """What it runs, programs of XyloLIF alone, is compared in executors/test_xylosim.py."""
    require("xylosim")
    for operation in OPERATIONS:
        for program, inputs in programs(operation):
            with pytest.raises(ExecutorError, match="executor 'xylosim' lacks .*Readout"):
                run(program, inputs, "xylosim")


@pytest.mark.lava
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_gives_the_same_bits_on_lava(operation, lava_session):
    for program, inputs in programs(operation):
        assert_equal(program, inputs, lava_session)
