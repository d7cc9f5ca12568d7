"""The LIF neurons that are compared in training: those of the libraries that are installed, each on one device.

Every rival in the form that was fastest of those tried: snnTorch's ``Leaky`` in the loop of its tutorials over
``unbind``, Norse's ``LIFBoxCell`` in such a loop, SpikingJelly's multi-step ``LIFNode`` by the kernels it chooses for
the device, Spyx compiled whole by JAX. Decay 0.9, threshold 1, reset to zero, on which all agree (snnTorch, and our
replacement of it: its default, by subtraction one step late), surrogate atan (Norse: its own).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

import pnbx_snn
from studies.bench import jax_neurons

BETA = 0.9
Layer = Callable[[Tensor], Tensor]


def snntorch_loop(device: str) -> Layer:
    """Return snnTorch's default neuron, reset one step late."""
    lif = import_module("snntorch").Leaky(beta=BETA).to(device)

    def run(current: Tensor) -> Tensor:
        mem, spikes = torch.zeros_like(current[0]), []
        for step in current.unbind(0):
            spike, mem = lif(step, mem)
            spikes.append(spike)
        return torch.stack(spikes)

    return run


def norse_loop(device: str) -> Layer:
    """Return Norse's box neuron, its input scaled so that the equations are the others'."""
    norse = import_module("norse.torch")
    parameters = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(1 - BETA), v_th=torch.tensor(1.0))
    cell = norse.LIFBoxCell(parameters, dt=1.0).to(device)

    def run(current: Tensor) -> Tensor:
        state, spikes = None, []
        for step in (current / (1 - BETA)).unbind(0):
            z, state = cell(step, state)
            spikes.append(z)
        return torch.stack(spikes)

    return run


def spikingjelly_neuron() -> torch.nn.Module:
    """Return SpikingJelly's neuron for whole sequences; its gradient passes through the reset, as ours does."""
    based = "spikingjelly.activation_based"
    atan = import_module(f"{based}.surrogate").ATan()
    options = {"tau": 1 / (1 - BETA), "decay_input": False, "v_reset": 0.0, "surrogate_function": atan}
    lif: torch.nn.Module = import_module(f"{based}.neuron").LIFNode(**options, step_mode="m")
    return lif


def spikingjelly(device: str) -> Layer:
    """Return SpikingJelly's multi-step neuron."""
    lif = spikingjelly_neuron().to(device)
    reset = import_module("spikingjelly.activation_based.functional").reset_net

    def run(current: Tensor) -> Tensor:
        reset(lif)
        spikes: Tensor = lif(current)
        return spikes

    return run


def pnbx_leaky(device: str) -> Layer:
    """Return our replacement of snnTorch's neuron, reset one step late."""
    lif = pnbx_snn.Leaky(beta=BETA).to(device)
    return lambda current: lif.forward_sequence(current)[0]


def pnbx_lif(device: str) -> Layer:
    """Return our neuron with the reset in its own step."""
    lif = pnbx_snn.LIF(beta=BETA).to(device)
    return lambda current: lif(current)[0]


NEURONS: dict[str, Callable[[str], Layer]] = {
    "PNB-X Leaky": pnbx_leaky,
    "PNB-X LIF": pnbx_lif,
    "snnTorch": snntorch_loop,
    "SpikingJelly": spikingjelly,
    "Norse": norse_loop,
}


def compare(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> str:
    """Say by how much spikes and gradients differ."""
    (spikes, slope), (other, other_slope) = ours, theirs
    error = float((slope - other_slope).abs().max() / other_slope.abs().max())
    return (
        f"{int((spikes != other).sum())} of {spikes.numel():,} spikes differ at "
        f"{100 * float(spikes.mean()):.1f} % activity, gradients by {error:.1e} of the largest"
    )


def has_spyx(device: str) -> bool:
    """Whether Spyx can be imported and its JAX runs on the device."""
    if find_spec("spyx") is None or find_spec("jax") is None:
        return False
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # or JAX takes three quarters of the memory
    backend: str = import_module("jax").default_backend()
    return backend == {"cuda": "gpu"}.get(device, device)


def spyx(x: Tensor, grad: Tensor, weight: Tensor | None) -> Callable[[], Any]:
    """Return forward and backward of Spyx's neuron, compiled whole by JAX; with a weight, a product before it."""
    jax = import_module("jax")
    tensors = (x, grad) if weight is None else (x, grad, weight)
    arrays = [jax.dlpack.from_dlpack(tensor.detach().contiguous()) for tensor in tensors]
    return jax_neurons.both(jax_neurons.spyx(x.shape[2]), *arrays)
