"""The process of an operation: in somebody else's Lava script, of an operation that is new, and what it refuses."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import neuromorphic
from steps import gate, gated_step, scale_values

pytestmark = pytest.mark.lava

SCRIPT = """
import sys

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.source import RingBuffer
from lava.proc.monitor.process import Monitor
from neuromorphic.executors.lava.worker.processes import ProgramOperation
from neuromorphic.ops import Gate, GatedState, Scale

if __name__ == "__main__":
    values, gates = (np.load(path) for path in sys.argv[1:3])
    source, opener = RingBuffer(data=values), RingBuffer(data=gates)
    scale = ProgramOperation(Scale("scale", "x", np.array([3, -5], dtype=np.int32), shift=1))
    gate = ProgramOperation(Gate("gate", "x", np.array([0, 100], dtype=np.int32)))
    state = ProgramOperation(GatedState("state", "scale", "gate", 2))
    source.s_out.connect(scale.in_0)
    scale.out.connect(state.in_0)
    opener.s_out.connect(gate.in_0)
    gate.out.connect(state.in_1)
    monitor = Monitor()
    monitor.probe(state.s, 20)
    try:
        state.run(condition=RunSteps(num_steps=20), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        np.save(sys.argv[3], np.vstack([monitor.get_data()[state.name]["s"], state.s.get()]))
    finally:
        state.stop()
"""


def run_script(python, tmp_path, script, *arguments, root=Path(neuromorphic.__file__).parents[1]):
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [str(python), str(tmp_path / "script.py"), *arguments],
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_processes_stand_in_a_lava_script_and_can_be_monitored(lava_python, tmp_path):
    rng = np.random.default_rng(0)
    values, gates = rng.integers(-20_000, 20_000, (2, 20)), rng.integers(-900, 900, (2, 20))
    for name, array in (("values", values), ("gates", gates)):
        np.save(tmp_path / f"{name}.npy", array.astype(np.int32))
    files = [str(tmp_path / f"{name}.npy") for name in ("values", "gates", "seen")]
    run_script(lava_python.path, tmp_path, SCRIPT, *files)
    *monitored, asked = np.load(files[2])
    state = np.zeros((1, 2), dtype=np.int32)
    for t, seen in enumerate(monitored):
        x = scale_values(values.T[t : t + 1].astype(np.int32), np.array([3, -5], dtype=np.int32), 1)
        opened = gate(gates.T[t : t + 1].astype(np.int32), np.array([0, 100], dtype=np.int32))
        state = gated_step(state, x, opened)
        assert seen.tolist() == state[0].tolist()
    assert len(monitored) == 20
    assert asked.tolist() == state[0].tolist()
    assert state.any()


NEW_OPERATION = """
from dataclasses import dataclass
from typing import ClassVar

from neuromorphic.ops.base import Operation, State, Variable, operation, total


@operation
@dataclass(frozen=True)
class Bursts(Operation):
    name: str
    sources: tuple[str, ...]
    size: int
    kind: ClassVar[str] = "events"
    event_range = (0, 3)

    @property
    def variables(self):
        return (Variable("v", "int32", self.size), Variable("fired", "uint8", self.size))

    def states(self):
        return {"v": State((self.size,), 5)}

    def step(self, xp, state, *currents):
        v = xp.saturate((state.v >> 1) + total(currents))
        state.fired = xp.clip(v >> 2, *self.event_range)
        state.v = v - (state.fired << 2)
        return state.fired
"""
NEW_PROGRAM = """
import sys

import numpy as np
from neuromorphic import Dense, Input, Program, Readout, verify
from neuromorphic.executors.lava.mapping import lava_mapping
from neuromorphic.ops import OP_TYPES

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    weights = [rng.integers(-1, 2, shape).astype(np.int8) for shape in ((5, 4), (5, 5), (3, 5))]
    ops = [Input("x", 4, low=-40, high=90), Dense("fc", "x", weights[0]), Dense("more", "x", weights[0])]
    ops.append(OP_TYPES["Bursts"]("first", ("fc", "more"), 5))
    ops.append(Dense("up", "first", weights[1]))
    ops.append(OP_TYPES["Bursts"]("second", ("up", "up"), 5))
    ops += [Dense("out", "second", weights[2]), Readout("y", ("out",), bias=np.ones(3, dtype=np.int32), shift=0)]
    program = Program(tuple(ops), num_steps=12)
    inputs = rng.integers(-40, 91, (12, 3, 4))
    same, expected, _ = verify(program, inputs, "lava", runtime="in_process", python=sys.argv[1])
    print(same.equal, *np.unique(expected.variables["second.fired"]))
    print(*(placement.process for placement in lava_mapping(program)))
"""


def test_a_new_operation_is_one_file(lava_python, tmp_path):
    package = Path(neuromorphic.__file__).parent
    shutil.copytree(package, tmp_path / "with_it" / "neuromorphic", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "with_it" / "neuromorphic" / "ops" / "bursts.py").write_text(NEW_OPERATION)
    printed = run_script(sys.executable, tmp_path, NEW_PROGRAM, str(lava_python.path), root=tmp_path / "with_it")
    assert printed.splitlines() == [
        "True 0 1 2 3",
        "RingBuffer Dense Dense ProgramOperation Dense ProgramOperation Dense ProgramOperation",
    ]


REFUSED = """
from neuromorphic.executors.lava.worker.processes import ProgramOperation
from neuromorphic.ops.base import Operation, State

class Odd(Operation):
    name, size, sources, wants = "odd", 2, (), ()

    def __init__(self, state):
        self.state = state

    def states(self):
        return {self.state: State((2,))}

    def step(self, xp, state):
        return state

if __name__ == "__main__":
    for state in ("v", "run", "out", "run_spk"):
        try:
            ProgramOperation(Odd(state))
        except Exception as error:
            print(error)
"""


def test_a_state_with_a_name_of_lavas_own_is_refused(lava_python, tmp_path):
    assert run_script(lava_python.path, tmp_path, REFUSED).splitlines() == [
        f"odd: a state cannot be named {name!r} on Lava, whose processes have that name"
        for name in ("run", "out", "run_spk")
    ]
