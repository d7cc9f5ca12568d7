"""Evaluation: accuracy and firing rates of a network, added up over batches."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pnbx_snn.data.split import Split
from pnbx_snn.errors import PnbxValueError
from pnbx_snn.networks.base import Network
from pnbx_snn.quantization import keep_ternary


class Tally:
    """Samples, hits and one number for each layer, added up over batches; ``weight`` divides the layers' sums."""

    def __init__(self) -> None:
        self.samples = self.correct = self.weight = 0
        self.layers: list[float] = []

    def add(self, logits: Tensor, labels: Tensor, layers: Iterable[float], *, weight: int = 0) -> None:
        """Add a batch: logits ``[B, C]``, labels ``[B]``, what is summed of each layer and its weight."""
        self.samples += len(labels)
        self.weight += weight
        self.correct += int((logits.argmax(dim=1) == labels).sum())
        layers = list(layers)
        self.layers = [a + b for a, b in zip(self.layers or [0.0] * len(layers), layers, strict=True)]


@contextmanager
def evaluating(model: Network) -> Iterator[None]:
    """Compute in evaluation mode, without gradients, with weights that are rounded once; the old mode comes back."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), keep_ternary(model):
            yield
    finally:
        model.train(was_training)


def evaluate(model: Network, split: Split, *, seed: int = 0, batch_size: int = 256) -> dict[str, Any]:
    """Measure accuracy and firing rates in evaluation mode; the mode the model was in comes back afterwards.

    Parameters
    ----------
    model
        A calibrated model; its ``classify`` is asked.
    split
        Images and labels, at least one. Of samples with lengths (:class:`pnbx_snn.data.split.Sequences`) only the own
        steps count.
    seed
        Of the ``"rate"`` encoder, so that a second measurement gives the same numbers.
    batch_size
        Samples at a time; it changes the memory needed.

    Returns
    -------
    dict
        ``accuracy`` (share of the samples), ``firing_rate`` (events that are not 0, per neuron and step, over all
        layers; ``None`` without spikes), ``firing_rate_layers`` (the same for each layer) and ``n`` (samples). Of
        graded events also ``event_mean_layers``, the mean value of an event of each layer.

    Raises
    ------
    PnbxValueError
        If there are no samples.
    """
    num_samples = len(split.labels)
    if num_samples == 0:
        raise PnbxValueError("evaluate: split must have at least one sample, got none")
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    tally, lengths, graded = Tally(), split.lengths, model.event_levels > 2
    with evaluating(model):
        for first in range(0, num_samples, batch_size):
            images = split.images[first : first + batch_size].to(device)
            labels = split.labels[first : first + batch_size].to(device)
            own = None if lengths is None else lengths[first : first + batch_size].to(device)
            logits, layers = model.classify(images, generator=generator, lengths=own)
            sums = [layer.sum(dtype=torch.float64).item() for layer in model.fired(layers)]
            sums += [layer.sum(dtype=torch.float64).item() for layer in layers] if graded else []
            tally.add(logits, labels, sums)
    # Neurons times steps, the same in every batch; beyond their lengths samples have no spikes and no steps.
    num_steps = [num_samples * len(layer) if lengths is None else int(lengths.sum()) for layer in layers]
    places = [steps * layer.shape[2] for steps, layer in zip(num_steps, layers, strict=True)]
    fired, values = tally.layers[: len(places)], tally.layers[len(places) :]
    found = {
        "accuracy": tally.correct / num_samples,
        "firing_rate": sum(fired) / sum(places) if places else None,
        "firing_rate_layers": [spikes / size for spikes, size in zip(fired, places, strict=True)],
        "n": num_samples,
    }
    if graded:
        found["event_mean_layers"] = [total / size for total, size in zip(values, places, strict=True)]
    return found
