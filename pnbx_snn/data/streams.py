"""Samples of several streams, such as a sound and an image: side by side in every step, paired, missing, noisy."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from pnbx_snn.data.split import Samples, Sequences, Split
from pnbx_snn.errors import PnbxValueError, ShapeError
from pnbx_snn.wording import counted


class Stream(NamedTuple):
    """One of the streams of a sample: its name, its values in a step, and its own steps (1: static)."""

    name: str
    width: int
    steps: int


def shown(values: Float[Tensor, "B *own"], num_steps: int) -> Float[Tensor, "B T N"]:
    """Show a stream for so many steps: static ``[B, N]`` in all of them, a shorter sequence ``[B, t, N]`` stretched.

    Step ``k`` of a stretched sequence is its step ``floor(k t / T)``: each is held for ``T / t`` steps, rounded.

    Examples
    --------
    >>> shown(torch.tensor([[[1.0], [2.0]]]), 5).flatten().tolist()
    [1.0, 1.0, 1.0, 2.0, 2.0]
    """
    if values.ndim == 2:
        return values.unsqueeze(1).expand(-1, num_steps, -1)
    own = values.shape[1]
    if own == num_steps:
        return values
    if own > num_steps:
        raise ShapeError(f"streams: {counted(own, 'step')} cannot be shown in {num_steps}")
    return values[:, torch.arange(num_steps) * own // num_steps]


class StreamSamples:
    """Samples whose steps hold several streams one beside the other, ``[n, T, N]``, made when they are indexed.

    ``T`` are the steps of the longest stream; :func:`shown` says what the others do meanwhile. ``N`` are the widths
    together. Where all streams are static, samples are ``[n, N]``.

    Parameters
    ----------
    parts
        The samples of each stream, ``[m, N]`` or ``[m, t, N]``.
    numbers
        ``[streams, n]``: which sample of each stream is in which sample; ``None``: that of the same number.
    """

    def __init__(self, parts: Sequence[Samples], numbers: Int64[Tensor, "K n"] | None = None) -> None:
        if not parts:
            raise PnbxValueError("streams: there must be at least one, got none")
        sizes = [part.shape[0] for part in parts]
        if numbers is None and len(set(sizes)) > 1:
            raise ShapeError(f"streams: must have equally many samples, got {sizes}")
        self.parts = list(parts)
        self.numbers = torch.arange(sizes[0]).expand(len(parts), -1) if numbers is None else numbers
        self.num_steps = max(part.shape[1] if len(part.shape) == 3 else 1 for part in parts)

    @property
    def shape(self) -> torch.Size:
        """``[n, T, N]``, or ``[n, N]`` of static streams."""
        count, width = self.numbers.shape[1], sum(part.shape[-1] for part in self.parts)
        return torch.Size([count, width] if self.num_steps == 1 else [count, self.num_steps, width])

    def __getitem__(self, index: int | slice | Tensor, /) -> Tensor:
        """Return the samples of a slice, or of a tensor of numbers."""
        chosen = [self._own(stream, self.numbers[stream][index]) for stream in range(len(self.parts))]
        if self.num_steps == 1:
            return torch.cat(chosen, dim=1)
        return torch.cat([shown(values, self.num_steps) for values in chosen], dim=2)

    def chosen(self, index: Int64[Tensor, " m"]) -> "StreamSamples":
        """Return some of the samples, themselves made when they are indexed."""
        return StreamSamples(self.parts, self.numbers[:, index])

    def _own(self, stream: int, numbers: Tensor) -> Tensor:
        return self.parts[stream][numbers]


class Pairs(StreamSamples):
    """Samples of several data sets that belong together because their labels are equal.

    A pair has a label and one sample of each data set with that label. Of each label, the samples of a data set are
    dealt out in random order, all of them before one comes again.

    Parameters
    ----------
    splits
        The data sets; the largest one says how many pairs there are, and of which labels.
    count
        So many pairs instead; their labels are those of evenly spaced samples of the largest data set.
    seed
        Of the first pairs; :meth:`draw` makes new ones.

    Examples
    --------
    >>> sounds = Split(torch.rand(4, 6, 3), torch.tensor([0, 0, 1, 1]))
    >>> images = Split(torch.rand(8, 2), torch.arange(8) % 2)
    >>> pairs = Pairs([sounds, images], seed=0)
    >>> pairs.shape, pairs.labels.tolist()
    (torch.Size([8, 6, 5]), [0, 1, 0, 1, 0, 1, 0, 1])
    """

    def __init__(self, splits: Sequence[Split], *, count: int = 0, seed: int = 0) -> None:
        largest = max(splits, key=lambda split: len(split.labels))
        labels = largest.labels
        if count:
            labels = labels[torch.arange(count) * len(labels) // count]
        for number, split in enumerate(splits):
            missing = set(labels.tolist()) - set(split.labels.tolist())
            if missing:
                raise PnbxValueError(f"pairs: data set {number + 1} has no sample of class {min(missing)}")
        self.labels = labels
        self._classes = [split.labels.numpy() for split in splits]
        super().__init__([split.images for split in splits], torch.zeros(len(splits), len(labels), dtype=torch.int64))
        self.draw(seed)

    def draw(self, seed: int) -> None:
        """Pair anew; the labels stay. The same seed makes the same pairs."""
        rng = np.random.default_rng((seed, len(self.parts)))
        self.numbers = torch.from_numpy(np.stack([dealt(self.labels.numpy(), own, rng) for own in self._classes]))


def dealt(wanted: NDArray[np.int64], own: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return for each wanted label the number of a sample with that label, none again before all others came.

    Examples
    --------
    >>> dealt(np.array([1, 0, 1, 1]), np.array([0, 1]), np.random.default_rng(0)).tolist()
    [1, 0, 1, 1]
    """
    numbers = np.empty(len(wanted), dtype=np.int64)
    for label in np.unique(wanted):
        places, samples = np.flatnonzero(wanted == label), np.flatnonzero(own == label)
        rounds = math.ceil(len(places) / len(samples))
        numbers[places] = np.concatenate([rng.permutation(samples) for _ in range(rounds)])[: len(places)]
    return numbers


def each_stream(
    x: Float[Tensor, "B *shape"], streams: Sequence[Stream], change: Callable[[int, Tensor], Tensor]
) -> Float[Tensor, "B *shape"]:
    """Change every stream of samples in its own form, ``[B, N]`` or ``[B, t, N]``, by ``change(number, values)``."""
    num_steps = x.shape[1] if x.ndim == 3 else 1
    changed = []
    for number, values in enumerate(torch.split(x, [stream.width for stream in streams], dim=-1)):
        own = streams[number].steps
        if x.ndim == 2:
            changed.append(change(number, values))
        elif own == 1:
            changed.append(shown(change(number, values[:, 0]), num_steps))
        else:
            first = (torch.arange(own) * num_steps + own - 1) // own  # the first step in which each is shown
            changed.append(shown(change(number, values[:, first]), num_steps))
    return torch.cat(changed, dim=-1)


def drop_streams(
    x: Float[Tensor, "B *shape"],
    widths: Sequence[int],
    share: float,
    *,
    generator: torch.Generator,
    batch: tuple[int, Int64[Tensor, " B"]] | None = None,
) -> Float[Tensor, "B *shape"]:
    """Take one stream away from this share of the samples, each stream equally often: all its values become 0.

    ``batch`` as of :func:`pnbx_snn.data.augment.drop_inputs`.

    Examples
    --------
    >>> drop_streams(torch.ones(1, 3), [2, 1], 1.0, generator=torch.Generator().manual_seed(0))
    tensor([[0., 0., 1.]])
    """
    if share == 0 or len(widths) < 2:
        return x
    size, rows = (len(x), slice(None)) if batch is None else batch
    lost = torch.randint(len(widths), (size,), generator=generator)
    lost[torch.rand(size, generator=generator) >= share] = -1  # none
    owner = torch.repeat_interleave(torch.arange(len(widths)), torch.tensor(widths))  # [N]
    kept = lost[rows].unsqueeze(1) != owner  # [B, N]
    return x * (kept if x.ndim == 2 else kept.unsqueeze(1))


class _Perturbed(StreamSamples):
    """Samples of which some streams are missing, and others noisy."""

    def __init__(self, samples: StreamSamples, missing: set[int], noise: Mapping[int, float], seed: int) -> None:
        super().__init__(samples.parts, samples.numbers)
        self._missing, self._noise, self._seed = missing, noise, seed

    def __getitem__(self, index: int | slice | Tensor, /) -> Tensor:
        self._places = torch.arange(self.shape[0])[index].tolist()
        return super().__getitem__(index)

    def _own(self, stream: int, numbers: Tensor) -> Tensor:
        values = super()._own(stream, numbers)
        if stream in self._missing:
            return torch.zeros_like(values)
        sigma = self._noise.get(stream, 0.0)
        if sigma == 0.0:
            return values
        return values + sigma * torch.stack([_noise(values.shape[1:], self._seed, stream, i) for i in self._places])


def _noise(shape: torch.Size, seed: int, stream: int, sample: int) -> Tensor:
    rng = np.random.default_rng((seed, stream, sample))  # of each sample its own: batches make no difference
    return torch.from_numpy(rng.standard_normal(tuple(shape), dtype=np.float32))


def perturbed(
    split: Split,
    streams: Sequence[str],
    *,
    missing: Sequence[str] = (),
    noise: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Split:
    """Return samples of named streams, some of them missing and others under Gaussian noise.

    A missing stream is 0 everywhere, what a network was trained with by ``augment.stream_dropout``. Noise of a standard
    deviation in units of the data is drawn once for every value of a stream in its own form: the pixel of an image
    keeps its noise as long as it is shown. Of samples with lengths it is drawn for every step.

    Raises
    ------
    PnbxValueError
        If there is no such stream, none would be left, or the noise is not finite or below 0.
    """
    noise = {} if noise is None else noise
    for name in (*missing, *noise):
        if name not in streams:
            raise PnbxValueError(f"streams: there is no {name!r}; there are {', '.join(streams) or 'none'}")
    if missing and set(missing) >= set(streams):
        raise PnbxValueError(f"streams: at least one must be there, got all missing: {', '.join(streams)}")
    for name, sigma in noise.items():
        if not 0 <= sigma < math.inf:
            raise PnbxValueError(f"streams: the noise of {name!r} must be finite and at least 0, got {sigma}")
    lost = {streams.index(name) for name in missing}
    sigmas = {streams.index(name): sigma for name, sigma in noise.items()}
    if not (lost or sigmas):
        return split
    if not isinstance(split.images, StreamSamples):
        raise PnbxValueError("streams: samples with lengths cannot be made noisy or lose a stream")
    return Split(_Perturbed(split.images, lost, sigmas, seed), split.labels)


def side_by_side(splits: Sequence[Split]) -> Split:
    """Return streams of the same samples as one split; all with the same lengths, or none with any.

    Raises
    ------
    ShapeError
        If they differ in samples or lengths.
    """
    first = splits[0]
    if all(split.lengths is None for split in splits):
        return Split(StreamSamples([split.images for split in splits]), first.labels)
    values = []
    for split in splits:
        if not isinstance(split.images, Sequences) or not torch.equal(split.images.lengths, first.images.lengths):  # type: ignore[attr-defined]
            raise ShapeError("streams: all must have the same lengths")
        values.append(split.images.values)
    return Split(Sequences(torch.cat(values, dim=2), first.lengths), first.labels)  # type: ignore[arg-type]
