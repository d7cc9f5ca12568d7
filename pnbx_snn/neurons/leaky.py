"""``Leaky``: ``snntorch.Leaky`` for unchanged snnTorch scripts, without its traps."""

import weakref
from collections.abc import Callable
from typing import Any

import snntorch
import torch
from jaxtyping import Shaped
from torch import Tensor

from pnbx_snn.checks import narrow, transformed, wide
from pnbx_snn.errors import PnbxError, PnbxTypeError, ShapeError
from pnbx_snn.kernels.lif import Scan, Step, lif_scan, usable
from pnbx_snn.surrogate import SpikeFunction, resolve


class _WeakInstance:
    """Stands for a neuron in ``snntorch.SpikingNeuron.instances`` without keeping it alive.

    snnTorch appends every neuron to that list and never takes one out, so a deleted network, its graph and its GPU
    memory live on. ``snntorch.utils.reset`` and ``backprop`` walk through the list, ask
    ``isinstance(entry, snntorch.Leaky)`` and read and assign ``entry.mem``: this stand-in answers for a living neuron
    only. A dead entry stays until the next neuron is made, because the walk counts positions; ``weakref.proxy`` with a
    callback would shift them meanwhile.
    """

    def __init__(self, neuron: "Leaky") -> None:
        self._neuron = weakref.ref(neuron)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        neuron = self._neuron()
        return _WeakInstance if neuron is None else type(neuron)

    @property
    def mem(self) -> Tensor:
        neuron = self._neuron()
        return torch.zeros(0) if neuron is None else neuron.mem

    @mem.setter
    def mem(self, value: Tensor) -> None:
        neuron = self._neuron()
        if neuron is not None:
            neuron.mem = value

    def stands_for(self, neuron: "Leaky | None") -> bool:
        return self._neuron() is neuron


def _list_weakly(neuron: "Leaky") -> None:
    """Replace the neuron in snnTorch's list by a stand-in, and drop the stand-ins of the dead."""
    _take_out(neuron)
    snntorch.SpikingNeuron.instances.append(_WeakInstance(neuron))


def _take_out(neuron: "Leaky") -> None:
    def stays(entry: Any) -> bool:
        if type(entry) is _WeakInstance:
            return not (entry.stands_for(None) or entry.stands_for(neuron))
        return entry is not neuron

    listed = snntorch.SpikingNeuron.instances
    listed[:] = [entry for entry in listed if stays(entry)]


class Leaky(snntorch.Leaky):  # type: ignore[misc]
    r"""Drop-in replacement for ``snntorch.Leaky``: same constructor, same numbers, same places in snnTorch.

    Each step runs snnTorch's own ``forward``; with ``H(x) = 1 if x > 0 else 0`` and ``b = clamp(beta, 0, 1)``::

        R[t] = H(U[t-1] - threshold)                           # no gradient
        U[t] = b * U[t-1] + I[t] - R[t] * threshold            # reset_mechanism="subtract"
        U[t] = b * (1 - R[t]) * U[t-1] + I[t]                  # reset_mechanism="zero"
        U[t] = b * U[t-1] + I[t]                               # reset_mechanism="none"
        S[t] = H(U[t] - threshold) * graded_spikes_factor      # surrogate gradient

    so with the default ``reset_delay=True`` a reset is seen in the membrane one step after its spike.

    What differs from ``snntorch.Leaky``:

    * it can be pickled, ``torch.save``-d and deep-copied, also in the middle of training (``mem`` goes without its
      graph), because a surrogate of ``snntorch.surrogate`` becomes a :class:`~pnbx_snn.surrogate.Surrogate`;
    * it dies when its last user lets go, and ``snntorch.utils.reset`` still reaches it while it lives;
    * a ``mem`` of the wrong shape raises instead of being replaced by zeros (zeros of another shape, which
      ``init_leaky()`` returns after a batch of another size, still pass: nothing is lost);
    * assigning ``reset_mechanism``, or loading it with a ``state_dict``, takes effect;
    * the membrane is float32 where the input is bfloat16 or float16, as under autocast: in bfloat16 it would stop to
      grow. Spikes have the dtype of such an input, else that of the membrane (snnTorch: always float32);
    * ``mem`` is no buffer: DistributedDataParallel does not overwrite the state of one process by that of another,
      and nothing that copies buffers touches it. It moves with ``.to()``, and :func:`pnbx_snn.neurons.reset` clears it;
    * recomputing it for activation checkpointing from a state that has gone on raises, where gradients were wrong;
    * a whole sequence in one call: :meth:`forward_sequence`.

    Parameters
    ----------
    beta : float or Tensor
        Decay per step, clamped to [0, 1] when used: one for all neurons, or one for each.
    threshold : float or Tensor
        A spike is ``U > threshold``, strictly.
    spike_grad : str, callable or None
        Surrogate gradient: a name such as ``"fast_sigmoid"``, a function of ``snntorch.surrogate``, or None (atan).
    surrogate_disable, init_hidden, inhibition, learn_beta, learn_threshold, reset_mechanism, state_quant, output
        As in ``snntorch.Leaky``.
    graded_spikes_factor, learn_graded_spikes_factor, reset_delay
        As there; ``reset_delay=False`` lets a spike reset its membrane in its own step, with gradient.

    Notes
    -----
    ``state_dict`` keys are snnTorch's: ``threshold``, ``graded_spikes_factor``, ``reset_mechanism_val``, ``beta``.
    Integer counterpart: none for ``reset_delay=True``; use :class:`~pnbx_snn.neurons.lif.LIF` in what is compiled.

    References
    ----------
    snnTorch 1.0, ``snntorch/_neurons/leaky.py``.

    Examples
    --------
    >>> import torch
    >>> lif = Leaky(beta=0.5, threshold=1.0)
    >>> spk, mem = lif(torch.tensor([[1.5]]), lif.init_leaky())
    >>> spk.item(), mem.item()
    (1.0, 1.5)
    >>> spk, mem = lif.forward_sequence(torch.full((4, 1, 1), 0.75))
    >>> spk.flatten().tolist(), mem.flatten().tolist()
    ([0.0, 1.0, 0.0, 0.0], [0.75, 1.125, 0.3125, 0.90625])
    """

    mem: Tensor
    _left_in: int = -1
    """Backward pass in which the last step with a hidden state ran; -1: in none."""

    def __init__(
        self,
        beta: float | Tensor,
        threshold: float | Tensor = 1.0,
        spike_grad: str | SpikeFunction | None = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        reset_mechanism: str = "subtract",
        state_quant: Any = False,
        output: bool = False,
        graded_spikes_factor: float | Tensor = 1.0,
        learn_graded_spikes_factor: bool = False,
        reset_delay: bool = True,
    ) -> None:
        super().__init__(  # in the order of snnTorch's own arguments
            beta, threshold, resolve(spike_grad), surrogate_disable, init_hidden, inhibition, learn_beta,
            learn_threshold, reset_mechanism, state_quant, output, graded_spikes_factor,
            learn_graded_spikes_factor, reset_delay,
        )  # fmt: skip
        self._listed = True
        _list_weakly(self)

    def _init_mem(self) -> None:
        self.mem = torch.zeros(0)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Leaky":
        super()._apply(fn, recurse)
        self.mem = fn(self.mem)
        return self

    @property
    def state_function(self) -> Callable[[Tensor], Tensor]:
        """The update rule of the present ``reset_mechanism``.

        snnTorch's constructor stores a bound method here, once: later assignments to ``reset_mechanism`` had no effect,
        and the method's reference to its neuron made every neuron wait for the garbage collector.
        """
        rules: dict[str, Callable[[Tensor], Tensor]] = {
            "subtract": self._base_sub,
            "zero": self._base_zero,
            "none": self._base_int,
        }
        return rules[self.reset_mechanism]

    @state_function.setter
    def state_function(self, rule: Callable[[Tensor], Tensor]) -> None:
        """Let snnTorch's constructor assign; ``reset_mechanism`` decides."""

    def forward(
        self, input_: Shaped[Tensor, "*shape"], mem: Shaped[Tensor, "..."] | None = None
    ) -> Shaped[Tensor, "*shape"] | tuple[Shaped[Tensor, "*shape"], Shaped[Tensor, "*shape"]]:
        """One step, all tensors ``[B, ...]``: return spikes and the membrane potential after it.

        ``mem`` is the potential before the step, ``None`` the one that the neuron holds. Only the spikes are returned
        with ``init_hidden=True`` and ``output=False``.

        Raises
        ------
        PnbxTypeError
            If ``mem`` is passed with ``init_hidden=True``.
        ShapeError
            If ``mem`` has another shape than ``input_`` and replacing it by zeros would lose something.
        PnbxError
            With ``init_hidden=True``, when activation checkpointing runs this step again from a later state.
        """
        current = wide(input_)
        if mem is None:
            self._check_recomputation()
            self.mem = wide(self.mem)
        else:
            if self.init_hidden:
                raise PnbxTypeError("leaky: `mem` should not be passed as an argument while `init_hidden=True`")
            if mem.shape != input_.shape and (mem.requires_grad or bool(mem.any())):
                raise ShapeError(
                    f"leaky: mem must have the shape of input_, {tuple(input_.shape)}, got {tuple(mem.shape)}; "
                    "start a new batch with init_leaky() or a mem of its shape"
                )
            mem = wide(mem)
        before = self.mem
        answer = super().forward(current, mem)
        if mem is not None and transformed():  # nothing of a transform of torch.func may outlive it
            self.mem = before
            self.__dict__.pop("reset", None)
        return (narrow(answer[0], input_), answer[1]) if isinstance(answer, tuple) else narrow(answer, input_)

    def forward_sequence(
        self, input_: Shaped[Tensor, "T B *shape"], mem: Shaped[Tensor, "..."] | None = None
    ) -> tuple[Shaped[Tensor, "T B *shape"], Shaped[Tensor, "T B *shape"]]:
        """All steps of a sequence ``[T, B, ...]``, as if :meth:`forward` were called in a loop.

        ``mem`` ``[B, ...]`` is the membrane potential before the first step; without it zeros, or with
        ``init_hidden=True`` the one that the neuron holds. Returns spikes and membrane potential of every step,
        ``[T, B, ...]`` each; ``mem[-1]`` continues the sequence.

        Raises
        ------
        ShapeError
            If there is no step, or ``mem`` does not fit.
        PnbxTypeError
            If ``mem`` is passed with ``init_hidden=True``.
        """
        if input_.ndim < 2 or len(input_) == 0:
            raise ShapeError(f"leaky: a sequence must be [T, B, ...] with T >= 1, got shape {tuple(input_.shape)}")
        if mem is None and not self.init_hidden:
            mem = torch.zeros_like(input_[0])
        state = () if mem is None else (mem,)
        before = wide(self.mem if mem is None else mem)
        if before.shape == input_.shape[1:] and (mem is None or not self.init_hidden):
            scan = self.fused(wide(input_), before, traced=True)
            if scan is not None:
                assert scan.membranes is not None
                if mem is None:
                    self._check_recomputation()
                self.mem = scan.v
                self.reset = self._above(scan.membranes[-2] if len(input_) > 1 else before)
                return narrow(scan.spikes, input_), scan.membranes
        spikes, membranes = [], []
        for current in input_.unbind(0):
            out = self(current, *state)
            spk, after = out if isinstance(out, tuple) else (out, self.mem)
            spikes.append(spk)
            membranes.append(after)
            state = (after,) if state else ()
        return torch.stack(spikes), torch.stack(membranes)

    def fused(self, input_: Shaped[Tensor, "T *shape"], mem: Shaped[Tensor, "*shape"], *, traced: bool) -> Scan | None:
        """Run a sequence by :func:`~pnbx_snn.kernels.lif.lif_scan`; None where that cannot do what this neuron does.

        It cannot with ``inhibition``, ``state_quant``, graded spikes, a surrogate without a formula of its own
        (also ``surrogate_disable``), hooks, or a ``forward`` that a subclass may have changed. This neuron's own
        state is neither read nor written.
        """
        if type(self) is not Leaky or self.inhibition or self.state_quant or hooked(self):
            return None
        decay = self.beta.clamp(0, 1)
        if not (usable(input_, decay, self.threshold, mem, self.spike_grad) and self._fires_ones()):
            return None
        options: dict[str, Any] = {"reset": self.reset_mechanism, "spike_grad": self.spike_grad, "traced": traced}
        step: Step = "delayed" if self.reset_delay else "leaky"
        return lif_scan(input_, decay, self.threshold, mem, step=step, **options)

    @torch.no_grad()
    def _above(self, mem: Tensor) -> Tensor:
        """Return what ``mem_reset`` does, without calling the surrogate for one step."""
        above: Tensor = mem - self.threshold > 0
        return above.to(mem.dtype)

    def _fires_ones(self) -> bool:
        size = self.graded_spikes_factor
        return not (isinstance(size, Tensor) and size.requires_grad) and bool(size == 1)

    def _check_recomputation(self) -> None:
        """Raise if this is a second forward pass, run for the backward pass, and goes on from the end of the first."""
        if torch.compiler.is_compiling():
            return
        task = torch._C._current_graph_task_id()  # -1 outside a backward pass; as torch.utils.checkpoint asks for it
        if task not in (-1, self._left_in) and bool(self.mem.any()):
            raise PnbxError(
                "leaky: activation checkpointing runs this step again, from the hidden state that the first run left: "
                "its gradients would be wrong. Take init_hidden=False and pass mem through the checkpointed function, "
                "or reset the state inside it (pnbx_snn.neurons.reset)"
            )
        self._left_in = task

    def unlist(self) -> "Leaky":
        """Leave snnTorch's list for good: for a neuron whose state is always passed to it."""
        self._listed = False
        _take_out(self)
        return self

    def __getstate__(self) -> dict[str, Any]:
        # torch refuses to deep-copy a tensor inside a graph, which `mem` is after any training step.
        return {**self.__dict__, "mem": self.mem.detach()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Pickle and copy come through here and not through the constructor: a copy must be found by utils.reset too.
        super().__setstate__(state)
        if "mem" in self._buffers:  # a pickle from the time when it was a buffer
            self._non_persistent_buffers_set.discard("mem")
            self.mem = self._buffers.pop("mem")
        if self._listed:
            _list_weakly(self)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        state_dict.pop(f"{prefix}mem", None)  # early versions of snnTorch saved the state too
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._reset_mechanism = list(self.reset_dict)[int(self.reset_mechanism_val)]


def hooked(module: torch.nn.Module) -> bool:
    """Whether somebody listens to the calls of a module."""
    hooks = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
    return any(hooks)
