"""The Lava processes that Lava does not have: any operation of a program, and the wait between two of them.

Steps count from 1, as in Lava. What belongs to a sample starts anew as in Lava's ``LIFReset``: before step ``t`` when
``t % reset_interval == reset_offset % reset_interval``. Neither process adds a step: what is sent in a step has been
received in it.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neuromorphic.errors import ExecutorError
from neuromorphic.executors.lava.worker.ports import NamedPorts
from neuromorphic.integers.numbers import NumPy
from neuromorphic.ops import Operation


class ProgramOperation(AbstractProcess):
    """One operation of a program. What it computes is its :meth:`neuromorphic.ops.Operation.step`.

    Parameters
    ----------
    op : Operation
        Any operation that has a step: all but ``Input`` and ``Delay``.
    reset_interval, reset_offset : int
        When the states start anew; see the module. An interval of 0: never.

    Attributes
    ----------
    in_0, in_1, ... : InPort
        What its sources send, in their order, int32 ``[wants[k].size]``.
    out : OutPort
        The value of the step, int32 ``[size]``.
    record_out : OutPort
        All variables that a recording stores, one after the other, int32; only if there are some.
    (name of a state) : Var
        Every state after the step, int64, of the shape that ``op.states()`` gives: ``v`` of a ``LIF``.

    Raises
    ------
    ExecutorError
        When a state has a name that Lava's processes use themselves.
    """

    def __init__(self, op: Operation, *, reset_interval: int = 0, reset_offset: int = 1) -> None:
        super().__init__(op=op, reset_interval=reset_interval, reset_offset=reset_offset, name=op.name)
        for k, wanted in enumerate(op.wants):
            setattr(self, f"in_{k}", InPort(shape=(wanted.size,)))
        self.out = OutPort(shape=(op.size,))
        if op.variables:
            self.record_out = OutPort(shape=(sum(variable.size for variable in op.variables),))
        for name, state in op.states().items():
            if hasattr(self, name) or hasattr(PyLoihiProcessModel, name):
                raise ExecutorError(
                    f"{op.name}: a state cannot be named {name!r} on Lava, whose processes have that name"
                )
            setattr(self, name, Var(shape=state.shape, init=state.first))


@implements(proc=ProgramOperation, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProgramOperationModel(PyLoihiProcessModel, metaclass=NamedPorts):
    """Fixed-point model of :class:`ProgramOperation`: the operation's own step, on a batch of one."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        op: Operation = proc_params["op"]
        self._xp = NumPy()
        self._op = op.placed(self._xp.constant)
        self._inputs = [f"in_{k}" for k in range(len(op.sources))]
        self._first = {name: state.first for name, state in op.states().items()}
        self._variables = [variable.name for variable in op.variables]
        self._interval: int = proc_params["reset_interval"]
        self._offset: int = proc_params["reset_offset"]

    def run_spk(self) -> None:
        """Receive, make one step, send."""
        inputs = [getattr(self, name).recv().astype(np.int64)[np.newaxis] for name in self._inputs]
        if self._interval and (self.time_step - self._offset) % self._interval == 0:
            for name, first in self._first.items():
                getattr(self, name)[...] = first
        state = SimpleNamespace(**{name: getattr(self, name)[np.newaxis] for name in self._first})
        value = self._op.step(self._xp, state, *inputs)
        for name in self._first:
            getattr(self, name)[...] = getattr(state, name)[0]
        self.out.send(value[0])
        if self._variables:
            self.record_out.send(np.concatenate([getattr(state, name)[0] for name in self._variables]))


class ProgramDelay(AbstractProcess):
    """Values as they were ``steps`` steps ago; those of the last ``back`` steps of a sample are not passed on.

    Parameters
    ----------
    size : int
        Number of values.
    steps : int
        0 or more; 0 passes them on in the same step.
    back : int
        So many steps at the end of a sample are replaced by zeros.
    reset_interval, reset_offset : int
        Steps of a sample, and the step in which the first of them arrives.

    Attributes
    ----------
    in_0 : InPort
        Values, int32 ``[size]``.
    out : OutPort
        int32 ``[size]``.
    """

    def __init__(self, *, size: int, steps: int, back: int, reset_interval: int, reset_offset: int) -> None:
        super().__init__(size=size, steps=steps, back=back, reset_interval=reset_interval, reset_offset=reset_offset)
        self.in_0 = InPort(shape=(size,))
        self.out = OutPort(shape=(size,))


@implements(proc=ProgramDelay, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProgramDelayModel(PyLoihiProcessModel):
    """Model of :class:`ProgramDelay`. With a delay it sends before it receives, so it may stand in a loop."""

    in_0: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._interval: int = proc_params["reset_interval"]
        self._offset: int = proc_params["reset_offset"]
        self._steps: int = proc_params["steps"]
        self._back: int = proc_params["back"]
        self._line = np.zeros((max(self._steps, 1), proc_params["size"]), dtype=np.int32)

    def run_spk(self) -> None:
        """Send what is due, receive what comes."""
        index = self.time_step % len(self._line)
        if self._steps > 0:
            self.out.send(self._line[index])
        received = self.in_0.recv()
        place = (self.time_step - self._offset) % self._interval
        self._line[index] = 0 if place >= self._interval - self._back else received
        if self._steps == 0:
            self.out.send(self._line[index])
