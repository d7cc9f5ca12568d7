"""What a trained run does on its data: accuracy, activity, operations, weights, mixed precision, batches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from pnbx_snn.data.split import Part, Split
from pnbx_snn.errors import PnbxTypeError, PnbxValueError
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.networks.base import Network
from pnbx_snn.networks.classifier import SpikingClassifier
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.quantization import keep_ternary, quantize_int8
from pnbx_snn.training.evaluate import evaluate
from pnbx_snn.training.settings import DataConfig
from pnbx_snn.training.tasks import load_split
from studies.counted.operations import Counted, count_operations
from studies.counted.packing import Packing, packings, ternary_weights, zero_share

BATCHES = (1, 8, 64, 256)


class Activity(NamedTuple):
    """Firing of one layer.

    Parameters
    ----------
    name
        Of the layer.
    by_neuron, by_step, by_class
        Spikes per neuron and step: of each neuron ``[N]``, each step ``[T]``, each class ``[C]`` (NaN without samples).
    """

    name: str
    by_neuron: np.ndarray
    by_step: np.ndarray
    by_class: np.ndarray

    @property
    def rate(self) -> float:
        """Mean."""
        return float(self.by_neuron.mean())


class Mixed(NamedTuple):
    """Accuracy and bytes with some matrices left in floating point."""

    name: str
    accuracy: float
    weight_bytes: int


class Throughput(NamedTuple):
    """Samples a second at one batch size, median of a few rounds (processor time)."""

    batch: int
    samples_per_s: float


class RunAnalysis(NamedTuple):
    """All of it, and what it was taken from."""

    run: str
    part: str
    model: Network
    samples: int
    accuracy: float
    counted: Counted
    activity: list[Activity]
    packings: list[Packing]
    zeros: float
    mixed: list[Mixed]
    throughput: list[Throughput]
    raster: dict[str, Any]


def analyze_run(
    run: Path, model: Network, data: DataConfig, *, part: Part = "test", samples: int = 256, sample: int = 0
) -> RunAnalysis:
    """Run a network on its data and measure all of it.

    Parameters
    ----------
    run
        Where it came from, for messages.
    model, data
        Network and data of the run.
    part
        Of the data.
    samples
        The first so many are looked at.
    sample
        Which one the raster shows.

    Raises
    ------
    PnbxTypeError
        If the network has no spikes.
    PnbxValueError
        If there are no samples, or fewer than ``sample`` asks for.
    DataError
        If the data are missing.
    """
    if not model.is_ternary:
        raise PnbxTypeError(
            f"{run}: a [{model.section}] has no spikes and no ternary weights to analyze; give a spiking run"
        )
    if samples < 1:
        raise PnbxValueError(f"analyze: samples must be at least 1, got {samples}")
    split = load_split(data, part).of_equal_lengths("analyze")
    number = min(samples, len(split.labels))
    if not 0 <= sample < number:
        raise PnbxValueError(f"analyze: sample must be in [0, {number - 1}] of the {number} looked at, got {sample}")
    few = Split(split.images[:number], split.labels[:number])
    was_training = model.training
    model.eval()
    try:
        return RunAnalysis(
            str(run),
            part,
            model,
            number,
            evaluate(model, few)["accuracy"],
            count_operations(model, few),
            activity(model, few),
            packings(model),
            zero_share(model),
            mixed_precision(model, few),
            throughput(model, few),
            one_sample(model, few, sample),
        )
    finally:
        model.train(was_training)


@torch.no_grad()
def activity(model: Network, split: Split, *, batch_size: int = 64) -> list[Activity]:
    """Return how each layer fires, by neuron, step and class."""
    names = model.layer_names
    num_classes = int(split.labels.max()) + 1
    generator = torch.Generator().manual_seed(0)
    neurons: list[Any] = [0.0] * len(names)
    steps: list[Any] = [0.0] * len(names)
    classes = [np.zeros(num_classes) for _ in names]
    with keep_ternary(model):
        for first in range(0, len(split.labels), batch_size):
            labels = split.labels[first : first + batch_size]
            _, spikes = model.classify(split.images[first : first + batch_size], generator=generator)
            for i, layer in enumerate(spikes):  # [T, B, N]
                flat = layer.flatten(2).double()
                neurons[i] = neurons[i] + flat.sum(dim=(0, 1)).numpy()
                steps[i] = steps[i] + flat.sum(dim=(1, 2)).numpy()
                by_sample = flat.mean(dim=(0, 2))
                classes[i] += torch.zeros(num_classes).double().index_add_(0, labels, by_sample).numpy()
    counts = np.bincount(split.labels.numpy(), minlength=num_classes)
    found = []
    for i, name in enumerate(names):
        num_steps, num_neurons, number = len(steps[i]), len(neurons[i]), len(split.labels)
        by_class = np.divide(classes[i], counts, out=np.full(num_classes, np.nan), where=counts > 0)
        by_step = steps[i] / (num_neurons * number)
        found.append(Activity(name, neurons[i] / (num_steps * number), by_step, by_class))
    return found


def mixed_precision(model: Network, split: Split) -> list[Mixed]:
    """Return accuracy and bytes with the first, the last, and all matrices as trained latent weights in fp16.

    The network was trained to be right with ternary weights; latent ones are not better by nature. Slots of a
    hippocampus and loops of a spiking micro-RNN stay ternary.
    """
    layers = {name: m for name, m in model.named_modules() if isinstance(m, BitLinear) and _reached(name, model)}
    names = list(layers)
    two_bits = next(p for p in packings(model) if p.name == "2 bits").total
    cases = {
        "all ternary, 2 bits": [],
        f"first in fp16 ({names[0]})": names[:1],
        f"last in fp16 ({names[-1]})": names[-1:],
    }
    cases |= {"first and last in fp16": [names[0], names[-1]], "all products in fp16": names}
    sizes = {name: weight.numel() for name, weight in ternary_weights(model).items()}
    found = []
    for name, chosen in cases.items():
        more = sum(2 * sizes[layer] - -(-sizes[layer] // 4) for layer in chosen)
        with _in_half(layers[layer] for layer in chosen):
            found.append(Mixed(name, evaluate(model, split)["accuracy"], two_bits + more))
    return found


def _reached(name: str, model: Network) -> bool:
    """Whether a hook on this layer sees its products: not inside the loop of spiking interneurons."""
    return not any(
        name.startswith(f"{loop}.") and name.rsplit(".", 1)[-1] in ("U", "V")
        for loop, module in model.named_modules()
        if type(module).__name__ == "SpikingRNN"
    )


@contextmanager
def _in_half(layers: Any) -> Iterator[None]:
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
    """Return samples a second in torch at several batch sizes, the sizes in turns."""
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


@torch.no_grad()
def one_sample(model: Network, split: Split, sample: int) -> dict[str, Any]:
    """Return what one sample evokes: inputs, spikes of each layer, the label and what was read."""
    images = split.images[sample : sample + 1]
    assert isinstance(model, PNBX | SpikingClassifier)
    if isinstance(model, PNBX):
        x = model.encode(images)
    else:
        x = model.encode(images, generator=torch.Generator().manual_seed(0))
    logits, spikes = model.classify(images, generator=torch.Generator().manual_seed(0))
    layers = {name: layer[:, 0].numpy() for name, layer in zip(model.layer_names, spikes, strict=True)}
    label, read = int(split.labels[sample]), int(logits.argmax())
    return {"input": x[:, 0].numpy(), "layers": layers, "sample": sample, "label": label, "read": read}
