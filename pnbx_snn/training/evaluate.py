"""Evaluation: accuracy and firing rates of a network, added up over batches."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pnbx_snn.data.split import Split
from pnbx_snn.errors import PnbxValueError
from pnbx_snn.networks.base import Network
from pnbx_snn.quantization import keep_ternary


class Tally:
    """Samples, hits and one number for each layer, added up over batches.

    Attributes
    ----------
    samples, correct
        So far.
    layers, weight
        Sums of what :meth:`add` was told: one for each layer (empty without layers), and by what to divide them.

    Examples
    --------
    >>> tally = Tally()
    >>> tally.add(torch.eye(2), torch.tensor([0, 0]), [0.5, 2.0])
    >>> tally.samples, tally.correct, tally.layers
    (2, 1, [0.5, 2.0])
    """

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


@torch.no_grad()
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
        ``accuracy`` (share of the samples), ``firing_rate`` (spikes per neuron and step over all layers; ``None``
        without spikes), ``firing_rate_layers`` (the same for each layer) and ``n`` (samples).

    Raises
    ------
    PnbxValueError
        If there are no samples.

    Examples
    --------
    >>> from pnbx_snn.training.checkpoint import build_model
    >>> from pnbx_snn.training.config import Config
    >>> from pnbx_snn.training.tasks import load_split
    >>> model, split = build_model(Config()), load_split(Config().data, "validation")
    >>> model.calibrate(split.images)
    >>> sorted(evaluate(model, split))
    ['accuracy', 'firing_rate', 'firing_rate_layers', 'n']
    """
    num_samples = len(split.labels)
    if num_samples == 0:
        raise PnbxValueError("evaluate: split must have at least one sample, got none")
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    was_training = model.training
    model.eval()
    tally = Tally()
    lengths = split.lengths
    try:
        with keep_ternary(model):
            for first in range(0, num_samples, batch_size):
                images = split.images[first : first + batch_size].to(device)
                labels = split.labels[first : first + batch_size].to(device)
                own = None if lengths is None else lengths[first : first + batch_size].to(device)
                logits, layers = model.classify(images, generator=generator, lengths=own)
                tally.add(logits, labels, (layer.sum(dtype=torch.float64).item() for layer in layers))
    finally:
        model.train(was_training)
    # Neurons times steps, the same in every batch; beyond their lengths samples have no spikes and no steps.
    num_steps = [num_samples * len(layer) if lengths is None else int(lengths.sum()) for layer in layers]
    places = [steps * layer.shape[2] for steps, layer in zip(num_steps, layers, strict=True)]
    return {
        "accuracy": tally.correct / num_samples,
        "firing_rate": sum(tally.layers) / sum(places) if places else None,
        "firing_rate_layers": [spikes / size for spikes, size in zip(tally.layers, places, strict=True)],
        "n": num_samples,
    }
