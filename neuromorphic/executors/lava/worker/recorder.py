"""A process that keeps what another one does, step by step, in files."""

from __future__ import annotations

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


class Recorder(AbstractProcess):
    """Keep the spikes and the state of one process over a span of steps, and write both to files at its end.

    Spikes are received. The state is received too from a process that sends it; from a stock process, which does not,
    it is read through a RefPort in the post-management phase, as Lava's ``Monitor`` does. That phase costs about as
    much as the step itself, so it is asked for only where a RefPort is connected. ``Var.get`` is not used: it sends
    one number a message.

    Parameters
    ----------
    shape, state_shape : tuple of int
        ``(N,)`` of the spikes and ``(S,)`` of the state.
    first_step : int
        First Lava step to keep, from 1.
    num_steps : int
        How many to keep.
    reads_state : bool
        Whether ``state_ref`` is connected; otherwise ``state_in`` is.
    state_file : str
        Where the state goes: ``.npy``, int32 ``[num_steps, S]``.
    spikes_file : str, optional
        Where the spikes go: ``.npy``, uint8 ``[num_steps, N]``. Without it ``a_in`` stays unconnected.
    name : str, optional
        Name of the process.

    Attributes
    ----------
    a_in : InPort
        Spikes, ``[N]``.
    state_in : InPort
        State, ``[S]``.
    state_ref : RefPort
        To the state of a process that does not send it, ``[S]``.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        state_shape: tuple[int, ...],
        first_step: int,
        num_steps: int,
        reads_state: bool,
        state_file: str,
        spikes_file: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            shape=shape,
            state_shape=state_shape,
            first_step=first_step,
            num_steps=num_steps,
            reads_state=reads_state,
            state_file=state_file,
            spikes_file=spikes_file,
            name=name,
        )
        self.a_in = InPort(shape=shape)
        self.state_in = InPort(shape=state_shape)
        self.state_ref = RefPort(shape=state_shape)


@implements(proc=Recorder, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyRecorderModel(PyLoihiProcessModel):
    """Model of :class:`Recorder`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=1)
    state_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    state_ref: PyRefPort = LavaPyType(PyRefPort.VEC_DENSE, np.int32, precision=24)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._first: int = proc_params["first_step"]
        self._count: int = proc_params["num_steps"]
        self._reads_state: bool = proc_params["reads_state"]
        self._state_file: str = proc_params["state_file"]
        self._spikes_file: str | None = proc_params["spikes_file"]
        self._states = np.zeros((self._count, *proc_params["state_shape"]), dtype=np.int32)
        spikes_shape = (self._count, *proc_params["shape"]) if self._spikes_file else (0,)
        self._spikes = np.zeros(spikes_shape, dtype=np.uint8)

    def run_spk(self) -> None:
        """Take this step's spikes, and the state where it is sent."""
        index = self.time_step - self._first
        kept = 0 <= index < self._count
        if self._spikes_file is not None:
            spikes = self.a_in.recv()
            if kept:
                self._spikes[index] = spikes
        if not self._reads_state:
            state = self.state_in.recv()
            if kept:
                self._keep_state(index, state)

    def post_guard(self) -> bool:
        """Ask for the post-management phase while there is a state to read."""
        return self._reads_state and bool(self._first <= self.time_step < self._first + self._count)

    def run_post_mgmt(self) -> None:
        """Read this step's state."""
        self._keep_state(self.time_step - self._first, self.state_ref.read())

    def _keep_state(self, index: int, state: NDArray[np.int32]) -> None:
        self._states[index] = state
        if index == self._count - 1:
            np.save(self._state_file, self._states, allow_pickle=False)
            if self._spikes_file is not None:
                np.save(self._spikes_file, self._spikes, allow_pickle=False)
