"""One module of snnTorch, Norse, torch or ``pnbx_snn`` to NIR nodes, with what NIR has no field for as metadata.

NIR is continuous in time; a step of ``dt`` seconds is Euler's, so that a decay per step of ``beta`` is a time constant
``tau = dt / (1 - beta)``, and snnTorch's input weight of 1 a resistance ``r = 1 / (1 - beta)``. A neuron's ``metadata``
hold ``reset_mechanism`` (``"zero"``, ``"subtract"``, ``"none"``), ``reset_delay`` and ``primitive``: whose step it is.
snnTorch's late reset to zero is two things: ``Leaky`` forgets its membrane before the step, all other neurons also lose
the input of that step. The second is ``"zero_with_input"``, a name that no tool takes for the first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import snntorch
import torch
from torch import Tensor, nn

import pnbx_snn
from neuromorphic.compiler.folding import to_numpy
from neuromorphic.compiler.modules.layers import POOLS, layer_node
from neuromorphic.compiler.nir.neurons import WITH_INPUT, leak_of, lif_node, reset_metadata
from neuromorphic.compiler.weight_integers import Float64
from neuromorphic.errors import CompileError
from neuromorphic.formats.nir import nir_package
from pnbx_snn.layers.bitconv import BitConv2d
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.layers.delays import Delays
from pnbx_snn.neurons.leaky import Leaky
from pnbx_snn.neurons.shift_lif import ShiftLIF, ShiftLIFCell

TRANSPARENT = (nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
SOFTMAXES = (nn.Softmax, nn.LogSoftmax)
"""Modules that are followed like the functions they call, which only a network's end may use."""
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, *POOLS, BitConv2d, BitLinear)
SNNTORCH = (snntorch.Leaky, Leaky, snntorch.RLeaky, snntorch.Synaptic, snntorch.RSynaptic, snntorch.Lapicque)
SHIFTING = (ShiftLIF, ShiftLIFCell)
OWN_SEQUENCES = (pnbx_snn.LIF, ShiftLIF, Delays)
"""Modules of ``pnbx_snn`` that take all their steps in one call."""
NORSE_CELLS = (
    "LIFBoxCell", "LIFCell", "LICell", "LIBoxCell", "LILinearCell", "LIFRecurrentCell", "IAFCell", "LSNNCell",
    "LSNNRecurrentCell",
)  # fmt: skip
NORSE_SEQUENCES = ("LIF", "LI", "LIFRecurrent", "IAF", "LSNN", "LSNNRecurrent")
NORSE_CONTAINERS = ("SequentialState", "RecurrentSequential", "Lift")

_NEAREST = {
    "Alpha": "Synaptic (a spike of Alpha resets two currents, which no operation does)",
    "StateLeaky": "Leaky(reset_mechanism='none')",
    "LinearLeaky": "nn.Linear and Leaky(reset_mechanism='none')",
    "LeakyParallel": "RLeaky",
    "AssociativeLeaky": "pnbx_snn.FastWeights in a PNBX network",
    "DeltaLeaky": "Leaky",
    "SLSTM": "RSynaptic",
    "SConv2dLSTM": "RSynaptic with conv2d_channels",
    "AdaptiveMaxPool2d": "nn.MaxPool2d with a kernel size",
    "LPPool2d": "nn.AvgPool2d",
    "LayerNorm": "nn.BatchNorm1d, which folds into the layer before it",
    "GroupNorm": "nn.BatchNorm2d, which folds into the layer before it",
    "RMSNorm": "nn.BatchNorm1d, which folds into the layer before it",
    "ReLU": "a spiking neuron",
    "RNN": "snntorch.RLeaky",
    "LSTM": "snntorch.RSynaptic",
    "GRU": "snntorch.RSynaptic",
    "ConvTranspose2d": "nn.Conv2d",
    "LIFAdExCell": "LIFCell",
    "LIFRefracCell": "LIFCell",
}
_KNOWN = (
    "nn.Linear, Conv1d, Conv2d, AvgPool2d, AdaptiveAvgPool2d, MaxPool2d, BatchNorm1d, BatchNorm2d, Flatten, Dropout, "
    "Identity; snntorch Leaky, RLeaky, Synaptic, RSynaptic, Lapicque; norse LIFBoxCell, LIFCell, LIF, LICell, LI, "
    "LIBoxCell, LILinearCell, IAFCell, IAF, LIFRecurrentCell, LIFRecurrent, LSNNCell, LSNN, LSNNRecurrentCell, "
    "LSNNRecurrent; pnbx_snn LIF, Leaky, ShiftLIF, BitLinear, BitConv2d, Delays"
)


@dataclass
class Nodes:
    """NIR nodes of one module: current enters at ``entry``, spikes leave at ``exit``."""

    entry: str
    exit: str
    nodes: dict[str, Any]
    edges: list[tuple[str, str]] = field(default_factory=list)


def is_norse(module: nn.Module, names: tuple[str, ...]) -> bool:
    """Return whether a module is one of these classes of Norse, without importing Norse."""
    kind = type(module)
    return kind.__module__.startswith("norse.") and kind.__name__ in names


def is_leaf(module: nn.Module) -> bool:
    """Return whether a module becomes nodes of its own."""
    if isinstance(module, (*LAYERS, *NORMS, *SNNTORCH, *SHIFTING, *OWN_SEQUENCES)):
        return True
    return is_norse(module, NORSE_CELLS + NORSE_SEQUENCES) or (
        not isinstance(module, (*TRANSPARENT, *SOFTMAXES))
        and not is_norse(module, NORSE_CONTAINERS)
        and (
            isinstance(module, snntorch.SpikingNeuron) or type(module).__name__ in _NEAREST or not [*module.children()]
        )
    )


def is_spiking(module: nn.Module) -> bool:
    """Return whether a module gives spikes, 0 or 1."""
    spiking = tuple(name for name in NORSE_CELLS + NORSE_SEQUENCES if name.startswith(("LIF", "IAF")))
    return isinstance(module, (*SNNTORCH, pnbx_snn.LIF)) or is_norse(module, spiking)


def plain_type(module: nn.Module) -> type[nn.Module]:
    """Return the class of a module; of one with parametrizations (weight_norm, spectral_norm), that beneath them."""
    kind = type(module)
    return kind.__mro__[1] if torch.nn.utils.parametrize.is_parametrized(module) else kind


def features_of(where: str, module: nn.Module, tensor: Tensor) -> tuple[int, ...]:
    """Return the shape of an input of a module without its axes of time and batch."""
    if isinstance(module, nn.Linear | BitLinear):
        axes = 1
    elif isinstance(module, (nn.Conv2d, BitConv2d, *POOLS)):
        axes = 3
    elif isinstance(module, nn.Conv1d):
        axes = 2
    else:
        axes = tensor.ndim - (2 if isinstance(module, OWN_SEQUENCES) or is_norse(module, NORSE_SEQUENCES) else 1)
    if axes < 1 or tensor.ndim <= axes:
        raise CompileError(f"{where}: is called with shape {list(tensor.shape)}; give the sample an axis for the batch")
    return tuple(tensor.shape[-axes:])


def refuse_unless_supported(where: str, module: nn.Module) -> None:
    """Raise where a module's options change what NIR and a program mean."""
    kind = plain_type(module)
    name = kind.__name__
    exact = kind in (*LAYERS, *NORMS, *SNNTORCH, *SHIFTING, *OWN_SEQUENCES)
    if patched := sorted(key for key in vars(module) if callable(getattr(kind, key, None))):
        raise CompileError(f"{where}: its {patched[0]} was replaced on the object; write a class of its own instead")
    if isinstance(module, snntorch.SpikingNeuron) and not exact:
        nearest = _NEAREST.get(name, "the class it is made from")
        raise CompileError(
            f"{where}: snntorch-style neuron {name} cannot be exported; the nearest that can is {nearest}"
        )
    if isinstance(module, SNNTORCH):
        _check_snntorch(where, module)
    elif is_norse(module, NORSE_CELLS + NORSE_SEQUENCES):
        parameters: Any = module.p
        if getattr(parameters, "method", "super") == "adjoint":
            raise CompileError(f"{where}: method='adjoint' has a step of its own; use method='super'")
        if "adjoint" in getattr(getattr(module, "activation", None), "__name__", ""):
            raise CompileError(f"{where}: adjoint=True has a step of its own; use adjoint=False")
    elif not exact:
        nearest = f"; the nearest that can is {_NEAREST[name]}" if name in _NEAREST else ""
        raise CompileError(f"{where}: {name} cannot be exported{nearest}. Known are {_KNOWN}")


def _check_snntorch(where: str, neuron: Any) -> None:
    name = type(neuron).__name__
    if neuron.inhibition:
        raise CompileError(
            f"{where}: inhibition=True lets one neuron of a layer fire, which NIR and programs cannot; use "
            "inhibition=False and inhibitory weights (RLeaky)"
        )
    if bool((torch.as_tensor(neuron.graded_spikes_factor) != 1.0).any()):
        raise CompileError(
            f"{where}: graded_spikes_factor is not 1; multiply the weights of the layer after it by it and use 1"
        )
    if neuron.state_quant:
        raise CompileError(
            f"{where}: state_quant rounds the membrane; leave it out: a program counts it in 24 bits of its own"
        )
    rule = {"_base_sub": 0, "_base_zero": 1, "_base_int": 2}[neuron.state_function.__name__]
    if rule != int(neuron.reset_mechanism_val):
        raise CompileError(
            f"{where}: reset_mechanism was changed after construction, which snnTorch follows by half; "
            f"make a new {name}"
        )
    if isinstance(neuron, snntorch.RSynaptic) and not neuron.reset_delay:
        raise CompileError(f"{where}: snnTorch 1.0 cannot run RSynaptic(reset_delay=False); use reset_delay=True")


def _per_neuron(value: Any, features: tuple[int, ...], where: str, what: str) -> Float64:
    """Return a scalar or per-neuron parameter for every neuron, ``features``."""
    array = to_numpy(value) if isinstance(value, Tensor) else np.asarray(value, dtype=np.float64)
    try:
        values: Float64 = np.broadcast_to(array, (1, *features))[0].copy()
    except ValueError as error:
        raise CompileError(f"{where}: {what} of shape {list(array.shape)} does not fit {list(features)}") from error
    if not np.isfinite(values).all():
        raise CompileError(f"{where}: {what} holds NaN or infinity")
    return values


def neuron_nodes(name: str, where: str, module: nn.Module, features: tuple[int, ...], dt: float) -> Nodes:
    """Return the nodes of a module with a state, a recurrent neuron's weights with it."""
    if isinstance(module, SNNTORCH):
        return _snntorch(name, where, module, features, dt)
    if isinstance(module, Delays):  # the network is in evaluation mode, where lengths are rounded
        return Nodes(name, name, {name: nir_package().Delay(delay=to_numpy(module.steps) * dt)})
    if isinstance(module, pnbx_snn.LIF):
        if module.levels > 2:
            raise CompileError(
                f"{where}: no node of NIR gives graded events, got levels={module.levels}; networks of pnbx_snn with "
                "them, such as a SpikingClassifier, compile"
            )
        beta = np.clip(_per_neuron(module.beta, features, where, "beta"), 0.0, 1.0)
        gain = 1.0 - beta if module.primitive == "lif_box" else 1.0
        theta = _per_neuron(module.threshold, features, where, "threshold")
        metadata = reset_metadata(module.reset, module.primitive)
        return Nodes(name, name, {name: lif_node(beta, theta, dt, metadata, gain=gain)})
    if isinstance(module, SHIFTING):
        raise CompileError(f"{where}: no node of NIR leaks by a shift")
    return _norse(name, where, module, features, dt)


def _snntorch(name: str, where: str, neuron: Any, features: tuple[int, ...], dt: float) -> Nodes:
    nir = nir_package()
    beta = np.clip(_per_neuron(neuron.beta, features, where, "beta"), 0.0, 1.0)
    theta = _per_neuron(neuron.threshold, features, where, "threshold")
    mechanism = neuron.reset_mechanism
    late = bool(getattr(neuron, "reset_delay", True)) and mechanism != "none"
    if late and mechanism == "zero" and not isinstance(neuron, snntorch.Leaky):
        mechanism = WITH_INPUT
    metadata = reset_metadata(mechanism, "leaky", late=late)
    if isinstance(neuron, snntorch.Synaptic | snntorch.RSynaptic):
        alpha = np.clip(_per_neuron(neuron.alpha, features, where, "alpha"), 0.0, 1.0)
        leak, fade = leak_of(beta), leak_of(alpha)
        zero = np.zeros(features)
        shared = {"v_leak": zero, "v_threshold": theta, "v_reset": zero, "metadata": metadata}
        node = nir.CubaLIF(tau_syn=dt / fade, tau_mem=dt / leak, r=1.0 / leak, w_in=1.0 / fade, **shared)
    elif isinstance(neuron, snntorch.Lapicque):
        leak, gain = (  # its beta is not used in a step
            _per_neuron(value, features, where, what)
            for value, what in ((neuron.time_step / (neuron.R * neuron.C), "R * C"), (neuron.time_step / neuron.C, "C"))
        )
        if not ((leak >= 0) & (leak <= 1)).all():
            raise CompileError(
                f"{where}: R * C must be time_step or longer, else its decay 1 - time_step / (R * C) is below 0, got "
                f"{1 - leak.max():.4g}"
            )
        node = lif_node(1.0 - leak, theta, dt, metadata, gain=gain)
    else:
        node = lif_node(beta, theta, dt, metadata)
    made = Nodes(name, name, {name: node})
    if isinstance(neuron, snntorch.RLeaky | snntorch.RSynaptic):
        back = f"{name}_recurrent"
        if isinstance(neuron.recurrent, nn.Linear | nn.Conv2d):
            made.nodes[back] = layer_node(f"{where}.recurrent", neuron.recurrent, features)
        else:
            made.nodes[back] = nir.Scale(scale=_per_neuron(neuron.recurrent.V, features, where, "V"))
        made.edges = [(name, back), (back, name)]
    return made


def _rate(where: str, what: str, dt: float, inverse: Any, features: tuple[int, ...]) -> Float64:
    """Return ``dt * tau_inv`` as Norse computes it, in (0, 1]."""
    rate = _per_neuron(dt * inverse, features, where, what)
    if not ((rate > 0) & (rate <= 1)).all():
        raise CompileError(f"{where}: dt * {what} must be in (0, 1], got {rate.min():.4g} .. {rate.max():.4g}")
    return rate


def _norse(name: str, where: str, cell: Any, features: tuple[int, ...], dt: float) -> Nodes:
    nir = nir_package()
    p = cell.p
    if hasattr(cell, "input_weights"):
        features = (*features[:-1], int(cell.hidden_size))
    if is_norse(cell, ("IAFCell", "IAF")):  # v + I, without dt; potentials are counted from v_reset, where it starts
        start = _per_neuron(p.v_reset, features, where, "v_reset")
        theta = _per_neuron(p.v_th, features, where, "v_th") - start
        return Nodes(name, name, {name: lif_node(np.ones(features), theta, dt, reset_metadata("zero", "lif_box"))})
    leak = _per_neuron(p.v_leak, features, where, "v_leak")
    mem = _rate(where, "tau_mem_inv", cell.dt, p.tau_mem_inv, features)
    shared: dict[str, Any] = {"r": np.ones(features), "v_leak": np.zeros(features)}
    spiking = type(cell).__name__.startswith(("LIF", "LSNN"))
    if spiking:  # potentials are counted from the leak potential, where Norse starts
        reset, v_reset = "zero", _per_neuron(p.v_reset, features, where, "v_reset") - leak
        method = getattr(p, "reset_method", None)
        if method is not None and method.__name__ == "reset_subtract":
            reset, v_reset = "subtract", np.zeros(features)
            if leak.any():
                raise CompileError(
                    f"{where}: reset_subtract takes v_th off a membrane that rests at v_leak, got v_leak "
                    f"{leak.max():.4g}; programs subtract what lies between the two: use v_leak = 0, or reset_value"
                )
        elif method is not None and method.__name__ != "reset_value":
            raise CompileError(
                f"{where}: reset_method {method.__name__} is not known; use reset_value or reset_subtract"
            )
        theta = _per_neuron(p.v_th, features, where, "v_th") - leak
        shared |= {"v_threshold": theta, "v_reset": v_reset, "metadata": reset_metadata(reset, "lif_box")}
        if hasattr(p, "tau_adapt_inv"):  # LSNN, whose membrane sees the synaptic current before the input of the step
            jump = _per_neuron(p.beta, features, where, "beta")
            if (jump < 0).any():
                raise CompileError(f"{where}: beta must not be negative, got {jump.min():.4g}: thresholds rise")
            tau = dt / _rate(where, "tau_adapt_inv", cell.dt, p.tau_adapt_inv, features)
            shared["metadata"] |= {"adaptation_tau": tau, "adaptation_jump": jump, "input_step": "previous"}
    elif leak.any():
        raise CompileError(f"{where}: v_leak of an integrator must be 0, where a program starts, got {leak.max():.4g}")
    node: Any
    if is_norse(cell, ("LIFBoxCell", "LIBoxCell")):
        node = (nir.LIF if spiking else nir.LI)(tau=dt / mem, **shared)
    else:
        syn = _rate(where, "tau_syn_inv", cell.dt, p.tau_syn_inv, features)
        kind = nir.CubaLIF if spiking else nir.CubaLI
        node = kind(tau_syn=dt / syn, tau_mem=dt / mem, w_in=1.0 / syn, **shared)
    made = Nodes(name, name, {name: node})
    if hasattr(cell, "input_weights"):
        made.entry = f"{name}_input"
        made.nodes = {made.entry: nir.Linear(weight=to_numpy(cell.input_weights)), name: node}
        made.edges = [(made.entry, name)]
    if hasattr(cell, "recurrent_weights"):
        back = f"{name}_recurrent"
        made.nodes[back] = nir.Linear(weight=to_numpy(cell.recurrent_weights))
        made.edges += [(name, back), (back, name)]
    return made
