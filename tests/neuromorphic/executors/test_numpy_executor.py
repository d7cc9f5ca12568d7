"""The reference executor against a loop in Python integers, and the properties every executor must have."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuromorphic import LIF, Dense, Readout, run
from neuromorphic.errors import ExecutorError
from neuromorphic.executors import NAMES
from neuromorphic.integers.resets import RESETS
from oracles import clip24, lif_oracle
from programs import small_inputs, small_program


def oracle(program, inputs):
    """Run one program in Python integers, neuron by neuron."""
    num_steps, batch, _ = inputs.shape
    out = {}
    for b in range(batch):
        state = {op.name: [0] * op.size for op in program.ops}
        for t in range(num_steps):
            values = {}
            for op in program.ops:
                if isinstance(op, Dense):
                    events = values[op.source]
                    values[op.name] = [
                        sum(int(w) * e for w, e in zip(row, events, strict=True)) << op.shift for row in op.weights
                    ]
                elif isinstance(op, LIF | Readout):
                    current = [sum(values[s][i] for s in op.sources) for i in range(op.size)]
                    for i in range(op.size):
                        if isinstance(op, LIF):
                            parameters = (int(op.decay[i]), int(op.threshold[i]), int(op.bias[i]), op.shift, op.reset)
                            spike, state[op.name][i] = lif_oracle(state[op.name][i], current[i], *parameters)
                            values.setdefault(op.name, []).append(int(spike))
                        else:
                            state[op.name][i] = clip24(state[op.name][i] + (current[i] << op.shift) + int(op.bias[i]))
                        out[op.name, t, b, i] = (values[op.name][i] if isinstance(op, LIF) else None, state[op.name][i])
                else:
                    values[op.name] = [int(x) for x in inputs[t, b]]
    return out


@pytest.mark.parametrize("reset", RESETS)
def test_a_run_equals_the_oracle(reset):
    program, inputs = small_program(reset=reset), small_inputs()
    recording = run(program, inputs)
    assert all(array.any() for array in recording.variables.values())
    for (name, t, b, i), (spike, value) in oracle(program, inputs).items():
        if spike is not None:
            assert recording.variables[f"{name}.spikes"][t, b, i] == spike
        assert recording.variables[f"{name}.{'y' if spike is None else 'v'}"][t, b, i] == value


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_samples_are_independent(seed):
    program, inputs = small_program(seed=seed), small_inputs(seed=seed)
    together = run(program, inputs)
    for b in range(inputs.shape[1]):
        alone = run(program, inputs[:, b : b + 1])
        assert all(np.array_equal(alone.variables[k][:, 0], together.variables[k][:, b]) for k in alone.variables)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), step=st.integers(1, 11))
def test_the_future_cannot_change_the_past(seed, step):
    program, inputs = small_program(seed=seed), small_inputs(seed=seed)
    changed = inputs.copy()
    changed[step:] = 127
    a, b = run(program, inputs), run(program, changed)
    assert all(np.array_equal(a.variables[k][:step], b.variables[k][:step]) for k in a.variables)


def test_progress_counts_steps():
    seen = []
    run(small_program(), small_inputs(), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(t, 12) for t in range(1, 13)]


def test_an_unknown_executor_names_the_known():
    with pytest.raises(ExecutorError, match=f"executor must be one of {', '.join(NAMES)}, got 'loihi'"):
        run(small_program(), small_inputs(), "loihi")


def test_importing_the_package_loads_numpy_only():
    code = (
        "import sys; import numpy; before = set(sys.modules); import neuromorphic; "
        "new = {name.split('.')[0] for name in set(sys.modules) - before} - {'neuromorphic', 'numpy'}; "
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert got.stdout.strip() == "[]"
