"""What an epoch of training changes and needs: network, optimiser, teacher, data, and the seeds of what is random."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pnbx_snn.data.augment import add_noise, drop_inputs, shift_images
from pnbx_snn.data.catalog import augment
from pnbx_snn.data.shrunk import before_shrinking
from pnbx_snn.data.split import Samples, Sequences, Split
from pnbx_snn.data.streams import Pairs, drop_streams
from pnbx_snn.data.voices import change_voices
from pnbx_snn.errors import ConfigError, PnbxValueError
from pnbx_snn.kernels.cpu.memory import keep_freed_memory
from pnbx_snn.layers.delays import sharpen
from pnbx_snn.networks.base import Network
from pnbx_snn.networks.masks import own_steps
from pnbx_snn.training.checkpoint import CheckpointMeta, load_checkpoint, read_meta, save_checkpoint
from pnbx_snn.training.config import Config
from pnbx_snn.training.distributed import Learner, Workers, shared_sum
from pnbx_snn.training.evaluate import Tally
from pnbx_snn.training.losses import distillation, rate_penalty, step_distillation
from pnbx_snn.training.optimizer import adamw, check_finite
from pnbx_snn.training.recipe import Recipe
from pnbx_snn.training.reestimate import Batch, reestimate
from pnbx_snn.training.sparsity import Sparsifier
from pnbx_snn.wording import counted

Metrics = dict[str, Any]
"""Of an epoch: what becomes a line of ``metrics.jsonl``."""

CALIBRATION_SAMPLES = 512
"""As many as :meth:`pnbx_snn.networks.pnbx.PNBX.calibrate` looks at, taken from everywhere in the data."""

MOST_SKIPPED = 32
"""Steps with a scaled loss that may overflow in turn: then its scale has fallen from 65,536 to less than 1/10,000."""

AVERAGE_BATCHES = 10
"""On which batch norm is measured before the average of the weights is: 640 sequences of 64 steps are plenty."""


class _Piece(NamedTuple):
    """A piece of a batch: its sample numbers, and this process's share of it, as :meth:`Trainer._samples` makes it."""

    numbers: Tensor
    images: Tensor
    seen: Tensor
    labels: Tensor
    lengths: Tensor | None


class Trainer:
    """A network, its optimiser, its teacher and its data: everything that an epoch changes or needs.

    The model comes with its initial weights; it is calibrated here and goes to the device of the workers. Nothing is
    asked of its own section of the configuration. The answers of a teacher are learned together with the labels.

    Raises
    ------
    ConfigError
        If a batch has fewer samples than there are processes, or the network or its teacher cannot read samples of
        different lengths and there are some, or has no logits of steps and they are asked for.
    """

    def __init__(
        self, model: Network, config: Config, data: Split, workers: Workers, *, teacher: Network | None = None
    ) -> None:
        keep_freed_memory()
        self.config = config
        self.data = data
        self.workers = workers
        self.num_batches = max(1, len(data.labels) // config.train.batch_size)
        self._layer_sizes: list[int] = []
        self._skipped = 0  # steps one after the other
        smallest = len(data.labels) // self.num_batches // config.train.accumulate
        if smallest < workers.num_processes:
            raise ConfigError(
                f"train.batch_size: each of {workers.num_processes} processes needs a sample of every piece of a "
                f"batch, got pieces of {smallest} (train.batch_size = {config.train.batch_size}, train.accumulate = "
                f"{config.train.accumulate}, {counted(len(data.labels), 'sample')})"
            )
        for network in (model, teacher):
            if data.lengths is not None and network is not None and not network.takes_lengths:
                raise ConfigError(
                    f"data: samples of {int(data.lengths.min())} to {int(data.lengths.max())} steps need [pnbx], also "
                    f"as a teacher, got {type(network).__name__}"
                )
            if config.distill.per_step and network is not None and not network.gives_steps:
                raise ConfigError(
                    f"distill.per_step needs logits of each step, which [pnbx], [model] and rivals that read sequences "
                    f"have, also of the teacher, got {type(network).__name__}"
                )
        self.model = model
        self.recipe = Recipe(model, config.train, config.train.epochs * self.num_batches)
        if isinstance(data.images, Sequences):
            model.calibrate(data.images.values, lengths=data.images.lengths)
        else:
            model.calibrate(_typical(data.images))
        model.to(workers.device)
        self.optimizer = adamw(model, config.train)
        steps = config.train.epochs * self.num_batches
        self.sparsifier = Sparsifier(model, config.sparsity, num_steps=steps, seed=config.train.seed)
        learner = Learner(model, every_step=config.distill.per_step)
        self.learner, self.stepper = workers.prepare(learner, self.optimizer)
        self.recipe.start()
        self.teacher = None if teacher is None else teacher.requires_grad_(False).to(workers.device).eval()

    def train_epoch(self, epoch: int, *, told: Callable[[Metrics], None] | None = None) -> Metrics:
        """Train one epoch; everything random in it depends on the seed and the epoch's number only.

        What is drawn inside the network (noise, dropout, rate coding) also depends on the number of processes.
        ``told`` is called after each batch with what this process has so far.
        """
        order_seed, *_ = epoch_seeds(self.config.train.seed, epoch)
        order = torch.randperm(len(self.data.labels), generator=torch.Generator().manual_seed(order_seed))
        draws = _Draws(self.config.train.seed, epoch, self.workers)
        if isinstance(self.data.images, Pairs):
            self.data.images.draw(order_seed)
        self.model.train()
        sharpen(self.model, (epoch - 1) / self.config.train.epochs)
        tally, loss_sum, seen = Tally(), 0.0, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draws.torch_seed)  # for surrogates and dropout, which draw from torch's own generator
            batches = order.tensor_split(self.num_batches)
            for i, (batch, pieces) in enumerate(zip(batches, self._prepared(batches, epoch, draws), strict=True)):
                loss_sum += self._learn(batch, pieces, epoch, i, tally, draws.encoder) * len(batch)
                seen += len(batch)
                if told is not None:
                    so_far = {"epoch": epoch, "batch": i + 1, "num_batches": self.num_batches, "loss": loss_sum / seen}
                    told({**so_far, **self._measured(tally.samples, tally.correct, tally.weight, tally.layers)})
        shared = self.workers.gathered([tally.samples, tally.correct, tally.weight, *tally.layers])
        samples, correct, weight, *layers = (sum(part) for part in zip(*shared, strict=True))
        return {
            "loss": loss_sum / samples,
            **self._measured(samples, correct, weight, layers),
            "learning_rate": self._learning_rate(epoch * self.num_batches),
            **self.recipe.metrics(),
            **self.sparsifier.metrics(),
        }

    def _measured(self, samples: int, correct: int, weight: int, layers: Sequence[float]) -> Metrics:
        rates = [rate / weight for rate in layers]
        sizes = self._layer_sizes  # neurons of each layer
        fired = sum(rate * size for rate, size in zip(rates, sizes, strict=True))
        return {
            "accuracy_train": correct / samples,
            "firing_rate": fired / sum(sizes) if rates else None,
            "firing_rate_layers": rates,
        }

    def _prepared(self, batches: Sequence[Tensor], epoch: int, draws: "_Draws") -> Iterator[list[_Piece]]:
        """Yield the pieces of each batch of sample numbers; a thread makes those of the next batch meanwhile.

        It alone draws how samples are changed, batch after batch: the same numbers as without it.
        """

        def make(batch: Tensor) -> list[_Piece]:
            pieces = batch.tensor_split(self.config.train.accumulate)
            return [_Piece(numbers, *self._samples(numbers, epoch, draws)) for numbers in pieces]

        with ThreadPoolExecutor(1, thread_name_prefix="samples") as thread:
            coming = thread.submit(make, batches[0])
            for following in [*batches[1:], None]:
                pieces = coming.result()
                if following is not None:
                    coming = thread.submit(make, following)
                yield pieces

    def _learn(
        self, batch: Tensor, pieces: list[_Piece], epoch: int, number: int, tally: Tally, encoder: torch.Generator
    ) -> float:
        """Make one step of the optimiser on a batch of sample numbers and return its loss, that of all processes."""
        self.recipe.before_step((epoch - 1) * self.num_batches + number + 1)
        self.optimizer.zero_grad()
        loss_sum: Tensor | float = 0.0
        rates: Tensor | float = 0.0  # what the network's regulators watch
        for piece in pieces:
            numbers, images, seen, labels, lengths = piece
            share = len(labels) / len(batch)
            with self.workers.collecting(self.learner, last=piece is pieces[-1]):
                logits, spikes, steps = self.learner(seen, generator=encoder, lengths=lengths)
                spikes = self.model.fired(_in_own_steps(spikes, lengths))
                counted = len(labels) if lengths is None else int(lengths.sum())
                # Averaged over the processes, these losses are the mean over all samples of the batch.
                loss = self._loss(logits, steps, labels, images, lengths) * (share * self.workers.num_processes)
                loss = loss + len(numbers) / len(batch) * self._penalty(spikes, counted / self._weight(numbers))
                self.workers.backward(loss)
            loss_sum = loss_sum + loss.detach()
            rates = rates + counted / self._weight(batch) * self.model.domain_rates(spikes)
            tally.add(logits, labels, (layer.mean().item() * counted for layer in spikes), weight=counted)
        self._layer_sizes = [layer.shape[-1] for layer in spikes]
        assert isinstance(loss_sum, Tensor)
        assert isinstance(rates, Tensor)
        mean_loss = self.workers.total(loss_sum).item() / self.workers.num_processes
        self._step(mean_loss, epoch, number)
        if rates.numel():
            self.model.adapt_to(self.workers.total(rates).clamp(max=1.0))  # weights may add up to a rounding above 1
        return mean_loss

    def _weight(self, numbers: Tensor) -> int:
        """Return how much rates of these samples count: their steps, or the samples where all have as many."""
        return len(numbers) if self.data.lengths is None else int(self.data.lengths[numbers].sum())

    def _samples(self, piece: Tensor, epoch: int, draws: "_Draws") -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return this process's share of a piece: samples for the teacher, as they are seen, labels and lengths."""
        settings, change, data = self.config.train, self.config.augment, self.config.data
        share = self.workers.share(torch.arange(len(piece)))
        # The full share in the first half of the epochs, then less and less, none in the last.
        fading = min(1.0, 2 * (1 - epoch / settings.epochs))
        strength = change.strength_end + (change.strength - change.strength_end) * fading
        shifts = data.name == "digits" and settings.max_shift > 0
        # Changes are drawn for the whole piece in every process: how many there are then makes no difference.
        whole = shifts or strength > 0 or change.voices > 0 or change.input_noise > 0
        samples = before_shrinking(self.data.images) if strength > 0 else self.data.images
        images = samples[piece if whole else piece[share]]
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
        part = None if whole else (len(piece), share)
        widths = list(data.stream_widths.values())
        seen = drop_inputs(images, change.input_dropout, generator=draws.changes, batch=part)
        seen = add_noise(seen, change.input_noise, generator=draws.changes)
        seen = drop_streams(seen, widths, change.stream_dropout, generator=draws.changes, batch=part)
        if whole:
            images, seen = images[share], seen[share]
        device, lengths = self.workers.device, self.data.lengths
        if lengths is not None:
            longest = int(lengths[piece].max())
            images, seen, lengths = images[:, :longest], seen[:, :longest], lengths[piece[share]].to(device)
        return images.to(device), seen.to(device), self.data.labels[piece[share]].to(device), lengths

    @contextmanager
    def result(self, epoch: int) -> Iterator[None]:
        """Make of the network what is measured and saved after an epoch; then it is again the one in training.

        With ``train.average`` that is the average of the weights. After the last epoch batch norm is measured anew and
        regulators settle, and the network stays what it is then.
        """
        last = epoch == self.config.train.epochs
        batches = self.config.train.reestimate if last else 0
        if self.recipe.average is not None:
            self.recipe.average.put_in()
            self.sparsifier.rank_again()
            batches = max(batches, AVERAGE_BATCHES)
        if batches:
            _, _, sample_seed, encoder_seed, _ = epoch_seeds(self.config.train.seed, 0)
            generator = torch.Generator(self.workers.device).manual_seed(encoder_seed)
            reestimate(self.model, self._unchanged(batches, sample_seed), generator=generator)
        if last:
            self.settle()
        yield
        if self.recipe.average is not None and not last:
            self.recipe.average.take_out()

    def settle(self) -> None:
        """Let regulators settle on unchanged samples in evaluation mode: the state in which the network is used."""
        if not self.model.regulators:
            return
        self.model.eval()
        for regulator in self.model.regulators:
            regulator.train()
        seed = epoch_seeds(self.config.train.seed, 0)[1]
        for images, lengths in self._unchanged(self.config.train.settle, seed, shared=False):
            with torch.no_grad():
                _, spikes = self.model.classify(images, lengths=lengths)
            self.model.adapt_to(self.model.domain_rates(_in_own_steps(spikes, lengths)))
        self.model.train()

    def _unchanged(self, count: int, seed: int, *, shared: bool = True) -> Iterator[Batch]:
        """Yield so many batches of training samples as they are, drawn by a seed; of each this process's share."""
        order = torch.Generator().manual_seed(seed)
        for _ in range(count):
            batch = torch.randint(len(self.data.labels), (self.config.train.batch_size,), generator=order)
            batch = self.workers.share(batch) if shared else batch
            lengths = self.data.lengths
            yield (
                self.data.images[batch].to(self.workers.device),
                None if lengths is None else lengths[batch].to(self.workers.device),
            )

    def save(self, path: Path, epoch: int) -> None:
        """Write the checkpoint of a finished epoch; nothing, but a :class:`PnbxValueError`, unless all is finite.

        The network in it is that of :meth:`result`, inside which this is called; beside it lies what the training needs
        to go on, if there is more to train.
        """
        check_finite(self.model.state_dict().items(), f"after epoch {epoch}; nothing was saved")
        seed, step = self.config.train.seed, epoch * self.num_batches
        meta = CheckpointMeta(epoch=epoch, step=step, seed=seed, config=self.config.model_dump())
        others = {} if epoch == self.config.train.epochs else self.recipe.state()
        save_checkpoint(path, self.model, meta=meta, optimizer=self.optimizer, others=others)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint that :meth:`save` wrote."""
        epoch = read_meta(path).epoch
        self.recipe.before_step(epoch * self.num_batches)
        others = {}
        if epoch < self.config.train.epochs:
            if self.recipe.average is not None:
                self.recipe.average.put_in()  # which makes the tensors of the state in training
            others = self.recipe.state()
        load_checkpoint(path, self.model, optimizer=self.optimizer, others=others)
        if self.recipe.average is not None and others:
            self.recipe.average.restore()

    def _loss(
        self, logits: Tensor, steps: Tensor | None, labels: Tensor, images: Tensor, lengths: Tensor | None
    ) -> Tensor:
        settings, distill = self.config.train, self.config.distill
        loss = cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
        if self.teacher is not None:
            with torch.no_grad(), self.workers.accelerator.autocast():
                if steps is None:
                    wanted, _ = self.teacher.classify(images, lengths=lengths)
                else:
                    _, _, wanted = self.teacher.classify_steps(images, lengths=lengths)
            if steps is None:
                divergence = distillation(logits, wanted.float(), temperature=distill.temperature)
            else:
                divergence = step_distillation(
                    steps,
                    wanted.float(),
                    temperature=distill.temperature,
                    from_share=distill.from_share,
                    lengths=lengths,
                )
            loss = torch.lerp(loss, divergence, distill.weight)
        return loss

    def _penalty(self, spikes: tuple[Tensor, ...], share: float) -> Tensor | float:
        """Return the weighted penalty of the firing rates over all processes, of which this one has that share."""
        settings = self.config.train
        if not (spikes and settings.rate_weight):
            return 0.0
        if self.workers.num_processes > 1:
            # The square of a mean is no mean of squares: the rates of all processes first.
            spikes = shared_sum(torch.stack([layer.mean() * share for layer in spikes])).unbind()
        return settings.rate_weight * rate_penalty(spikes, target=settings.rate_target)

    def _learning_rate(self, step: int) -> float:
        share = step / (self.config.train.epochs * self.num_batches)
        return self.config.train.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def _step(self, loss: float, epoch: int, batch: int) -> None:
        step = (epoch - 1) * self.num_batches + batch
        where = f"in epoch {epoch}, batch {batch + 1} of {self.num_batches} (step {step + 1})"
        if not math.isfinite(loss):
            raise PnbxValueError(
                f"training: the loss must be finite, got {loss} {where}; a smaller train.learning_rate may help"
            )
        # In fp16 the scaled loss may overflow: that step is left out and the scale halved, but not for ever.
        if self.workers.mixed_precision != "fp16" or self._skipped >= MOST_SKIPPED:
            check_finite(((f"gradient of {name}", p.grad) for name, p in self.model.named_parameters()), where)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        self.workers.clip(self.learner, self.config.train.clip_norm)
        self.stepper.step()
        self._skipped = self._skipped + 1 if self.stepper.step_was_skipped else 0
        self.model.keep_in_range()
        self.sparsifier.after_step(step + 1)
        self.recipe.after_step(step + 1)
        check_finite(self.model.named_parameters(), where)


class _Draws:
    """Where an epoch's random numbers come from: one generator for each purpose.

    How samples are changed is the same in every process, what is drawn inside the network differs between them.
    """

    def __init__(self, seed: int, epoch: int, workers: Workers) -> None:
        _, shift_seed, _, _, change_seed = epoch_seeds(seed, epoch)
        _, _, encoder_seed, self.torch_seed, _ = epoch_seeds(seed, epoch, workers.rank)
        self.shifts = torch.Generator().manual_seed(shift_seed)
        self.changes = torch.Generator().manual_seed(change_seed)
        self.encoder = torch.Generator(workers.device).manual_seed(encoder_seed)


def _in_own_steps(spikes: tuple[Tensor, ...], lengths: Tensor | None) -> tuple[Tensor, ...]:
    """Return the spikes of which rates are taken: those of the samples' own steps, ``[steps, N]``."""
    if lengths is None or not spikes:
        return spikes
    own = own_steps("training", lengths, *spikes[0].shape[:2])
    return tuple(layer[own] for layer in spikes)


def _typical(samples: Samples) -> Tensor:
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
