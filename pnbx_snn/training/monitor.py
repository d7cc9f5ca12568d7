"""What TensorBoard shows of a training beside its curves: rasters, firing rates of neurons, and how weights move."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pnbx_snn.data.split import Split
from pnbx_snn.errors import StorageError
from pnbx_snn.networks.base import Network
from pnbx_snn.plot import raster_layers, without_display
from pnbx_snn.quantization import weights_in_use
from pnbx_snn.training.evaluate import evaluating

NUM_SAMPLES = 16
"""Over which the firing rate of each neuron is taken; the first one is drawn."""

STATISTICS_SHARE, PICTURES_SHARE = 0.01, 0.015
"""Of the time of a training, at most: epochs are passed over until as much time has gone by."""

FIRST_PICTURE_S = 1.0
"""What the first picture is expected to take, which imports matplotlib."""


class Monitor:
    """Looks at a network after an epoch, and changes nothing in it.

    For each layer of ternary weights: the shares of -1, 0 and 1, the scale, and the share of weights that flip, which
    is those that are others than when it looked last, by the number of epochs between. For each layer of neurons: the
    histogram of their firing rates over a few samples, whose first one is drawn as a raster. What it takes is bounded
    by :data:`STATISTICS_SHARE` and :data:`PICTURES_SHARE`; after the last epoch it looks in any case.

    Parameters
    ----------
    model
        The network in training.
    samples
        The first :data:`NUM_SAMPLES` of them are looked at, unchanged.
    writer
        A ``torch.utils.tensorboard.SummaryWriter``.
    """

    def __init__(self, model: Network, samples: Split, writer: Any) -> None:
        self._model, self._writer = model, writer
        self._samples = samples.first(NUM_SAMPLES)
        self._layers = {name: module for name, module in model.named_modules() if hasattr(module, "rounded")}
        self._before: dict[str, Tensor] = {}
        self._epoch = 0
        self._statistics, self._pictures = _Budget(STATISTICS_SHARE), _Budget(PICTURES_SHARE, FIRST_PICTURE_S)

    def look(self, epoch: int, *, last: bool) -> None:
        """Write what there is to see after this epoch, if it is due; :class:`StorageError` where it cannot."""
        if not (last or self._statistics.is_due()):
            return
        try:
            self._look(epoch, last)
        except OSError as error:
            raise StorageError(
                f"TensorBoard's events could not be written ({error.strerror}); saved checkpoints are untouched"
            ) from error

    def _look(self, epoch: int, last: bool) -> None:
        with self._statistics.spending(), torch.random.fork_rng(devices=[]), evaluating(self._model):
            self._write_weights(epoch)
            spikes = self._write_rates(epoch)
        if spikes and (last or self._pictures.is_due()):
            with self._pictures.spending():
                self._draw(epoch, spikes)

    def _write_weights(self, epoch: int) -> None:
        for name, layer in self._layers.items():
            rounded = layer.rounded()
            if rounded is None or weights_in_use(layer) == "float":  # messages with equal edges; not yet ternary
                continue
            ternary, scale = rounded[0].to(torch.int8), rounded[1]
            values = {f"scale of weights/{name}": scale.item()}
            for weight in (-1, 0, 1):
                share = (ternary == weight).float().mean().item()
                values[f"share of weights that are {weight}/{name}"] = share
            if name in self._before:
                flipped = (ternary != self._before[name]).float().mean().item()
                values[f"share of weights that flip in an epoch/{name}"] = flipped / (epoch - self._epoch)
            self._before[name] = ternary.clone()
            for tag, value in values.items():
                self._writer.add_scalar(tag, value, epoch)
        self._epoch = epoch

    def _write_rates(self, epoch: int) -> dict[str, Tensor]:
        """Return the spikes of the first sample by layer, ``[T, N]``."""
        device = next(self._model.parameters()).device
        lengths = self._samples.lengths
        generator = torch.Generator(device).manual_seed(0)
        _, spikes = self._model.classify(
            self._samples.images[:].to(device),
            generator=generator,
            lengths=None if lengths is None else lengths.to(device),
        )
        own = slice(None if lengths is None else int(lengths[0]))
        shown = {}
        for name, layer in zip(self._model.layer_names, spikes, strict=True):  # [T, B, N]
            layer = layer.flatten(2)
            num_steps = len(layer) * layer.shape[1] if lengths is None else int(lengths.sum())
            rates = self._model.fired([layer])[0].sum(dim=(0, 1)) / num_steps
            self._writer.add_histogram(f"firing rates of neurons/{name}", rates.float().cpu(), epoch)
            shown[name] = layer[own, 0].cpu()
        return shown

    def _draw(self, epoch: int, spikes: dict[str, Tensor]) -> None:
        title = f"sample 0, a {int(self._samples.labels[0])}, after epoch {epoch}"
        with without_display():
            self._writer.add_figure("raster of a sample", raster_layers(spikes, title=title), epoch)


class _Budget:
    """Says when something may be done that is to take a share of the time and no more."""

    def __init__(self, share: float, cost_s: float = 0.0) -> None:
        self._share, self._cost_s, self._spent_s = share, cost_s, 0.0
        self._started = time.perf_counter()

    def is_due(self) -> bool:
        return self._spent_s + self._cost_s <= self._share * (time.perf_counter() - self._started)

    @contextmanager
    def spending(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._cost_s = time.perf_counter() - started
        self._spent_s += self._cost_s
