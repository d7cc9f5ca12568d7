"""Processes of our own for what recurs beside the membrane: delays, scales, gates, linear states, memories, messages.

The arithmetic is :mod:`neuromorphic.pathway_arithmetic`'s. None of them adds a step: what is sent in a step has been
received in it. Steps count from 1; a state is cleared before step ``t`` when ``t % reset_interval == reset_offset %
reset_interval``, as Lava's ``LIFReset`` does it. A process with a state sends it by ``state_out`` too, for a recorder;
Lava's ``Monitor`` can watch its variables as well.
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

from neuromorphic.fixed_point import dense
from neuromorphic.pathway_arithmetic import (
    fast_weights_step,
    fingerprint,
    gate,
    gated_step,
    integrate_step,
    multiply,
    resonate_step,
    scale_values,
    slots_step,
    torus_sums,
)

Int32 = NDArray[np.int32]


class _Clock:
    """When the samples of a model begin."""

    time_step: int

    def _take_clock(self, proc_params: Any) -> None:
        self._interval: int = proc_params["reset_interval"]
        self._offset: int = proc_params["reset_offset"]

    @property
    def _place(self) -> int:
        """Step within the sample, from 0."""
        return (self.time_step - self._offset) % self._interval


class ProgramDense(AbstractProcess):
    """Synapses without the step that Lava's ``Dense`` takes: ``y = (weights @ x) << shift``.

    Parameters
    ----------
    weights : NDArray[np.int8]
        ``[out, in]``.
    shift : int
        Exact left shift.
    name : str, optional
        Name of the process.

    Attributes
    ----------
    a_in : InPort
        Events or values, ``[in]``.
    a_out : OutPort
        ``[out]``.
    weights : Var
        ``[out, in]``.
    """

    def __init__(self, *, weights: NDArray[np.int8], shift: int, name: str | None = None) -> None:
        super().__init__(shift=shift, name=name)
        self.a_in = InPort(shape=weights.shape[1:])
        self.a_out = OutPort(shape=weights.shape[:1])
        self.weights = Var(shape=weights.shape, init=weights)


@implements(proc=ProgramDense, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProgramDenseModel(PyLoihiProcessModel):
    """Fixed-point model of :class:`ProgramDense`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    weights: NDArray[np.int8] = LavaPyType(np.ndarray, np.int8, precision=8)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._shift: int = proc_params["shift"]

    def run_spk(self) -> None:
        """Receive, multiply, send."""
        self.a_out.send(dense(self.weights, self.a_in.recv()[np.newaxis], self._shift)[0])


class ProgramDelay(AbstractProcess):
    """Values as they were ``steps`` steps ago; those of the last ``back`` steps of a sample are not passed on.

    Parameters
    ----------
    shape : tuple of int
        ``(N,)``.
    steps : int
        0 or more; 0 passes them on in the same step.
    back : int
        So many steps at the end of a sample are replaced by zeros.
    reset_interval, reset_offset : int
        Steps of a sample, and the step in which the first of them arrives.
    name : str, optional
        Name of the process.

    Attributes
    ----------
    a_in : InPort
        Values, ``[N]``.
    a_out : OutPort
        ``[N]``.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        steps: int,
        back: int,
        reset_interval: int,
        reset_offset: int,
        name: str | None = None,
    ) -> None:
        super().__init__(
            shape=shape, steps=steps, back=back, reset_interval=reset_interval, reset_offset=reset_offset, name=name
        )
        self.a_in = InPort(shape=shape)
        self.a_out = OutPort(shape=shape)


@implements(proc=ProgramDelay, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProgramDelayModel(_Clock, PyLoihiProcessModel):
    """Model of :class:`ProgramDelay`. With a delay it sends before it receives, so it may stand in a loop."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._take_clock(proc_params)
        self._steps: int = proc_params["steps"]
        self._back: int = proc_params["back"]
        self._line = np.zeros((max(self._steps, 1), *proc_params["shape"]), dtype=np.int32)

    def run_spk(self) -> None:
        """Send what is due, receive what comes."""
        index = self.time_step % len(self._line)
        if self._steps > 0:
            self.a_out.send(self._line[index])
        received = self.a_in.recv()
        self._line[index] = 0 if self._place >= self._interval - self._back else received
        if self._steps == 0:
            self.a_out.send(self._line[index])


class ProgramScale(AbstractProcess):
    """A constant factor per unit; equation: :func:`neuromorphic.pathway_arithmetic.scale_values`.

    Parameters
    ----------
    factor : NDArray[np.int32]
        ``[N]``.
    shift : int
        Right shift of the product.
    name : str, optional
        Name of the process.

    Attributes
    ----------
    a_in : InPort
        ``[N]``.
    a_out : OutPort
        ``[N]``.
    factor : Var
        ``[N]``.
    """

    def __init__(self, *, factor: Int32, shift: int, name: str | None = None) -> None:
        super().__init__(shift=shift, name=name)
        self.a_in = InPort(shape=factor.shape)
        self.a_out = OutPort(shape=factor.shape)
        self.factor = Var(shape=factor.shape, init=factor)


@implements(proc=ProgramScale, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProgramScaleModel(PyLoihiProcessModel):
    """Fixed-point model of :class:`ProgramScale`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    factor: Int32 = LavaPyType(np.ndarray, np.int32, precision=32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._shift: int = proc_params["shift"]

    def run_spk(self) -> None:
        """Receive, multiply, send."""
        self.a_out.send(scale_values(self.a_in.recv(), self.factor, self._shift))


class ProgramGate(AbstractProcess):
    """Sigmoid gates from a table; equation: :func:`neuromorphic.pathway_arithmetic.gate`.

    Parameters
    ----------
    offset : NDArray[np.int32]
        ``[N]``, in units of 1/256.
    name : str, optional
        Name of the process.

    Attributes
    ----------
    a_in : InPort
        ``[N]``, in units of 1/256.
    a_out : OutPort
        Gates, 0..4096 ``[N]``.
    offset : Var
        ``[N]``.
    """

    def __init__(self, *, offset: Int32, name: str | None = None) -> None:
        super().__init__(name=name)
        self.a_in = InPort(shape=offset.shape)
        self.a_out = OutPort(shape=offset.shape)
        self.offset = Var(shape=offset.shape, init=offset)


@implements(proc=ProgramGate, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProgramGateModel(PyLoihiProcessModel):
    """Fixed-point model of :class:`ProgramGate`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=13)
    offset: Int32 = LavaPyType(np.ndarray, np.int32, precision=24)

    def run_spk(self) -> None:
        """Receive, look up, send."""
        self.a_out.send(gate(self.a_in.recv(), self.offset))


class ProgramMultiply(AbstractProcess):
    """Values weighed by gates; equation: :func:`neuromorphic.pathway_arithmetic.multiply`.

    Parameters
    ----------
    shape : tuple of int
        ``(N,)``.
    shift : int
        Right shift of the result.
    name : str, optional
        Name of the process.

    Attributes
    ----------
    a_in, gate_in : InPort
        Values, and gates 0..4096, ``[N]``.
    a_out : OutPort
        ``[N]``.
    """

    def __init__(self, *, shape: tuple[int, ...], shift: int, name: str | None = None) -> None:
        super().__init__(shift=shift, name=name)
        self.a_in = InPort(shape=shape)
        self.gate_in = InPort(shape=shape)
        self.a_out = OutPort(shape=shape)


@implements(proc=ProgramMultiply, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProgramMultiplyModel(PyLoihiProcessModel):
    """Fixed-point model of :class:`ProgramMultiply`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    gate_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=13)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._shift: int = proc_params["shift"]

    def run_spk(self) -> None:
        """Receive both, multiply, send."""
        values = self.a_in.recv()
        self.a_out.send(multiply(values, self.gate_in.recv(), self._shift))


class ProgramLI(AbstractProcess):
    """Leaky integrators that send their state; equation: :func:`neuromorphic.pathway_arithmetic.integrate_step`.

    Parameters
    ----------
    decay, bias : NDArray[np.int32]
        Q0.12, and state units, ``[N]``.
    shift : int
        Fractional bits of the state relative to the input.
    reset_interval, reset_offset : int
        When the state is cleared; see the module.
    name : str, optional
        Name of the process.

    Attributes
    ----------
    a_in : InPort
        ``[N]``.
    a_out, state_out : OutPort
        The state after the step, ``[N]``.
    v : Var
        The state, 24 bits ``[N]``.
    """

    def __init__(
        self,
        *,
        decay: Int32,
        bias: Int32,
        shift: int,
        reset_interval: int,
        reset_offset: int,
        name: str | None = None,
    ) -> None:
        super().__init__(shift=shift, reset_interval=reset_interval, reset_offset=reset_offset, name=name)
        self.a_in = InPort(shape=decay.shape)
        self.a_out = OutPort(shape=decay.shape)
        self.state_out = OutPort(shape=decay.shape)
        self.v = Var(shape=decay.shape, init=0)
        self.decay = Var(shape=decay.shape, init=decay)
        self.bias = Var(shape=decay.shape, init=bias)


@implements(proc=ProgramLI, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProgramLIModel(_Clock, PyLoihiProcessModel):
    """Fixed-point model of :class:`ProgramLI`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    state_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    v: Int32 = LavaPyType(np.ndarray, np.int32, precision=24)
    decay: Int32 = LavaPyType(np.ndarray, np.int32, precision=13)
    bias: Int32 = LavaPyType(np.ndarray, np.int32, precision=24)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._take_clock(proc_params)
        self._shift: int = proc_params["shift"]

    def run_spk(self) -> None:
        """Receive, make one step, send the state."""
        received = self.a_in.recv()
        if self._place == 0:
            self.v[:] = 0
        self.v[:] = integrate_step(self.v, received, decay=self.decay, bias=self.bias, shift=self._shift)
        self.a_out.send(self.v)
        self.state_out.send(self.v)


class ProgramGatedState(AbstractProcess):
    """Gated moving averages; equation: :func:`neuromorphic.pathway_arithmetic.gated_step`.

    Parameters
    ----------
    shape : tuple of int
        ``(N,)``.
    reset_interval, reset_offset : int
        When the state is cleared; see the module.
    name : str, optional
        Name of the process.

    Attributes
    ----------
    a_in, gate_in : InPort
        Values, and how much of the state is kept, 0..4096, ``[N]``.
    a_out, state_out : OutPort
        The state after the step, ``[N]``.
    s : Var
        The state, 24 bits ``[N]``.
    """

    def __init__(
        self, *, shape: tuple[int, ...], reset_interval: int, reset_offset: int, name: str | None = None
    ) -> None:
        super().__init__(reset_interval=reset_interval, reset_offset=reset_offset, name=name)
        self.a_in = InPort(shape=shape)
        self.gate_in = InPort(shape=shape)
        self.a_out = OutPort(shape=shape)
        self.state_out = OutPort(shape=shape)
        self.s = Var(shape=shape, init=0)


@implements(proc=ProgramGatedState, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProgramGatedStateModel(_Clock, PyLoihiProcessModel):
    """Fixed-point model of :class:`ProgramGatedState`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    gate_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=13)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    state_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    s: Int32 = LavaPyType(np.ndarray, np.int32, precision=24)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._take_clock(proc_params)

    def run_spk(self) -> None:
        """Receive both, make one step, send the state."""
        values = self.a_in.recv()
        gates = self.gate_in.recv()
        if self._place == 0:
            self.s[:] = 0
        self.s[:] = gated_step(self.s, values, gates)
        self.a_out.send(self.s)
        self.state_out.send(self.s)


class ProgramResonator(AbstractProcess):
    """Damped oscillators; equation: :func:`neuromorphic.pathway_arithmetic.resonate_step`.

    Parameters
    ----------
    cosine, sine : NDArray[np.int32]
        Factor per step, Q0.12, ``[N]``.
    reset_interval, reset_offset : int
        When the state is cleared; see the module.
    name : str, optional
        Name of the process.

    Attributes
    ----------
    a_in : InPort
        ``[N]``.
    a_out : OutPort
        The real part after the step, ``[N]``.
    state_out : OutPort
        Real parts, then imaginary parts, ``[2 N]``.
    re, im : Var
        The state, 24 bits each ``[N]``.
    """

    def __init__(
        self, *, cosine: Int32, sine: Int32, reset_interval: int, reset_offset: int, name: str | None = None
    ) -> None:
        super().__init__(reset_interval=reset_interval, reset_offset=reset_offset, name=name)
        self.a_in = InPort(shape=cosine.shape)
        self.a_out = OutPort(shape=cosine.shape)
        self.state_out = OutPort(shape=(2 * cosine.shape[0],))
        self.re = Var(shape=cosine.shape, init=0)
        self.im = Var(shape=cosine.shape, init=0)
        self.cosine = Var(shape=cosine.shape, init=cosine)
        self.sine = Var(shape=cosine.shape, init=sine)


@implements(proc=ProgramResonator, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProgramResonatorModel(_Clock, PyLoihiProcessModel):
    """Fixed-point model of :class:`ProgramResonator`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    state_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    re: Int32 = LavaPyType(np.ndarray, np.int32, precision=24)
    im: Int32 = LavaPyType(np.ndarray, np.int32, precision=24)
    cosine: Int32 = LavaPyType(np.ndarray, np.int32, precision=14)
    sine: Int32 = LavaPyType(np.ndarray, np.int32, precision=14)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._take_clock(proc_params)

    def run_spk(self) -> None:
        """Receive, turn, send."""
        received = self.a_in.recv()
        if self._place == 0:
            self.re[:], self.im[:] = 0, 0
        self.re[:], self.im[:] = resonate_step(self.re, self.im, received, cosine=self.cosine, sine=self.sine)
        self.a_out.send(self.re)
        self.state_out.send(np.concatenate((self.re, self.im)))


class ProgramTorus(AbstractProcess):
    """Sums over neighbours on a torus; equation: :func:`neuromorphic.pathway_arithmetic.torus_sums`.

    Parameters
    ----------
    rows, columns : int
        Sides, ``rows * columns = N``.
    edges : NDArray[np.int8], optional
        ``[8, N]``; ``None``: all 1.
    name : str, optional
        Name of the process.

    Attributes
    ----------
    a_in : InPort
        Spikes, ``[N]``.
    a_out : OutPort
        ``[N]``.
    """

    def __init__(
        self, *, rows: int, columns: int, edges: NDArray[np.int8] | None = None, name: str | None = None
    ) -> None:
        super().__init__(rows=rows, columns=columns, edges=edges, name=name)
        self.a_in = InPort(shape=(rows * columns,))
        self.a_out = OutPort(shape=(rows * columns,))


@implements(proc=ProgramTorus, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProgramTorusModel(PyLoihiProcessModel):
    """Fixed-point model of :class:`ProgramTorus`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._rows: int = proc_params["rows"]
        self._columns: int = proc_params["columns"]
        self._edges: NDArray[np.int8] | None = proc_params["edges"]

    def run_spk(self) -> None:
        """Receive, sum, send."""
        self.a_out.send(torus_sums(self.a_in.recv()[np.newaxis], self._rows, self._columns, self._edges)[0])


class ProgramFastWeights(AbstractProcess):
    """A matrix that the activity writes; equation: :func:`neuromorphic.pathway_arithmetic.fast_weights_step`.

    Parameters
    ----------
    size, decay, rate_bits, frac, rule
        Of :class:`neuromorphic.pathway_ops.FastWeights`.
    reset_interval, reset_offset : int
        When the state is cleared; see the module.
    name : str, optional
        Name of the process.

    Attributes
    ----------
    a_in : InPort
        ``[r]`` in Q.12.
    a_out : OutPort
        What was read, ``[r]`` in Q.12.
    state_out : OutPort
        The matrix row by row, then the key, ``[r * r + r]``.
    F : Var
        ``[r, r]``, 24 bits.
    key : Var
        ``[r]``.
    """

    def __init__(
        self,
        *,
        size: int,
        decay: int,
        rate_bits: int,
        frac: int,
        rule: str,
        reset_interval: int,
        reset_offset: int,
        name: str | None = None,
    ) -> None:
        super().__init__(
            decay=decay,
            rate_bits=rate_bits,
            frac=frac,
            rule=rule,
            reset_interval=reset_interval,
            reset_offset=reset_offset,
            name=name,
        )
        self.a_in = InPort(shape=(size,))
        self.a_out = OutPort(shape=(size,))
        self.state_out = OutPort(shape=(size * size + size,))
        self.F = Var(shape=(size, size), init=0)
        self.key = Var(shape=(size,), init=0)


@implements(proc=ProgramFastWeights, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProgramFastWeightsModel(_Clock, PyLoihiProcessModel):
    """Fixed-point model of :class:`ProgramFastWeights`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    state_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    F: Int32 = LavaPyType(np.ndarray, np.int32, precision=24)
    key: Int32 = LavaPyType(np.ndarray, np.int32, precision=14)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._take_clock(proc_params)
        self._options = {name: proc_params[name] for name in ("decay", "rate_bits", "frac", "rule")}

    def run_spk(self) -> None:
        """Receive, write, read, send."""
        received = self.a_in.recv()
        if self._place == 0:
            self.F[:], self.key[:] = 0, 0
        batched = (array[np.newaxis] for array in (self.F, self.key, received))
        y, F, key = fast_weights_step(*batched, **self._options)
        self.F[:], self.key[:] = F[0], key[0]
        self.a_out.send(y[0])
        self.state_out.send(np.concatenate((self.F.ravel(), self.key)))


class ProgramSlots(AbstractProcess):
    """Winner-take-all memory; equation: :func:`neuromorphic.pathway_arithmetic.slots_step`.

    Parameters
    ----------
    keys : NDArray[np.int8]
        Slow half, ``[M, H]``.
    fast : NDArray[np.int32]
        Fast half at the start of every sample, ``[M, H]``.
    gain, shift, decay_bits, rate_bits, plastic
        Of :class:`neuromorphic.pathway_ops.Slots`.
    reset_interval, reset_offset : int
        When the fast half starts anew; see the module.
    name : str, optional
        Name of the process.

    Attributes
    ----------
    a_in : InPort
        Spikes, ``[H]``.
    a_out : OutPort
        What was read, ``[H]``.
    state_out : OutPort
        The winner, what was read, and the fingerprint of the fast half, ``[H + 2]``.
    keys, E : Var
        Slow half, and fast half after the step, ``[M, H]``.
    """

    def __init__(
        self,
        *,
        keys: NDArray[np.int8],
        fast: Int32,
        gain: int,
        shift: int,
        decay_bits: int,
        rate_bits: int,
        plastic: bool,
        reset_interval: int,
        reset_offset: int,
        name: str | None = None,
    ) -> None:
        super().__init__(
            gain=gain,
            shift=shift,
            decay_bits=decay_bits,
            rate_bits=rate_bits,
            plastic=plastic,
            fast=fast,
            reset_interval=reset_interval,
            reset_offset=reset_offset,
            name=name,
        )
        size = keys.shape[1]
        self.a_in = InPort(shape=(size,))
        self.a_out = OutPort(shape=(size,))
        self.state_out = OutPort(shape=(size + 2,))
        self.keys = Var(shape=keys.shape, init=keys)
        self.E = Var(shape=keys.shape, init=0)


@implements(proc=ProgramSlots, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProgramSlotsModel(_Clock, PyLoihiProcessModel):
    """Fixed-point model of :class:`ProgramSlots`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=1)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    state_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    keys: NDArray[np.int8] = LavaPyType(np.ndarray, np.int8, precision=2)
    E: Int32 = LavaPyType(np.ndarray, np.int32, precision=24)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._take_clock(proc_params)
        names = ("gain", "shift", "decay_bits", "rate_bits", "plastic")
        self._options = {name: proc_params[name] for name in names}
        self._fast: Int32 = proc_params["fast"]

    def run_spk(self) -> None:
        """Receive, ask, learn, send."""
        events = self.a_in.recv()
        if self._place == 0:
            self.E[:] = self._fast
        y, E, winner = slots_step(self.E[np.newaxis], events[np.newaxis], keys=self.keys, **self._options)
        self.E[:] = E[0]
        self.a_out.send(y[0])
        self.state_out.send(np.concatenate((winner[0], y[0], fingerprint(E)[0])))
