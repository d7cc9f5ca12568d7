"""A process that stores what another one does, step by step, in files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyRefPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, RefPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from numpy.typing import NDArray

from neuromorphic.ops import Variable


class Store:
    """Variables of a span of steps, written to files at its end.

    Parameters
    ----------
    variables : sequence of Variable
        What is stored.
    files : sequence of str
        Where each goes: ``.npy``, ``[num_steps, size]`` of the variable's dtype.
    first_step, num_steps : int
        First Lava step to store, from 1, and how many.
    """

    def __init__(self, variables: Sequence[Variable], files: Sequence[str], first_step: int, num_steps: int) -> None:
        self._first, self._files = first_step, files
        self._arrays = [np.zeros((num_steps, variable.size), dtype=variable.dtype) for variable in variables]
        self.steps = range(first_step, first_step + num_steps)

    def put(self, step: int, first: int, values: Sequence[NDArray[Any]]) -> None:
        """Store the values of a step, of the variables from number ``first`` on; write all after the last variable."""
        for array, value in zip(self._arrays[first:], values, strict=False):
            array[step - self._first] = value
        if step == self.steps[-1] and first + len(values) == len(self._arrays):
            for file, array in zip(self._files, self._arrays, strict=True):
                np.save(file, array, allow_pickle=False)


class Recorder(AbstractProcess):
    """Store the variables of one process over a span of steps, and write each to a file at its end.

    A process of ours sends all of them. A stock ``LIFReset`` sends its spikes; its membrane is read through a RefPort
    in the post-management phase, as Lava's ``Monitor`` does. That phase costs about as much as the step itself, so it
    is asked for only where something is read. ``Var.get`` is not used: it sends one number a message.

    Parameters
    ----------
    received, read : sequence of Variable
        What arrives at ``a_in``, one after the other, and what is read through ``state_ref``, one variable or none.
    files : sequence of str
        Where each goes, those received first: ``.npy``, ``[num_steps, size]`` of the variable's dtype.
    first_step : int
        First Lava step to store, from 1.
    num_steps : int
        How many to store.
    name : str
        Name of the process.

    Attributes
    ----------
    a_in : InPort
        int32.
    state_ref : RefPort
        To a variable of a stock process.
    """

    def __init__(
        self,
        *,
        received: Sequence[Variable],
        read: Sequence[Variable],
        files: Sequence[str],
        first_step: int,
        num_steps: int,
        name: str,
    ) -> None:
        super().__init__(
            received=received, read=read, files=files, first_step=first_step, num_steps=num_steps, name=name
        )
        self.a_in = InPort(shape=(sum(variable.size for variable in received),))
        self.state_ref = RefPort(shape=(read[0].size if read else 1,))


@implements(proc=Recorder, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyRecorderModel(PyLoihiProcessModel):
    """Model of :class:`Recorder`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    state_ref: PyRefPort = LavaPyType(PyRefPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        received, read = proc_params["received"], proc_params["read"]
        variables = (*received, *read)
        self._store = Store(variables, proc_params["files"], proc_params["first_step"], proc_params["num_steps"])
        self._ends = np.cumsum([variable.size for variable in received])[:-1]
        self._num_received, self._reads = len(received), bool(read)

    @property
    def _is_stored(self) -> bool:
        return self.time_step in self._store.steps

    def run_spk(self) -> None:
        """Store what is sent."""
        values = self.a_in.recv()
        if self._is_stored:
            self._store.put(self.time_step, 0, np.split(values, self._ends))

    def post_guard(self) -> bool:
        """Ask for the post-management phase while there is something to read."""
        return self._reads and self._is_stored

    def run_post_mgmt(self) -> None:
        """Store what is read."""
        self._store.put(self.time_step, self._num_received, [self.state_ref.read()])
