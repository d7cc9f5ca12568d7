"""The Lava processes that Lava does not have: LIF with every reset, a running sum, a recorder of spikes and state.

The arithmetic is :mod:`neuromorphic.fixed_point`'s, so an equation stands once. Steps count from 1, as in Lava, and
state is cleared as Lava's ``LIFReset`` does it: before step ``t`` when ``t % reset_interval == reset_offset %
reset_interval``.
"""

from __future__ import annotations

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
from numpy.typing import NDArray

from neuromorphic.fixed_point import accumulate_step, lif_step
from neuromorphic.homeostasis import control_step, moved_threshold


class ProgramLIF(AbstractProcess):
    """Leaky integrate-and-fire neurons of a program: per-neuron parameters and every reset.

    Equation: :func:`neuromorphic.fixed_point.lif_step`.

    Parameters
    ----------
    decay : NDArray[np.int32]
        Q0.12 factors in 0..4096, ``[N]``.
    threshold : NDArray[np.int32]
        In the units of ``v``, ``[N]``.
    bias : NDArray[np.int32]
        In the units of ``v``, ``[N]``.
    shift : int
        Fractional bits of ``v`` relative to the current.
    reset : str
        One of ``neuromorphic.fixed_point.RESETS``.
    reset_interval, reset_offset : int
        When the state is cleared; see the module.
    name : str, optional
        Name of the process.

    Attributes
    ----------
    a_in : InPort
        Summed synaptic current, int32 ``[N]``.
    s_out : OutPort
        Spikes, 0/1 ``[N]``.
    state_out : OutPort
        ``v`` after the step, for a recorder.
    v : Var
        State after the step, 24 bits ``[N]``.
    """

    def __init__(
        self,
        *,
        decay: NDArray[np.int32],
        threshold: NDArray[np.int32],
        bias: NDArray[np.int32],
        shift: int,
        reset: str,
        reset_interval: int,
        reset_offset: int,
        name: str | None = None,
    ) -> None:
        super().__init__(shift=shift, reset=reset, reset_interval=reset_interval, reset_offset=reset_offset, name=name)
        shape = decay.shape
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.state_out = OutPort(shape=shape)
        self.v = Var(shape=shape, init=0)
        self.decay = Var(shape=shape, init=decay)
        self.threshold = Var(shape=shape, init=threshold)
        self.bias = Var(shape=shape, init=bias)


@implements(proc=ProgramLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProgramLIFModel(PyLoihiProcessModel):
    """Fixed-point model of :class:`ProgramLIF`, equal to the reference executor by sharing its step."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=1)
    state_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    v: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=24)
    decay: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=13)
    threshold: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=24)
    bias: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=24)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._shift: int = proc_params["shift"]
        self._reset: str = proc_params["reset"]
        self._interval: int = proc_params["reset_interval"]
        self._offset: int = proc_params["reset_offset"] % self._interval

    def run_spk(self) -> None:
        """Receive the current, make one step, send the spikes and the state."""
        current = self.a_in.recv()
        if self.time_step % self._interval == self._offset:
            self.v[:] = 0
        spikes, v = lif_step(
            self.v[np.newaxis],
            current[np.newaxis],
            decay=self.decay,
            threshold=self.threshold,
            bias=self.bias,
            shift=self._shift,
            reset=self._reset,
        )
        self.v[:] = v[0]
        self.s_out.send(spikes[0])
        self.state_out.send(self.v)


class ProgramHomeostaticLIF(AbstractProcess):
    """LIF neurons whose thresholds follow their firing rate; see :class:`neuromorphic.neuron_ops.HomeostaticLIF`.

    Equation: :func:`neuromorphic.fixed_point.lif_step` with :func:`neuromorphic.homeostasis.moved_threshold`, and every
    ``period`` steps of a sample :func:`neuromorphic.homeostasis.control_step`.

    Parameters
    ----------
    decay, threshold, bias, shift, reset
        As of :class:`ProgramLIF`; ``threshold`` is the base.
    control : NDArray[np.int32]
        Of every domain at the start of a sample, ``[domains, 4]``.
    period : int
        Steps between two updates.
    options : dict
        Arguments of ``control_step``.
    reset_interval, reset_offset : int
        When membranes and controllers start anew; see the module.
    name : str, optional
        Name of the process.

    Attributes
    ----------
    a_in : InPort
        Summed synaptic current, int32 ``[N]``.
    s_out : OutPort
        Spikes, 0 or 1, ``[N]``.
    state_out : OutPort
        ``v``, then the offset of every domain, after the step, ``[N + domains]``.
    v : Var
        Membrane after the step, 24 bits ``[N]``.
    control : Var
        Average, integral, error and offset, ``[domains, 4]``.
    count : Var
        Spikes of each domain since the last update, ``[domains]``.
    """

    def __init__(
        self,
        *,
        decay: NDArray[np.int32],
        threshold: NDArray[np.int32],
        bias: NDArray[np.int32],
        shift: int,
        reset: str,
        control: NDArray[np.int32],
        period: int,
        options: dict[str, Any],
        reset_interval: int,
        reset_offset: int,
        name: str | None = None,
    ) -> None:
        super().__init__(
            shift=shift,
            reset=reset,
            start=control,
            period=period,
            options=options,
            reset_interval=reset_interval,
            reset_offset=reset_offset,
            name=name,
        )
        shape, domains = decay.shape, len(control)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.state_out = OutPort(shape=(shape[0] + domains,))
        self.v = Var(shape=shape, init=0)
        self.decay = Var(shape=shape, init=decay)
        self.threshold = Var(shape=shape, init=threshold)
        self.bias = Var(shape=shape, init=bias)
        self.control = Var(shape=control.shape, init=control)
        self.count = Var(shape=(domains,), init=0)


@implements(proc=ProgramHomeostaticLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProgramHomeostaticLIFModel(PyLoihiProcessModel):
    """Fixed-point model of :class:`ProgramHomeostaticLIF`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=1)
    state_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=27)
    v: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=24)
    decay: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=13)
    threshold: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=24)
    bias: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=24)
    control: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=27)
    count: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=24)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._neuron = {name: proc_params[name] for name in ("shift", "reset")}
        self._start: NDArray[np.int32] = proc_params["start"]
        self._period: int = proc_params["period"]
        self._options: dict[str, Any] = proc_params["options"]
        self._interval: int = proc_params["reset_interval"]
        self._offset: int = proc_params["reset_offset"]

    def run_spk(self) -> None:
        """Receive the current, make one step, send the spikes and the state, move the thresholds when it is time."""
        current = self.a_in.recv()
        place = (self.time_step - self._offset) % self._interval
        if place == 0:
            self.v[:], self.control[:], self.count[:] = 0, self._start, 0
        domains = len(self.control)
        per_domain = self.v.size // domains
        moved = moved_threshold(self.threshold, self.control[np.newaxis, :, 3], per_domain)
        spikes, v = lif_step(
            self.v[np.newaxis],
            current[np.newaxis],
            decay=self.decay,
            threshold=moved,
            bias=self.bias,
            **self._neuron,
        )
        self.v[:] = v[0]
        self.count += spikes.reshape(domains, per_domain).sum(axis=1, dtype=np.int32)
        if (place + 1) % self._period == 0:
            self.control[:] = control_step(self.control[np.newaxis], self.count[np.newaxis], **self._options)[0]
            self.count[:] = 0
        self.s_out.send(spikes[0])
        self.state_out.send(np.concatenate((self.v, self.control[:, 3])))


class ProgramReadout(AbstractProcess):
    """A running sum per class.

    Equation: :func:`neuromorphic.fixed_point.accumulate_step`.

    Parameters
    ----------
    bias : NDArray[np.int32]
        Added every step, in the units of ``y``, ``[N]``.
    shift : int
        Fractional bits of ``y`` relative to the current.
    reset_interval, reset_offset : int
        When the sum is cleared; see the module.
    name : str, optional
        Name of the process.

    Attributes
    ----------
    a_in : InPort
        Summed synaptic current, int32 ``[N]``.
    state_out : OutPort
        ``y`` after the step, for a recorder.
    y : Var
        Sum after the step, 24 bits ``[N]``.
    """

    def __init__(
        self,
        *,
        bias: NDArray[np.int32],
        shift: int,
        reset_interval: int,
        reset_offset: int,
        name: str | None = None,
    ) -> None:
        super().__init__(shift=shift, reset_interval=reset_interval, reset_offset=reset_offset, name=name)
        self.a_in = InPort(shape=bias.shape)
        self.state_out = OutPort(shape=bias.shape)
        self.y = Var(shape=bias.shape, init=0)
        self.bias = Var(shape=bias.shape, init=bias)


@implements(proc=ProgramReadout, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProgramReadoutModel(PyLoihiProcessModel):
    """Fixed-point model of :class:`ProgramReadout`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    state_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    y: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=24)
    bias: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=24)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._shift: int = proc_params["shift"]
        self._interval: int = proc_params["reset_interval"]
        self._offset: int = proc_params["reset_offset"] % self._interval

    def run_spk(self) -> None:
        """Receive the current, add it, send the sum."""
        current = self.a_in.recv()
        if self.time_step % self._interval == self._offset:
            self.y[:] = 0
        self.y[:] = accumulate_step(self.y[np.newaxis], current[np.newaxis], bias=self.bias, shift=self._shift)[0]
        self.state_out.send(self.y)
