"""What a program says of itself in a few lines, whatever its metadata hold."""

import numpy as np

from neuromorphic import LIF, Dense, Input, Program
from neuromorphic.ops import Delay


def real_program():
    one = np.ones(1, dtype=np.int32)
    fc = Dense("fc", "x", np.ones((1, 2), dtype=np.int8))
    lif = LIF("lif", ("fc",), 4096 * one, 99 * one, 0 * one, shift=0)
    return Program((Input("x", 2, low=-128, high=127, scale=1 / 127), fc, lif), num_steps=4)


def test_a_program_says_in_five_lines_what_it_is():
    about = {"agreement": {"samples": 1, "part": "test", "labels_equal": 1.0, "spikes_equal": 0.99}}
    program = Program(real_program().ops, num_steps=1, metadata=about)
    assert (
        repr(program)
        == str(program)
        == (
            "Program: 3 operations, 1 step, 1 byte of weights\ninput: x 2, -128..127 units of 0.00787402\n"
            "operations: Dense fc 1, LIF lif 1\n"
            "agreement with the network on 1 test sample: labels 100.00 %, spikes 99.000 %"
        )
    )
    for stranger in ("text", {"samples": "one"}, {"samples": 1, "labels_equal": None}):
        told = repr(Program(real_program().ops, num_steps=4, metadata={"agreement": stranger}))
        assert len(told.splitlines()) == 3
    long = [Delay(f"d{i}", f"d{i - 1}" if i else "x", 2) for i in range(300)]
    told = repr(Program((real_program().input, *long), num_steps=1))
    assert told.splitlines()[2].endswith(", Delay d5 2 and 294 more")
