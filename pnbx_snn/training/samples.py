"""The samples of a training: their order, how they are changed, and this process's share of each batch."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pnbx_snn.data.augment import add_noise, drop_inputs, shift_images
from pnbx_snn.data.catalog import augment, in_size
from pnbx_snn.data.shrunk import before_shrinking
from pnbx_snn.data.split import Samples, Split
from pnbx_snn.data.streams import Pairs, drop_streams
from pnbx_snn.data.voices import change_voices
from pnbx_snn.errors import ConfigError
from pnbx_snn.training.config import Config
from pnbx_snn.training.distributed import Workers
from pnbx_snn.training.reestimate import Batch
from pnbx_snn.wording import counted

CALIBRATION_SAMPLES = 512
"""As many as :meth:`pnbx_snn.networks.pnbx.PNBX.calibrate` looks at, taken from everywhere in the data."""


class Piece(NamedTuple):
    """A piece of a batch: its sample numbers, and this process's share of it.

    ``images`` are what a teacher sees, ``seen`` what the network does.
    """

    numbers: Tensor
    images: Tensor
    seen: Tensor
    labels: Tensor
    lengths: Tensor | None


class Draws:
    """Where an epoch's random numbers come from: one generator for each purpose.

    How samples are changed is the same in every process, what is drawn inside the network differs between them.
    """

    def __init__(self, seed: int, epoch: int, workers: Workers) -> None:
        _, shift_seed, _, _, change_seed = epoch_seeds(seed, epoch)
        _, _, encoder_seed, self.torch_seed, _ = epoch_seeds(seed, epoch, workers.rank)
        self.shifts = torch.Generator().manual_seed(shift_seed)
        self.changes = torch.Generator().manual_seed(change_seed)
        self.encoder = torch.Generator(workers.device).manual_seed(encoder_seed)


class TrainingSamples:
    """The samples that a training learns from, batch after batch.

    Parameters
    ----------
    data, config, workers
        What :class:`pnbx_snn.training.trainer.Trainer` has.
    teacher_side
        Pixels each way of the pictures that the teacher sees, where those are of MNIST; ``None``: as many as the
        network.

    Raises
    ------
    ConfigError
        If a piece of a batch has fewer samples than there are processes.
    """

    def __init__(self, data: Split, config: Config, workers: Workers, *, teacher_side: int | None = None) -> None:
        self.data, self.config, self.workers = data, config, workers
        self._teacher_side = config.data.side if teacher_side is None else teacher_side
        self.num_batches = max(1, len(data.labels) // config.train.batch_size)
        smallest = len(data.labels) // self.num_batches // config.train.accumulate
        if smallest < workers.num_processes:
            raise ConfigError(
                f"train.batch_size: each of {workers.num_processes} processes needs a sample of every piece of a "
                f"batch, got pieces of {smallest} (train.batch_size = {config.train.batch_size}, train.accumulate = "
                f"{config.train.accumulate}, {counted(len(data.labels), 'sample')})"
            )

    def of_epoch(self, epoch: int, draws: Draws) -> Iterator[tuple[Tensor, list[Piece]]]:
        """Yield the sample numbers of each batch of an epoch, and its pieces."""
        order_seed, *_ = epoch_seeds(self.config.train.seed, epoch)
        order = torch.randperm(len(self.data.labels), generator=torch.Generator().manual_seed(order_seed))
        if isinstance(self.data.images, Pairs):
            self.data.images.draw(order_seed)
        batches = order.tensor_split(self.num_batches)
        yield from zip(batches, self._prepared(batches, epoch, draws), strict=True)

    def unchanged(self, count: int, seed: int, *, shared: bool = True) -> Iterator[Batch]:
        """Yield so many batches of samples as they are, drawn by a seed; of each this process's share."""
        order = torch.Generator().manual_seed(seed)
        for _ in range(count):
            batch = torch.randint(len(self.data.labels), (self.config.train.batch_size,), generator=order)
            batch = self.workers.share(batch) if shared else batch
            lengths = self.data.lengths
            yield (
                self.data.images[batch].to(self.workers.device),
                None if lengths is None else lengths[batch].to(self.workers.device),
            )

    def weight(self, numbers: Tensor) -> int:
        """Return how much rates of these samples count: their steps, or the samples where all have as many."""
        return len(numbers) if self.data.lengths is None else int(self.data.lengths[numbers].sum())

    def _prepared(self, batches: Sequence[Tensor], epoch: int, draws: Draws) -> Iterator[list[Piece]]:
        """Yield the pieces of each batch of sample numbers; a thread makes those of the next batch meanwhile.

        It alone draws how samples are changed, batch after batch: the same numbers as without it.
        """

        def make(batch: Tensor) -> list[Piece]:
            return [
                self._changed(numbers, epoch, draws) for numbers in batch.tensor_split(self.config.train.accumulate)
            ]

        with ThreadPoolExecutor(1, thread_name_prefix="samples") as thread:
            coming = thread.submit(make, batches[0])
            for following in [*batches[1:], None]:
                pieces = coming.result()
                if following is not None:
                    coming = thread.submit(make, following)
                yield pieces

    def _changed(self, numbers: Tensor, epoch: int, draws: Draws) -> Piece:
        """Return this process's share of a piece, changed as the section ``[augment]`` says."""
        settings, change, data = self.config.train, self.config.augment, self.config.data
        share = self.workers.share(torch.arange(len(numbers)))
        # The full share in the first half of the epochs, then less and less, none in the last.
        fading = min(1.0, 2 * (1 - epoch / settings.epochs))
        strength = change.strength_end + (change.strength - change.strength_end) * fading
        shifts = data.name == "digits" and settings.max_shift > 0
        # Changes are drawn for the whole piece in every process: how many there are then makes no difference.
        whole = shifts or strength > 0 or change.voices > 0 or change.input_noise > 0
        in_full = strength > 0 or self._teacher_side != data.side
        samples = before_shrinking(self.data.images) if in_full else self.data.images
        images = samples[numbers if whole else numbers[share]]
        if data.name == "digits":
            images = shift_images(
                images,
                math.isqrt(images.shape[1]),
                generator=draws.shifts,
                max_shift=settings.max_shift,
                probability=settings.shift_share * fading,
            )
        images = change_voices(images, generator=draws.changes, strength=change.voices) if change.voices else images
        images = augment(images, data, strength=strength, generator=draws.changes)
        seen = in_size(images, data, data.side) if in_full else images
        images = in_size(images, data, self._teacher_side) if in_full else images
        part = None if whole else (len(numbers), share)
        widths = list(data.stream_widths.values())
        seen = drop_inputs(seen, change.input_dropout, generator=draws.changes, batch=part)
        seen = add_noise(seen, change.input_noise, generator=draws.changes)
        seen = drop_streams(seen, widths, change.stream_dropout, generator=draws.changes, batch=part)
        if whole:
            images, seen = images[share], seen[share]
        device, lengths = self.workers.device, self.data.lengths
        if lengths is not None:
            longest = int(lengths[numbers].max())
            images, seen, lengths = images[:, :longest], seen[:, :longest], lengths[numbers[share]].to(device)
        return Piece(numbers, images.to(device), seen.to(device), self.data.labels[numbers[share]].to(device), lengths)


def typical(samples: Samples) -> Tensor:
    """Return what a network is calibrated on: all samples, or a part of those that are read from files."""
    if isinstance(samples, Tensor):
        return samples
    numbers = torch.linspace(0, samples.shape[0] - 1, min(samples.shape[0], CALIBRATION_SAMPLES))
    return samples[numbers.round().long()]


def epoch_seeds(seed: int, epoch: int, rank: int = 0) -> list[int]:
    """Independent seeds for an epoch of a process; those of epoch 0: initial weights, unchanged samples."""
    key = (epoch, rank) if rank else (epoch,)
    children = np.random.SeedSequence(seed, spawn_key=key).spawn(5)
    return [int(child.generate_state(1, np.uint64)[0]) for child in children]
