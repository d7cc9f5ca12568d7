"""Our processes in somebody else's Lava script: built by hand, connected with stock ones, watched by Lava's Monitor."""

import subprocess
from pathlib import Path

import numpy as np

from steps import gate, gated_step, scale_values

SCRIPT = """
import sys

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.source import RingBuffer
from lava.proc.monitor.process import Monitor
from neuromorphic.executors.lava.worker.pathway_processes import ProgramGate, ProgramGatedState, ProgramScale

if __name__ == "__main__":
    values, gates = (np.load(path) for path in sys.argv[1:3])
    source, opener = RingBuffer(data=values), RingBuffer(data=gates)
    scale = ProgramScale(factor=np.array([3, -5], dtype=np.int32), shift=1)
    gate = ProgramGate(offset=np.array([0, 100], dtype=np.int32))
    state = ProgramGatedState(shape=(2,), reset_interval=10**6, reset_offset=1)
    source.s_out.connect(scale.a_in)
    scale.a_out.connect(state.a_in)
    opener.s_out.connect(gate.a_in)
    gate.a_out.connect(state.gate_in)
    monitor = Monitor()
    monitor.probe(state.s, 20)
    try:
        state.run(condition=RunSteps(num_steps=20), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        np.save(sys.argv[3], monitor.get_data()[state.name]["s"])
    finally:
        state.stop()
"""


def test_processes_stand_in_a_lava_script_and_can_be_monitored(lava_python, tmp_path):
    rng = np.random.default_rng(0)
    values, gates = rng.integers(-20_000, 20_000, (2, 20)), rng.integers(-900, 900, (2, 20))
    for name, array in (("values", values), ("gates", gates)):
        np.save(tmp_path / f"{name}.npy", array.astype(np.int32))
    (tmp_path / "script.py").write_text(SCRIPT)
    files = [str(tmp_path / f"{name}.npy") for name in ("values", "gates", "seen")]
    root = Path(__file__).parents[4]
    done = subprocess.run(
        [str(lava_python.path), str(tmp_path / "script.py"), *files],
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    state = np.zeros((1, 2), dtype=np.int32)
    for t, seen in enumerate(np.load(files[2])):
        x = scale_values(values.T[t : t + 1].astype(np.int32), np.array([3, -5], dtype=np.int32), 1)
        opened = gate(gates.T[t : t + 1].astype(np.int32), np.array([0, 100], dtype=np.int32))
        state = gated_step(state, x, opened)
        assert seen.tolist() == state[0].tolist()
    assert state.any()
