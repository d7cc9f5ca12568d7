"""LIF neurons over a whole sequence as one operator of torch, run by a compiled kernel."""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from pnbx_snn.checks import transformed
from pnbx_snn.errors import PnbxError
from pnbx_snn.kernels.dispatch import has_kernels, kernels
from pnbx_snn.kernels.operators import operator
from pnbx_snn.surrogate import SpikeFunction, Surrogate

Step = Literal["leaky", "delayed", "lif_box", "membrane", "graded_3", "graded_4"]


class Scan(NamedTuple):
    """What :func:`lif_scan` returns: spikes and, if asked for, membranes ``[T, ...]``; the last membrane ``[...]``."""

    spikes: Tensor
    v: Tensor
    membranes: Tensor | None


def usable(
    current: Tensor, decay: Tensor, threshold: Tensor, v: Tensor, spike_grad: SpikeFunction, together: int = 1
) -> bool:
    """Whether :func:`lif_scan` can run this: kernels for the device, float32 or float64 throughout, a known formula.

    Not under ``torch.func``: there the caller's loop is what can be transformed. ``together`` neurons need each other
    in every step; a GPU has room for so many. Scalars may have either dtype, as in torch's own operations; the caller
    widens currents in half precision, see :func:`pnbx_snn.checks.wide`.
    """
    return (
        not transformed()
        and current.dtype in (torch.float32, torch.float64)
        and v.dtype == current.dtype
        and v.device == current.device
        and all(_fits(parameter, current) for parameter in (decay, threshold))
        and _formula(spike_grad) is not None
        and has_kernels("lif", current.device.type, together)
    )


def lif_scan(
    current: Tensor,
    decay: Tensor,
    threshold: Tensor,
    v: Tensor,
    *,
    step: Step,
    reset: str,
    spike_grad: SpikeFunction,
    traced: bool = False,
    z: Tensor | None = None,
    torus: tuple[int, int, int] = (0, 0, 0),
) -> Scan:
    r"""Run LIF neurons over all steps, forward and backward in one pass each.

    The equations of a step stand in :class:`~pnbx_snn.neurons.lif.LIF` (``"leaky"``, ``"lif_box"``),
    :class:`~pnbx_snn.neurons.leaky.Leaky` (``"delayed"``: ``reset_delay=True``) and
    :func:`~pnbx_snn.neurons.membrane.membrane_scan`.

    Parameters
    ----------
    current : Tensor, ``[T, ...]``
        Input. A sequence whose steps are one in memory (stride 0) is read as such.
    decay, threshold : Tensor
        :math:`\beta`, or :math:`1 - \beta` for ``"lif_box"``, and the threshold; they can be expanded to ``[...]``.
    v : Tensor, ``[...]``
        Membrane before the first step.
    step, reset : str
        Whose step, and what a spike does to the membrane: ``"zero"``, ``"subtract"`` or ``"none"``.
    spike_grad : callable
        One for which :func:`usable` answers True.
    traced : bool
        Return the membrane after every step too.
    z : Tensor, ``[B, N]``, optional
        Spikes before the first step, where there is a torus.
    torus : tuple
        Rows, columns and kappa's shift of the messages of the ``"membrane"`` step; zeros: no messages.

    Raises
    ------
    PnbxError
        In the backward pass, if it is asked for with ``create_graph=True``.

    Notes
    -----
    Spikes and membranes are bit for bit those of the loop: the same operations in the same order, none fused to a
    multiply-add. NaN is never above a threshold: such a neuron is silent from then on and stays NaN; infinities go
    as in the loop. Gradients differ from the loop's in the order of sums (parameters: over steps and samples).

    Saved for the backward pass: ``current`` itself and the membrane of every fourth step, with messages membranes and
    spikes of every eighth (on a GPU the membrane of every eighth; with messages the potential of every step, and no
    ``current``).

    Examples
    --------
    >>> import functools
    >>> half, one = torch.tensor(0.5), torch.tensor(1.0)
    >>> run = functools.partial(lif_scan, step="leaky", reset="zero", spike_grad=Surrogate("atan"))
    >>> spikes, v, _ = run(torch.full((4, 1, 1), 0.75), half, one, torch.zeros(1, 1))
    >>> spikes.flatten().tolist(), v.item()
    ([0.0, 1.0, 0.0, 1.0], 0.0)
    """
    formula = _formula(spike_grad)
    assert formula is not None
    surrogate, *slope = formula
    run: Any = torch.ops.pnbx.lif_forward if _is_watched(current) else _Eager.apply
    spikes, v, membranes, _ = run(current, decay, threshold, v, z, f"{step}/{reset}/{surrogate}", slope, torus, traced)
    return Scan(spikes, v, membranes if traced else None)


# One string and two lists in place of nine numbers and names: torch takes time for every argument.
_OPTIONS = "str kind, float[] slope, int[] torus"


@operator(
    "pnbx::lif_forward",
    f"(Tensor current, Tensor decay, Tensor threshold, Tensor v, Tensor? z, {_OPTIONS}, bool traced)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
)
def _forward(current, decay, threshold, v, z, kind, slope, torus, traced):  # type: ignore[no-untyped-def]
    return _kernels(current).run_forward(current, decay, threshold, v, z, kind, torus, traced)


@torch.library.register_fake("pnbx::lif_forward")
def _(current, decay, threshold, v, z, kind, slope, torus, traced):  # type: ignore[no-untyped-def]
    spikes = torch.empty_like(current, memory_format=torch.contiguous_format)
    kept = _kernels(current).num_kept(current.shape[0], v.numel(), torus)
    return spikes, v.new_empty(v.shape), torch.empty_like(spikes) if traced else v.new_empty(0), v.new_empty(kept)


@operator(
    "pnbx::lif_backward",
    "(Tensor current, Tensor decay, Tensor threshold, Tensor kept, Tensor? grad_spikes, Tensor? grad_v,"
    f" Tensor? grad_membranes, {_OPTIONS}, bool learned) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _backward(current, decay, threshold, kept, gs, gv, gm, kind, slope, torus, learned):  # type: ignore[no-untyped-def]
    return _kernels(current).run_backward(current, decay, threshold, kept, gs, gv, gm, kind, slope, torus, learned)


@torch.library.register_fake("pnbx::lif_backward")
def _(current, decay, threshold, kept, gs, gv, gm, kind, slope, torus, learned):  # type: ignore[no-untyped-def]
    of_current = torch.empty_like(current, memory_format=torch.contiguous_format)
    of_v, of_z = (current.new_empty(current.shape[1:]) for _ in range(2))
    return of_current, decay.new_empty(decay.shape), threshold.new_empty(threshold.shape), of_v, of_z


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    current, decay, threshold, _, z, *options, traced = inputs
    ctx.options, ctx.traced, ctx.has_z = options, traced, z is not None
    current = _kernels(current).saved(current, output[3], options[-1])
    ctx.save_for_backward(current, decay, threshold, output[3])
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[3])


def _gradients(ctx: Any, gs: Tensor | None, gv: Tensor | None, gm: Tensor | None, _: None) -> tuple[Any, ...]:
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # only under create_graph=True
        raise PnbxError(
            "lif: gradients of gradients are not offered over whole sequences, got create_graph=True; go step by step"
        )
    learned = any(ctx.needs_input_grad[1:3])
    gm = gm if ctx.traced else None
    current, *others = ctx.saved_tensors  # once: checkpointing runs the forward pass for it
    run = torch.ops.pnbx.lif_backward if _is_watched(current) else _kernels(current).run_backward
    gradients = run(current, *others, gs, gv, gm, *ctx.options, learned)
    *of_tensors, of_z = gradients
    return *of_tensors, of_z if ctx.has_z else None, None, None, None, None


torch.library.register_autograd("pnbx::lif_forward", _gradients, setup_context=_setup)


class _Eager(torch.autograd.Function):
    """The operator where nobody looks at operators: torch takes 50 us less for a pass."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:
        current, decay, threshold, v, z, kind, _, torus, traced = inputs
        output: tuple[Tensor, ...] = _kernels(current).run_forward(current, decay, threshold, v, z, kind, torus, traced)
        _setup(ctx, inputs, output)
        return output

    backward = staticmethod(_gradients)


def _is_watched(tensor: Tensor) -> bool:
    """Whether torch compiles or exports what runs now, or a mode, or a tensor of its own kind, looks at operators."""
    plain = type(tensor) in (Tensor, torch.nn.Parameter)
    return not plain or torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0


def _fits(parameter: Tensor, current: Tensor) -> bool:
    """Whether a parameter broadcasts to a step of the input without changing its shape, dtype or device."""
    shape, wanted = parameter.shape, current.shape[1:]
    same = parameter.ndim == 0 or parameter.dtype == current.dtype
    if not same or parameter.device != current.device or len(shape) > len(wanted):
        return False
    return all(n in (1, m) for n, m in zip(reversed(shape), reversed(wanted), strict=False))


_DEFAULT_ORDER = {
    "atan": ("alpha",), "fast_sigmoid": ("slope",), "sigmoid": ("slope",), "straight_through_estimator": (),
    "triangular": ("threshold",), "heaviside": (), "spike_rate_escape": ("slope", "beta"),
    "sparse_fast_sigmoid": ("slope", "B"),
}  # fmt: skip


def _formula(spike_grad: SpikeFunction) -> tuple[str, float, float] | None:
    """Name a surrogate's formula in the kernels, with its two numbers; None if there is none."""
    if not isinstance(spike_grad, Surrogate):
        return None
    if spike_grad.name == "super":
        return "fast_sigmoid", 1.0, 0.0
    if spike_grad.name not in _DEFAULT_ORDER:
        return None
    values = [spike_grad.params[name] for name in _DEFAULT_ORDER[spike_grad.name]]
    if not all(isinstance(value, int | float) for value in values):
        return None
    if spike_grad.name == "atan":
        return "atan", values[0] / 2, torch.pi / 2 * values[0]
    first, second, *_ = (*map(float, values), 0.0, 0.0)
    return spike_grad.name, first, second


def _kernels(current: Tensor) -> Any:
    return kernels("lif", current.device.type)
