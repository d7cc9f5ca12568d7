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
        self._first: int = proc_params["first_step"]
        self._count: int = proc_params["num_steps"]
        self._files: Sequence[str] = proc_params["files"]
        self._received, self._read = (
            [np.zeros((self._count, variable.size), dtype=variable.dtype) for variable in proc_params[which]]
            for which in ("received", "read")
        )

    @property
    def _is_stored(self) -> bool:
        return self._first <= self.time_step < self._first + self._count

    def run_spk(self) -> None:
        """Store what is sent."""
        values = self.a_in.recv()
        if self._is_stored:
            self._store(self._received, values)
            if not self._read:
                self._write_at_the_end()

    def post_guard(self) -> bool:
        """Ask for the post-management phase while there is something to read."""
        return bool(self._read) and self._is_stored

    def run_post_mgmt(self) -> None:
        """Store what is read."""
        self._store(self._read, self.state_ref.read())
        self._write_at_the_end()

    def _store(self, arrays: list[NDArray[Any]], values: NDArray[np.int32]) -> None:
        first = 0
        for array in arrays:
            array[self.time_step - self._first] = values[first : first + array.shape[1]]
            first += array.shape[1]

    def _write_at_the_end(self) -> None:
        if self.time_step == self._first + self._count - 1:
            for file, array in zip(self._files, self._received + self._read, strict=True):
                np.save(file, array, allow_pickle=False)
