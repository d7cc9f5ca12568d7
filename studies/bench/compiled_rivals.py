"""LIF neurons under ``torch.compile``: the plain loop, and SpikingJelly's.

The compiler writes the loop over time out, so sequences run in pieces of 20 steps: longer ones were no faster, and took
up to minutes to compile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from studies.bench.lif_rivals import BETA, Layer, spikingjelly_neuron

STEPS = 20
Carry = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, over: Tensor) -> Tensor:
        ctx.save_for_backward(over)
        return (over > 0).to(over.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (over,) = ctx.saved_tensors
        return grad / (1 + (torch.pi * over) ** 2)


def _loop(current: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    spikes = []
    for step in current.unbind(0):
        v = BETA * v + step
        spike = _Spike.apply(v - 1.0)
        v = v * (1 - spike)
        spikes.append(spike)
    return torch.stack(spikes), v


def _in_pieces(compiled: Carry) -> Layer:
    def run(current: Tensor) -> Tensor:
        v, spikes = torch.zeros_like(current[0], requires_grad=current.requires_grad), []  # or two are compiled
        for piece in current.split(STEPS):
            spike, v = compiled(piece, v)
            spikes.append(spike)
        return spikes[0] if len(spikes) == 1 else torch.cat(spikes)

    return run


def plain_loop() -> Layer:
    """Return the loop that the equations are, compiled."""
    return _in_pieces(torch.compile(_loop, dynamic=False))


def spikingjelly() -> Layer:
    """Return SpikingJelly's multi-step function with its own surrogate, compiled: its fastest form on a CPU."""
    functional = import_module("spikingjelly.activation_based.functional")
    lif = spikingjelly_neuron()
    given = (lif.tau, lif.decay_input, lif.v_threshold, lif.v_reset, lif.surrogate_function)
    return _in_pieces(torch.compile(lambda x, v: functional.lif_multi_step(x, v, *given)[:2], dynamic=False))


COMPILED: dict[str, Callable[[], Layer]] = {
    "plain loop, torch.compile": plain_loop,
    "SpikingJelly, torch.compile": spikingjelly,
}


def compiled_layers() -> dict[str, Layer]:
    """Return the compiled rivals; nothing is taken from the compiler's cache, so that first calls are first calls."""
    torch.compiler.config.force_disable_caches = True
    return {name: make() for name, make in COMPILED.items()}


def first_call(name: str, run: Callable[[], Any]) -> str:
    """Run once, and say how long the compiler took."""
    started = time.perf_counter()
    run()
    return f"{name}: first call {time.perf_counter() - started:.1f} s"
