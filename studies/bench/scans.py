"""The diagonal linear recurrence of state-space models, forward and backward, against other forms of it in torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pnbx_snn.kernels.scan import diagonal_scan
from studies.bench import limits
from studies.bench.timing import Row, interleave


def loop(decay: Tensor, inputs: Tensor) -> Tensor:
    """Step by step, in the form whose backward pass is linear in T."""
    state, states = torch.zeros_like(inputs[0]), []
    for x in inputs.unbind(0):
        state = torch.addcmul(x, decay, state)
        states.append(state)
    return torch.stack(states)


def doubling(decay: Tensor, inputs: Tensor) -> Tensor:
    """Hillis and Steele's scan: log2(T) passes over all steps."""
    states, power, shift = inputs, decay, 1
    while shift < len(inputs):
        states = torch.cat((states[:shift], states[shift:] + power * states[:-shift]))
        power, shift = power * power, 2 * shift
    return states


def row(T: int, B: int, S: int, seconds: float, *, with_doubling: bool = True) -> Row:
    """Measure gradients of inputs and of one decay per state.

    The limit: forward reads x and writes s, backward reads g and s and writes the gradient of x, each once; what is
    written in one pass is too large for the next to find it in a cache.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(T, B, S, generator=generator).requires_grad_()
    decay = (0.5 + 0.49 * torch.rand(S, generator=generator)).requires_grad_()
    grad = torch.randn(T, B, S, generator=generator)
    zeros = torch.zeros(B, S)
    forms: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "PNB-X": lambda d, x: diagonal_scan(d, x, zeros),
        "torch loop": loop,
    }
    if with_doubling:
        forms["torch doubling"] = doubling
    measured = Row("training", f"diagonal SSM, real ({T}, {B}, {S})", ("PNB-X",))
    measured.limit = limits.least(torch.get_num_threads(), copied=5 * 4 * T * B * S)
    results = {}
    for name, form in forms.items():
        inputs.grad = decay.grad = None
        states = form(decay, inputs)
        states.backward(grad)
        assert inputs.grad is not None
        assert decay.grad is not None
        results[name] = [t.detach().double() for t in (states, inputs.grad, decay.grad)]
    inputs.grad = decay.grad = None
    errors = [
        float((a - b).abs().max() / b.abs().max()) for a, b in zip(results["PNB-X"], results["torch loop"], strict=True)
    ]
    measured.checks.append("states, gradients of inputs and decay differ by " + ", ".join(f"{e:.1e}" for e in errors))

    def trained(form: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], None]:
        def run() -> None:
            form(decay, inputs).backward(grad)
            inputs.grad = decay.grad = None  # each frees what it took

        return run

    measured.times = interleave({name: trained(form) for name, form in forms.items()}, seconds=seconds)
    return measured


def rows(seconds: float, *, quick: bool) -> list[Row]:
    """Measure the scan row of the training table."""
    if quick:
        return [row(100, 8, 64, seconds)]
    return [row(784, 32, 256, seconds)]
