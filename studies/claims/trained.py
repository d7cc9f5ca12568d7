"""What a report on the document adds to the costs of a trained run: mixed precision, and batches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from pnbx_snn.data.split import Split
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.layers.rnn import SpikingRNN
from pnbx_snn.metrics.analysis import Costs
from pnbx_snn.metrics.memory import packings, ternary_weights
from pnbx_snn.networks.base import Network
from pnbx_snn.quantization import keep_ternary, quantize_int8
from pnbx_snn.training.evaluate import evaluate

BATCHES = (1, 8, 64, 256)


class Mixed(NamedTuple):
    """Accuracy and bytes with some matrices left in floating point."""

    name: str
    accuracy: float
    weight_bytes: int


class Throughput(NamedTuple):
    """Samples a second at one batch size, median of a few rounds (processor time)."""

    batch: int
    samples_per_s: float


class Trained(NamedTuple):
    """A trained run: its costs, and what is measured on it for the document's recommendations."""

    costs: Costs
    mixed: list[Mixed]
    throughput: list[Throughput]


def measure_run(costs: Costs) -> Trained:
    """Measure mixed precision and batches of a run; the network is in evaluation mode afterwards."""
    costs.model.eval()
    return Trained(costs, mixed_precision(costs.model, costs.split), throughput(costs.model, costs.split))


def mixed_precision(model: Network, split: Split) -> list[Mixed]:
    """Return accuracy and bytes with the first, the last, and all matrices as trained latent weights in fp16.

    The network was trained to be right with ternary weights; latent ones are not better by nature. Slots of a
    hippocampus and loops of a spiking micro-RNN stay ternary.
    """
    loops = [loop for loop, module in model.named_modules() if isinstance(module, SpikingRNN)]
    unseen = {f"{loop}.{name}" for loop in loops for name in "UV"}  # products inside of a loop, beyond hooks
    layers = {name: m for name, m in model.named_modules() if isinstance(m, BitLinear) and name not in unseen}
    names = list(layers)
    two_bits = next(p for p in packings(model) if p.name == "2 bits").total
    cases = {
        "all ternary, 2 bits": [],
        f"first in fp16 ({names[0]})": names[:1],
        f"last in fp16 ({names[-1]})": names[-1:],
        "first and last in fp16": [names[0], names[-1]],
        "all products in fp16": names,
    }
    sizes = {name: weight.numel() for name, weight in ternary_weights(model).items()}
    found = []
    for name, chosen in cases.items():
        more = sum(2 * sizes[layer] - -(-sizes[layer] // 4) for layer in chosen)
        with _in_half(layers[layer] for layer in chosen):
            found.append(Mixed(name, evaluate(model, split)["accuracy"], two_bits + more))
    return found


@contextmanager
def _in_half(layers: Iterable[BitLinear]) -> Iterator[None]:
    """Let some layers answer with their latent weights, rounded to fp16."""

    def answer(module: nn.Module, given: tuple[Any, ...], _: Tensor) -> Tensor:
        assert isinstance(module, BitLinear)
        x = given[0]
        if module.input_range == "int8":
            x = module.input_scale * quantize_int8(x, module.input_scale)
        y = linear(x, module.weight.half().to(x.dtype))
        return y if module.bias is None else y + module.bias

    handles = [layer.register_forward_hook(answer) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def throughput(model: Network, split: Split, *, rounds: int = 3) -> list[Throughput]:
    """Return samples a second in torch at several batch sizes, the sizes taking turns."""
    generator = torch.Generator().manual_seed(0)
    sizes = [size for size in BATCHES if size <= len(split.labels)]
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    with keep_ternary(model):
        for _ in range(rounds + 1):
            for size in sizes:
                start = time.process_time()
                model.classify(split.images[:size], generator=generator)
                seconds[size].append(time.process_time() - start)
    return [Throughput(size, size / statistics.median(values[1:])) for size, values in seconds.items()]
