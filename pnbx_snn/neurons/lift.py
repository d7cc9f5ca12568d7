"""``lift``: any step-wise neuron of snnTorch or Norse over time, with explicit state."""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import snntorch
import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from pnbx_snn.checks import narrow, wide, without_autocast
from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.neurons.lif import LIF
from pnbx_snn.surrogate import resolve

_OVER_TIME = (snntorch.StateLeaky, snntorch.AssociativeLeaky, snntorch.LeakyParallel)  # LinearLeaky is a StateLeaky

# Names of the state in the order in which snnTorch takes and returns it.
_SNNTORCH_STATES: dict[type[nn.Module], tuple[str, ...]] = {
    snntorch.Leaky: ("mem",),
    snntorch.Lapicque: ("mem",),
    snntorch.RLeaky: ("spk", "mem"),
    snntorch.Synaptic: ("syn", "mem"),
    snntorch.RSynaptic: ("spk", "syn", "mem"),
    snntorch.Alpha: ("syn_exc", "syn_inh", "mem"),
    snntorch.SLSTM: ("syn", "mem"),
    snntorch.SConv2dLSTM: ("syn", "mem"),
}


def lift(neuron: nn.Module) -> nn.Module:
    """Run a step-wise neuron over time: ``out, state = lift(neuron)(x, state)``.

    Parameters
    ----------
    neuron : nn.Module
        snnTorch's ``Leaky``, ``Lapicque``, ``RLeaky``, ``Synaptic``, ``RSynaptic``, ``Alpha``, ``SLSTM`` or
        ``SConv2dLSTM`` (and subclasses), or a Norse cell: any module whose ``forward`` has a parameter named
        ``state`` and returns ``(out, state)``, such as ``LIFCell``, ``LIFBoxCell``, ``LICell``, ``IAFCell``,
        ``LSNNCell``, their recurrent kinds, or a ``SequentialState`` of them.

    Returns
    -------
    nn.Module
        Maps ``x [T, B, ...]`` and a state (``None``: the neuron's own initial state) to ``out [T, B, ...]`` and the
        state after the last step: for snnTorch a tuple of tensors in snnTorch's order (``(spk, syn, mem)``,
        ``(syn_exc, syn_inh, mem)``, ...), for Norse its NamedTuple. The neuron itself is the attribute ``neuron``.

    Raises
    ------
    PnbxTypeError
        If ``neuron`` is neither, or runs over time already.
    PnbxValueError
        If an snnTorch neuron has ``init_hidden=True``, or cannot keep its state from one step to the next.

    Notes
    -----
    The state is float32 or wider, and under autocast the neuron computes in it, its recurrent matrices too: in bfloat16
    a membrane would stop to grow. Outputs have the dtype of ``x``. A neuron whose matrices were converted to half
    precision (``neuron.half()``) computes in that. A surrogate made by ``snntorch.surrogate`` becomes the equal
    :class:`~pnbx_snn.surrogate.Surrogate`, so the neuron can be pickled.

    References
    ----------
    snnTorch 1.0 ``snntorch/_neurons``; Norse 1.1 ``norse.torch.Lift``, which reads ``x[t]`` and therefore needs time
    in proportion to ``T * T`` for its backward pass.

    Examples
    --------
    >>> import snntorch, torch
    >>> synaptic = lift(snntorch.Synaptic(alpha=0.8, beta=0.5))
    >>> spikes, (syn, mem) = synaptic(torch.ones(10, 2, 3))  # [T, B, N]
    >>> spikes.shape, mem.shape
    (torch.Size([10, 2, 3]), torch.Size([2, 3]))
    """
    name = type(neuron).__name__
    if isinstance(neuron, (*_OVER_TIME, LIF, _SnnTorchOverTime, _NorseOverTime)):
        raise PnbxTypeError(f"lift: {name} runs over time already, call it with [T, B, N]")
    if isinstance(neuron, snntorch.DeltaLeaky):
        raise PnbxTypeError("lift: snntorch.DeltaLeaky is not supported: its state is a tuple inside `mem`")
    for kind, names in _SNNTORCH_STATES.items():
        if isinstance(neuron, kind):
            if neuron.init_hidden:
                raise PnbxValueError(
                    f"lift: snntorch.{name}(init_hidden=True) hides its state; build it with init_hidden=False"
                )
            if kind is snntorch.SLSTM and neuron.input_size != neuron.hidden_size:
                raise PnbxValueError(
                    f"lift: snntorch.{name}(input_size={neuron.input_size}, hidden_size={neuron.hidden_size}): "
                    "snnTorch 1.0 sets its state to zero in every step unless the two sizes are equal"
                )
            return _SnnTorchOverTime(neuron, names)
    if _runs_over_time_in_norse(neuron):
        raise PnbxTypeError(f"lift: norse.torch.{name} runs over time already; lift its cell, {name}Cell")
    if "state" not in inspect.signature(neuron.forward).parameters:
        raise PnbxTypeError(
            f"lift: {name} is neither an snnTorch neuron nor a Norse cell (a module whose forward takes `state` "
            "and returns (out, state))"
        )
    return _NorseOverTime(neuron)


class _SnnTorchOverTime(nn.Module):
    """An snnTorch neuron over time; nothing is left in the neuron after a call."""

    def __init__(self, neuron: Any, state_names: tuple[str, ...]) -> None:
        super().__init__()
        neuron.spike_grad = resolve(neuron.spike_grad)
        self.neuron = neuron
        self.state_names = state_names

    def forward(
        self, x: Shaped[Tensor, "T B ..."], state: tuple[Tensor, ...] | None = None
    ) -> tuple[Shaped[Tensor, "T B ..."], tuple[Tensor, ...]]:
        """Run all steps from ``state``, zeros if it is None."""
        _check_sequence(x)
        if state is not None and len(state) != len(self.state_names):
            raise ShapeError(f"lift: state must be ({', '.join(self.state_names)}), got {len(state)} tensors")
        outputs = []
        currents, autocast = _in_float32(self.neuron, x)
        held = [getattr(self.neuron, name) for name in self.state_names]
        nothing = [part if part.numel() == 0 else part.detach().new_empty(0) for part in held]
        state = self._initial(currents) if state is None else state
        self._hold(nothing)
        try:
            for current in currents.unbind(0):
                given = {} if state is None else dict(zip(self.state_names, state, strict=True))
                with autocast():
                    returned = self.neuron(current, **given)
                # Recurrent neurons: the spikes are state too, in the matrices' dtype; a bypassed surrogate's: float32.
                returned = [part.to(torch.promote_types(part.dtype, current.dtype)) for part in returned]
                state = tuple(returned[-len(nothing) :])
                outputs.append(returned[0])
                for (name, before), after in zip(given.items(), state, strict=False):
                    if before.shape != after.shape:  # snnTorch has replaced it by zeros, silently
                        raise ShapeError(f"lift: state {name} must be {list(after.shape)}, got {list(before.shape)}")
        finally:
            self._hold(nothing)
        assert state is not None  # there was a step
        return narrow(torch.stack(outputs), x), state

    def _initial(self, x: Tensor) -> tuple[Tensor, ...] | None:
        """Zeros in the dtype of the input; None where snnTorch makes them like that itself."""
        if isinstance(self.neuron, snntorch.SLSTM):
            shape = [x.shape[1], self.neuron.hidden_size]
        elif isinstance(self.neuron, snntorch.SConv2dLSTM):
            shape = [x.shape[1], self.neuron.out_channels, *x.shape[3:]]
        else:
            return None
        return x.new_zeros(shape), x.new_zeros(shape)

    def _hold(self, state: list[Tensor]) -> None:
        for name, value in zip(self.state_names, state, strict=True):
            setattr(self.neuron, name, value)
        for name in ("reset", "spk"):
            self.neuron.__dict__.pop(name, None)


class _NorseOverTime(nn.Module):
    """A Norse cell over time; state as Norse has it."""

    def __init__(self, neuron: nn.Module) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, x: Shaped[Tensor, "T B ..."], state: Any = None) -> tuple[Shaped[Tensor, "T B ..."], Any]:
        """Run all steps from ``state``; None is the cell's own initial state."""
        _check_sequence(x)
        if isinstance(state, list):
            state = list(state)  # SequentialState of Norse 1.1 writes into the list it is given
        outputs = []
        currents, autocast = _in_float32(self.neuron, x)
        for current in currents.unbind(0):
            with autocast():
                out, state = self.neuron(current, state)
            outputs.append(out)
        return narrow(torch.stack(outputs), x), state


def _in_float32(neuron: nn.Module, x: Tensor) -> tuple[Tensor, Callable[[], AbstractContextManager[Any]]]:
    """Return what a neuron over time reads, and the context of its steps, so that its state is float32 or wider."""
    if any(wide(matrix) is not matrix for matrix in neuron.parameters() if matrix.ndim > 1):
        return x, nullcontext  # converted to half precision, matrices and all
    return wide(x), lambda: without_autocast(x)


def _runs_over_time_in_norse(neuron: nn.Module) -> bool:
    if not type(neuron).__module__.startswith("norse."):
        return False  # do not import Norse, which takes a second, for somebody else's cell
    from norse.torch.module.snn import SNN, SNNRecurrent

    return isinstance(neuron, SNN | SNNRecurrent)


def _check_sequence(x: Tensor) -> None:
    if x.ndim < 2 or x.numel() == 0:
        raise ShapeError(f"lift: x must be [T, B, ...] without an empty axis, got shape {list(x.shape)}")
