"""Work that is timed in the process that measures: training steps, and single images."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from pnbx_snn.networks.pnbx import PNBX
from studies.measurements.reference import images
from studies.rivals import (
    GRU,
    SEQUENCE_MODELS,
    DiagonalStateSpaces,
    Form,
    KVCache,
    LeNet5,
    Transformer,
    equal_transformer,
    in_form,
    mlp,
)
from studies.rivals.transformer import Layer

Step = Callable[[], None]


def measure(*, quick: bool) -> Iterator[tuple[str, list[float], int]]:
    """Yield name, seconds of each training step, tokens of a step: AdamW, fp32, sequences of 64 steps, 8 at a time."""
    steps, batch = (16, 2) if quick else (64, 8)
    torch.set_num_threads(1)
    cases = {name: _case(model, steps, batch) for name, model in _models(quick=quick).items()}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    order, rng = list(cases), random.Random(0)
    for case in cases.values():
        case()
    for _ in range(2 if quick else 6):
        rng.shuffle(order)
        for name in order:
            started = time.process_time()
            cases[name]()
            seconds[name].append(time.process_time() - started)
    yield from ((name, values, steps * batch) for name, values in seconds.items())


def bound_cases(length: int) -> dict[str, Callable[[], float]]:
    """Return by form what runs the matrix products and the attention of a step, and nothing else of it.

    What no implementation of this Transformer with PyTorch's products can fall below: no norms, no sums, no Python
    between. Another library's products can.
    """
    found: dict[str, Callable[[], float]] = {}
    forms: tuple[Form, ...] = ("fp32", "int8")
    for form in forms:
        torch.manual_seed(0)
        model = in_form(equal_transformer(), form)
        cache = model.cache(1, capacity=length)
        cache.numbers.normal_()
        found[form] = partial(_products, model, cache)
    return found


@torch.no_grad()
def _products(model: Transformer, cache: KVCache) -> float:
    x, query = torch.zeros(1, 1, model.d_model), torch.zeros(1, model.num_heads, 1, model.d_model // model.num_heads)
    started = time.thread_time()
    for layer, numbers in zip(model.layers, cache.numbers, strict=True):
        scaled_dot_product_attention(query, *numbers)
        assert isinstance(layer, Layer)
        layer.qkv(x)
        layer.out(x)
        layer.down(layer.up(x))
    return time.thread_time() - started


def images_cases(*, quick: bool) -> dict[tuple[str, str], Callable[[], float]]:
    """Return by name and form what shows one image and returns the seconds that it took."""
    torch.manual_seed(0)
    x = images(1)
    sizes = (784, 32, 10) if quick else (784, 1908, 1908, 10)
    models = {
        ("MLP", "fp32"): in_form(mlp(*sizes), "fp32"),
        ("MLP", "int8"): in_form(mlp(*sizes), "int8"),
        ("LeNet-5", "fp32"): in_form(LeNet5(), "fp32"),
    }

    def case(model: nn.Module) -> Callable[[], float]:
        @torch.no_grad()
        def run() -> float:
            model(x)  # brings back what the others drove out of the caches
            started = time.thread_time()
            model(x)
            return time.thread_time() - started

        return run

    return {key: case(model) for key, model in models.items()}


def _models(*, quick: bool) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    options: dict[str, Any] = {"in_features": 784, "num_classes": 10, "num_steps": 8, "readout": "step"}
    if quick:
        small: dict[str, Any] = {"num_tokens": 256, "num_classes": 10, "d_model": 32}
        found: dict[str, nn.Module] = {"PNB-X": PNBX(**options, d_hidden=128)}
        found["Transformer, equal"] = Transformer(**small, num_heads=2, num_layers=1, d_ff=64, num_positions=64)
        return {
            **found,
            "GRU": GRU(**small, d_hidden=32),
            "SSM": DiagonalStateSpaces(**small, d_state=8, num_layers=1, d_ff=32),
        }
    found = {"PNB-X": PNBX(**options, d_hidden=2048)}
    found["PNB-X, no hippocampus"] = PNBX(**options, d_hidden=2048, hippocampus="none")
    return {**found, **{name: SEQUENCE_MODELS[name]() for name in ("Transformer, equal", "GRU", "SSM")}}


def _case(model: nn.Module, steps: int, batch: int) -> Step:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    labels = torch.randint(10, (steps * batch,), generator=torch.Generator().manual_seed(0))
    if isinstance(model, PNBX):
        inputs = images(steps * batch).reshape(steps, batch, 784)
        model.calibrate(inputs.transpose(0, 1))
        model.train()
    else:
        inputs = torch.randint(256, (steps, batch), generator=torch.Generator().manual_seed(0))

    def run() -> None:
        out = model(inputs, keep_state=False).logits if isinstance(model, PNBX) else model(inputs)[0]
        loss = cross_entropy(out.flatten(0, 1), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return run
