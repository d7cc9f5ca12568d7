"""Run Lava's unmodified models inside one process: no operating-system processes, no shared memory, no hangs.

Lava's own compiler compiles the network and its own builders build the models; only the channels between them are
replaced by queues in memory. Each model is a greenlet: where it would block on an empty channel it gives way. All
models make one step before any makes the next, then the post-management phase runs, as under Lava's runtime service.
An exception in a model reaches the caller, and a network in which nobody can move is an error instead of a hang.

Learning and asynchronous processes are not supported.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from lava.magma.compiler.channels.interfaces import AbstractCspRecvPort, AbstractCspSendPort
from lava.magma.core.process.ports.ports import create_port_id
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_configs import RunConfig
from numpy.typing import NDArray


class _Channel:
    """A queue between two models, and what their ports are asked about it."""

    def __init__(self, runtime: LocalRuntime, name: str, shape: tuple[int, ...], d_type: Any) -> None:
        self.runtime, self._name, self._shape, self._d_type = runtime, name, tuple(shape), d_type
        self.queue: deque[NDArray[Any]] = deque()

    def renamed(self, name: str) -> _Channel:
        """Return the same queue as the port at its other end knows it."""
        other = _Channel(self.runtime, name, self._shape, self._d_type)
        other.queue = self.queue
        return other


class _Port:
    """What both kinds of port share."""

    def __init__(self, channel: _Channel) -> None:
        self._channel = channel

    name = property(lambda self: self._channel._name)
    shape = property(lambda self: self._channel._shape)
    d_type = property(lambda self: self._channel._d_type)
    size = property(lambda self: len(self._channel.queue) + 1)

    def start(self) -> None:
        """Nothing to start."""

    def join(self) -> None:
        """Nothing to stop."""


class _SendPort(_Port, AbstractCspSendPort):
    def probe(self) -> bool:
        return True

    def send(self, data: NDArray[Any]) -> None:
        values = np.asarray(data)
        if values.shape != self.shape:
            raise AssertionError(f"{self.name}: sends shape {values.shape}, the port has {self.shape}")
        message = np.empty(self.shape, self.d_type)
        message[...] = values  # the silent cast of Lava's own channels
        self._channel.queue.append(message)
        self._channel.runtime.num_moves += 1


class _RecvPort(_Port, AbstractCspRecvPort):
    def probe(self) -> bool:
        return bool(self._channel.queue)

    def peek(self) -> NDArray[Any]:
        while not self._channel.queue:
            self._channel.runtime.give_way()
        return self._channel.queue[0].copy()

    def recv(self) -> NDArray[Any]:
        while not self._channel.queue:
            self._channel.runtime.give_way()
        self._channel.runtime.num_moves += 1
        return self._channel.queue.popleft()


class _DirectRef:
    """A RefPort that reads a model's variable where it stands."""

    def __init__(self, model: Any, variable: str) -> None:
        self._model, self._variable = model, variable

    def read(self) -> NDArray[Any]:
        return np.array(getattr(self._model, self._variable))


class LocalRuntime:
    """Models of a compiled process network, stepped in turn.

    Parameters
    ----------
    process : AbstractProcess
        Any process of the network.
    run_config : RunConfig
        Selects the process models.

    Raises
    ------
    ModuleNotFoundError
        When greenlet is not installed beside Lava.
    """

    def __init__(self, process: AbstractProcess, run_config: RunConfig) -> None:
        import greenlet  # only this runtime needs it

        self._greenlet = greenlet
        self._main = greenlet.getcurrent()
        self.num_moves = 0
        executable = process.compile(run_config)
        builders = executable.proc_builders
        references = []
        for channel in executable.channel_builders:
            source, target = channel.src_port_initializer, channel.dst_port_initializer
            source_builder, target_builder = builders[channel.src_process], builders[channel.dst_process]
            sender = _Channel(self, source.name, source.shape, source.d_type)
            receiver = _RecvPort(sender.renamed(target.name))
            target_builder.add_csp_port_mapping(create_port_id(channel.src_process.id, source.name), receiver)
            if source.name in source_builder.ref_ports:
                variable = target_builder.var_ports[target.name].var_name
                references.append((channel.src_process, source.name, channel.dst_process, variable))
            elif source.name not in source_builder.var_ports:
                source_builder.set_csp_ports([_SendPort(sender)])
                target_builder.set_csp_ports([receiver])
        models = {owner: builder.build() for owner, builder in builders.items()}
        for owner, port, target_process, variable in references:
            setattr(models[owner], port, _DirectRef(models[target_process], variable))
        self.models = list(models.values())
        self._running = [greenlet.greenlet(self._body(model)) for model in self.models]

    def give_way(self) -> None:
        """Let the other models go on; returns when it is the caller's turn again."""
        self._main.switch(False)

    def _body(self, model: Any) -> Any:
        def body() -> None:
            while True:
                model.time_step += 1
                model.run_spk()
                self._main.switch(True)  # this step is done

        return body

    def _step(self) -> None:
        waiting = list(zip(self._running, self.models, strict=True))
        while waiting:
            before = self.num_moves, len(waiting)
            waiting = [(running, model) for running, model in waiting if not running.switch()]
            if (self.num_moves, len(waiting)) == before:
                stuck = ", ".join(type(model).__name__ for _, model in waiting)
                raise RuntimeError(f"no process can move: {stuck} wait for messages that nobody sends")
        for model in self.models:
            if model.post_guard():
                model.run_post_mgmt()

    def run(self, num_steps: int) -> None:
        """Make ``num_steps`` steps.

        Raises
        ------
        RuntimeError
            When no model can move.
        """
        for _ in range(num_steps):
            self._step()
