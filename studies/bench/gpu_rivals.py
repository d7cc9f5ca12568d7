"""The neurons that ``studies.bench.gpu`` compares: those of the libraries that are installed, each on one device."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

import pnbx_snn

BETA = 0.9
OURS = "PNB-X LIF"
Layer = Callable[[Tensor], Tensor]


def layers(device: str) -> dict[str, Callable[[], Layer]]:
    """Return what makes each library's neuron, a function of currents ``[T, B, N]``; ours is the first."""
    rivals = {"snntorch": ("snnTorch", snntorch_loop), "spikingjelly": ("SpikingJelly", spikingjelly)}
    there = {name: make for package, (name, make) in rivals.items() if find_spec(package) is not None}
    return {name: lambda make=make: make(device) for name, make in {OURS: ours, **there}.items()}  # type: ignore[misc]


def ours(device: str) -> Layer:
    """Return our neuron, reset in its own step."""
    lif = pnbx_snn.LIF(beta=BETA).to(device)
    return lambda x: lif(x)[0]


def snntorch_loop(device: str) -> Layer:
    """Return snnTorch's neuron in the loop of its tutorials, reset one step late."""
    lif = import_module("snntorch").Leaky(beta=BETA).to(device)

    def run(x: Tensor) -> Tensor:
        mem, spikes = torch.zeros_like(x[0]), []
        for step in x.unbind(0):
            spike, mem = lif(step, mem)
            spikes.append(spike)
        return torch.stack(spikes)

    return run


def spikingjelly(device: str) -> Layer:
    """Return SpikingJelly's multi-step neuron, by the kernels it chooses for the device."""
    based = "spikingjelly.activation_based"
    atan = import_module(f"{based}.surrogate").ATan()
    options = {"tau": 1 / (1 - BETA), "decay_input": False, "v_reset": 0.0, "surrogate_function": atan}
    lif = import_module(f"{based}.neuron").LIFNode(**options, step_mode="m").to(device)
    reset = import_module(f"{based}.functional").reset_net

    def run(x: Tensor) -> Tensor:
        reset(lif)
        spikes: Tensor = lif(x)
        return spikes

    return run


def has_spyx(device: str) -> bool:
    """Whether Spyx can be imported and its JAX runs on the device."""
    if find_spec("spyx") is None or find_spec("jax") is None:
        return False
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # or JAX takes three quarters of the memory
    backend: str = import_module("jax").default_backend()
    return backend == {"cuda": "gpu"}.get(device, device)


def spyx(x: Tensor, grad: Tensor, weight: Tensor | None) -> Callable[[], Any]:
    """Return forward and backward of Spyx's neuron, compiled whole by JAX; with a weight, a product before it."""
    jax, nnx, layer = (import_module(name) for name in ("jax", "flax.nnx", "spyx.nn"))
    currents, upstream = (jax.dlpack.from_dlpack(tensor.detach().contiguous()) for tensor in (x, grad))
    lif = layer.LIF((x.shape[2],), beta=BETA, rngs=nnx.Rngs(0))
    start = lif.initial_state(x.shape[1])

    def over_time(currents: Any) -> Any:
        def step(v: Any, current: Any) -> Any:
            spikes, v = lif(current, v)
            return v, spikes

        return jax.lax.scan(step, start, currents)[1]

    def spikes_of(leaf: Any) -> Any:
        return over_time(leaf if weight is None else currents @ leaf.T)

    @jax.jit
    def both(leaf: Any) -> Any:
        spikes, back = jax.vjp(spikes_of, leaf)
        return spikes, back(upstream)

    leaf = currents if weight is None else jax.dlpack.from_dlpack(weight.detach().contiguous())
    return lambda: jax.block_until_ready(both(leaf))
