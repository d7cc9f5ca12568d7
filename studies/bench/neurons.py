"""LIF neurons in training: whole sequences, forward and backward, against the loops of other libraries."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from pnbx_snn.layers.bitlinear import BitLinear
from studies.bench.compiled_rivals import COMPILED, compiled_layers, first_call
from studies.bench.jax_rivals import Others, jax_rivals
from studies.bench.lif_rivals import NEURONS, Layer, compare
from studies.bench.limits import least, vector_bits
from studies.bench.timing import Limit, Row, interleave

ACTIVITY = 0.2
PRODUCTS = "the two products alone, fp32"
OURS = ("PNB-X Leaky", "PNB-X LIF")
COMPARED = {"PNB-X Leaky": ("snnTorch",), "PNB-X LIF": ("SpikingJelly", "jaxpike", *COMPILED)}
"""Which rivals have the equations of which of ours."""


def trained(layer: Layer, x: Tensor, grad: Tensor) -> Callable[[], None]:
    """Return one forward and backward pass of a layer."""

    def run() -> None:
        x.grad = None
        layer(x).backward(grad)

    return run


def currents(T: int, B: int, N: int) -> Tensor:
    """Return currents at which about a tenth of the neurons fires in a step."""
    return 0.3 * torch.randn(T, B, N, generator=torch.Generator().manual_seed(0)) + 0.1


def neuron_limit(T: int, B: int, N: int) -> Limit | None:
    """Return the least time of a pass: read the current, write spikes; read current and gradient, write its own.

    In memory, whatever their size: the rivals take turns, and leave nothing in a cache.
    """
    size = 4.0 * T * B * N
    return least(torch.get_num_threads(), copied=4 * size, read=size, held=math.inf)


def linear_limit(T: int, B: int, N: int, *, forward_only: bool) -> Limit | None:
    """Return the least time of ternary products of events, exact, before that of the neurons.

    Forward, each active input adds two bits for each output to counters: a full adder each, of two instructions for all
    bits of a register. Backward, the gradient of its weights adds a number for each output. Spikes are read once more,
    and the gradient of the currents.
    """
    size, threads, active = 4.0 * T * B * N, torch.get_num_threads(), ACTIVITY * T * B * N
    issued = {"vpternlogq": 4 * active * N / vector_bits()}
    if forward_only:
        return least(threads, copied=2 * size, read=size, held=math.inf, issued=issued)
    issued["vaddps"] = active * N / (vector_bits() / 32)
    return least(threads, copied=4 * size, read=3 * size, held=math.inf, issued=issued)


def neuron_row(T: int, B: int, N: int, seconds: float, *, compiled: bool = True) -> Row:
    """Measure neurons alone: gradients of the current. Compiled rivals take half a minute each at first."""
    x = currents(T, B, N).requires_grad_()
    grad = torch.randn(T, B, N, generator=torch.Generator().manual_seed(1))
    layers = {name: make("cpu") for name, make in NEURONS.items()}
    row = Row("training", f"LIF ({T}, {B}, {N})", OURS)
    if compiled:
        layers |= compiled_layers()
    cases = {name: trained(layer, x, grad) for name, layer in layers.items()}
    row.checks += [first_call(name, cases[name]) for name in COMPILED if name in cases]
    results = {name: _result(layer, x, grad) for name, layer in layers.items()}
    with _jax(x, grad, compiled=compiled) as others:
        results |= others.results
        row.checks += others.checks
        for ours, theirs in COMPARED.items():
            row.checks += [
                f"{ours} against {name}: {compare(results[ours], results[name])}" for name in theirs if name in results
            ]
        row.times = interleave(cases | others.cases, seconds=seconds, clock=others.clock)
    row.limit = neuron_limit(T, B, N)
    return row


def _jax(x: Tensor, grad: Tensor, weight: Tensor | None = None, *, compiled: bool) -> AbstractContextManager[Others]:
    return jax_rivals(x, grad, weight) if compiled else nullcontext(Others(time.perf_counter))


def _result(layer: Layer, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    x.grad = None
    spikes = layer(x)
    spikes.backward(grad)
    assert x.grad is not None
    return spikes.detach(), x.grad.clone()


def linear_row(T: int, B: int, N: int, seconds: float, *, forward_only: bool = False, compiled: bool = True) -> Row:
    """Measure a linear layer and neurons on spikes: gradients of the weights."""
    x = (torch.rand(T, B, N, generator=torch.Generator().manual_seed(0)) < ACTIVITY).float()
    grad = torch.randn(T, B, N, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    dense = nn.Linear(N, N, bias=False)
    dense.weight.data.mul_(3.0)
    ternary = BitLinear(N, N)
    ternary.load_state_dict({"weight": dense.weight.data, "input_scale": ternary.input_scale})
    cases: dict[str, Callable[[], None]] = {}
    for name, make in NEURONS.items():
        kinds = {"BitLinear": ternary, "Linear": dense} if name == "PNB-X LIF" else {"Linear": dense}
        for kind, linear in kinds.items():
            if name == "PNB-X Leaky":
                continue
            layer = make("cpu")
            label = f"{name}, {kind}" if name in OURS else name
            cases[label] = _layer_case(linear, layer, x, grad, forward_only)
    compiled = compiled and not forward_only
    if compiled:
        cases |= {name: _layer_case(dense, layer, x, grad, False) for name, layer in compiled_layers().items()}
    if not forward_only:
        cases[PRODUCTS] = _products(dense.weight.detach(), x, grad)
    work = f"Linear + LIF ({T}, {B}, {N})" + (", forward" if forward_only else "")
    row = Row("training", work, ("PNB-X LIF, BitLinear", "PNB-X LIF, Linear"), bounds=(PRODUCTS,))
    with _jax(x, grad, dense.weight, compiled=compiled) as others:
        row.checks += others.checks
        row.times = interleave(cases | others.cases, seconds=seconds, clock=others.clock)
    row.limit = linear_limit(T, B, N, forward_only=forward_only)
    return row


def _layer_case(linear: nn.Module, layer: Layer, x: Tensor, grad: Tensor, forward_only: bool) -> Callable[[], None]:
    def forward() -> None:
        with torch.no_grad():
            layer(linear(x))

    def both() -> None:
        linear.zero_grad()
        layer(linear(x)).backward(grad)

    return forward if forward_only else both


def _products(weight: Tensor, x: Tensor, grad: Tensor) -> Callable[[], None]:
    rows, grads = x.flatten(0, 1), grad.flatten(0, 1)

    def run() -> None:
        torch.mm(rows, weight.T)
        torch.mm(grads.T, rows)

    return run


def rows(seconds: float, *, quick: bool) -> list[Row]:
    """Measure the neuron rows of the training table."""
    measured = [neuron_row(100, 32, 512, seconds, compiled=not quick)]
    measured.append(linear_row(100, 32, 512, seconds, compiled=not quick))
    if not quick:
        measured += [
            neuron_row(500, 16, 512, seconds),
            linear_row(500, 16, 512, seconds),
            linear_row(100, 128, 2048, seconds, forward_only=True),
        ]
    return measured
