"""The Lava process of several operations, for runs in which a process each would take most of the time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neuromorphic.executors.lava.grouping import Group
from neuromorphic.executors.lava.worker.ports import NamedPorts
from neuromorphic.executors.lava.worker.recorder import Store
from neuromorphic.integers.numbers import NumPy
from neuromorphic.ops import Delay
from neuromorphic.ops.base import first_states


class ProgramGroup(AbstractProcess):
    """The operations of a group, each with its own :meth:`neuromorphic.ops.Operation.step`, in program order.

    It adds no step: what is sent in a step has been received in it. It stores its variables itself.

    Parameters
    ----------
    group : Group
        What it runs and who hears whom.
    sizes : dict of str to int
        Units of each operation that is heard.
    files : sequence of str
        Where the variables of its operations go, in their order.
    sample_steps, num_steps : int
        Steps of a sample, before the first of which states start anew, and of all samples.

    Attributes
    ----------
    in_0, in_1, ... : InPort
        What ``group.heard`` and then ``group.heard_late`` send, int32.
    out_0, out_1, ... : OutPort
        What the operations in ``group.sent`` give, int32.
    """

    def __init__(
        self, group: Group, sizes: dict[str, int], *, files: Sequence[str], sample_steps: int, num_steps: int
    ) -> None:
        super().__init__(group=group, files=files, sample_steps=sample_steps, num_steps=num_steps, name=group.name)
        for k, name in enumerate((*group.heard, *group.heard_late)):
            setattr(self, f"in_{k}", InPort(shape=(sizes[name],)))
        for k, name in enumerate(group.sent):
            setattr(self, f"out_{k}", OutPort(shape=(sizes[name],)))


@implements(proc=ProgramGroup, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProgramGroupModel(PyLoihiProcessModel, metaclass=NamedPorts):
    """Fixed-point model of :class:`ProgramGroup`, on a batch of one."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._group: Group = proc_params["group"]
        self._sample_steps: int = proc_params["sample_steps"]
        self._xp = NumPy()
        placed = [op.placed(self._xp.constant) for op in self._group.ops]
        self._delays: list[Delay] = [op for op in placed if isinstance(op, Delay)]
        self._others = [op for op in placed if not isinstance(op, Delay)]
        variables = [(op.name, variable) for op in placed for variable in op.variables]
        self._recorded = [(op, variable.name) for op, variable in variables]
        self._store = Store([variable for _, variable in variables], proc_params["files"], 1, proc_params["num_steps"])
        self._states: dict[str, Any] = {}

    def run_spk(self) -> None:
        """Receive, make one step, sending what others hear at once; then fill the delays and store."""
        if (self.time_step - 1) % self._sample_steps == 0:
            self._states = {op.name: first_states(op, 1) for op in self._group.ops}
        xp, states, group = self._xp, self._states, self._group
        values: dict[str, Any] = {}
        for delay in self._delays:
            self._give(values, delay.name, delay.read(xp, states[delay.name]))
        for k, name in enumerate(group.heard):
            values[name] = self._receive(k)
        for op in self._others:
            self._give(values, op.name, op.step(xp, states[op.name], *(values[source] for source in op.sources)))
        for k, name in enumerate(group.heard_late, start=len(group.heard)):
            values[name] = self._receive(k)
        for delay in self._delays:
            delay.step(xp, states[delay.name], values[delay.source])
        self._store.put(self.time_step, 0, [getattr(states[op], name)[0] for op, name in self._recorded])

    def _receive(self, k: int) -> Any:
        return getattr(self, f"in_{k}").recv().astype(np.int64)[np.newaxis]

    def _give(self, values: dict[str, Any], name: str, value: Any) -> None:
        values[name] = value
        if name in self._group.sent:
            getattr(self, f"out_{self._group.sent.index(name)}").send(value[0])
