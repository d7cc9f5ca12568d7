"""What a trained network does on its data and what that costs: accuracy, spikes, operations, bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pnbx_snn.data.catalog import load_split
from pnbx_snn.data.split import Part, Split
from pnbx_snn.errors import PnbxTypeError, PnbxValueError
from pnbx_snn.metrics.memory import Packing, packings, state_bytes, zero_share
from pnbx_snn.metrics.operations import Counted, count_operations
from pnbx_snn.networks.base import Network
from pnbx_snn.quantization import keep_ternary
from pnbx_snn.training.evaluate import evaluate, evaluating
from pnbx_snn.training.settings import DataConfig


class Activity(NamedTuple):
    """Firing of one layer, in spikes per neuron and step: by neuron ``[N]``, step ``[T]`` and class ``[C]``.

    A class without samples has NaN.
    """

    name: str
    by_neuron: np.ndarray
    by_step: np.ndarray
    by_class: np.ndarray

    @property
    def rate(self) -> float:
        """The mean over neurons and steps."""
        return float(self.by_neuron.mean())


class Costs(NamedTuple):
    """What :func:`analyze_run` found, and what it was taken from."""

    run: str
    part: str
    model: Network
    split: Split
    accuracy: float
    counted: Counted
    activity: list[Activity]
    packings: list[Packing]
    zeros: float
    state: dict[str, int]
    raster: dict[str, Any]


def analyze_run(
    run: Path, model: Network, data: DataConfig, *, part: Part = "test", samples: int = 256, sample: int = 0
) -> Costs:
    """Run a network on the first ``samples`` of its data and count; the mode the network was in comes back.

    ``run`` is where it came from, for messages; the raster shows sample number ``sample``.

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
    few = split.first(number)
    with evaluating(model):
        return Costs(
            run=str(run),
            part=part,
            model=model,
            split=few,
            accuracy=evaluate(model, few)["accuracy"],
            counted=count_operations(model, few),
            activity=activity(model, few),
            packings=packings(model),
            zeros=zero_share(model),
            state=state_bytes(model),
            raster=one_sample(model, few, sample),
        )


@torch.no_grad()
def activity(model: Network, split: Split, *, batch_size: int = 64) -> list[Activity]:
    """Return how each layer fires, by neuron, step and class."""
    names = model.layer_names
    num_classes, number = int(split.labels.max()) + 1, len(split.labels)
    generator = torch.Generator().manual_seed(0)
    neurons: list[Any] = [0.0] * len(names)
    steps: list[Any] = [0.0] * len(names)
    classes = [torch.zeros(num_classes).double() for _ in names]
    for first in range(0, number, batch_size):
        labels = split.labels[first : first + batch_size]
        with keep_ternary(model):
            _, spikes = model.classify(split.images[first : first + batch_size], generator=generator)
        for i, layer in enumerate(model.fired(spikes)):  # [T, B, N]
            flat = layer.flatten(2).double()
            neurons[i] = neurons[i] + flat.sum(dim=(0, 1)).numpy()
            steps[i] = steps[i] + flat.sum(dim=(1, 2)).numpy()
            classes[i].index_add_(0, labels, flat.mean(dim=(0, 2)))
    counts = torch.bincount(split.labels, minlength=num_classes)  # 0 / 0 is NaN: no sample of this class
    return [
        Activity(name, of / (len(time) * number), time / (len(of) * number), (by_class / counts).numpy())
        for name, of, time, by_class in zip(names, neurons, steps, classes, strict=True)
    ]


@torch.no_grad()
def one_sample(model: Network, split: Split, sample: int) -> dict[str, Any]:
    """Return what one sample evokes: inputs, spikes of each layer, the label and what was read."""
    images = split.images[sample : sample + 1]
    if split.lengths is not None:
        images = images[:, : int(split.lengths[sample])]
    x = model.encode(images, generator=torch.Generator().manual_seed(0))
    logits, spikes = model.classify(images, generator=torch.Generator().manual_seed(0))
    layers = {name: layer[:, 0].numpy() for name, layer in zip(model.layer_names, spikes, strict=True)}
    label, read = int(split.labels[sample]), int(logits.argmax())
    return {"input": x[:, 0].numpy(), "layers": layers, "sample": sample, "label": label, "read": read}
