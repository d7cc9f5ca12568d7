"""What an epoch of training changes and needs: network, optimiser, teacher, samples."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pnbx_snn.data.split import Sequences, Split
from pnbx_snn.errors import ConfigError, PnbxValueError
from pnbx_snn.kernels.cpu.memory import keep_freed_memory
from pnbx_snn.layers.delays import sharpen
from pnbx_snn.networks.base import Network
from pnbx_snn.training.checkpoint import CheckpointMeta, load_checkpoint, read_meta, save_checkpoint
from pnbx_snn.training.config import Config
from pnbx_snn.training.distributed import Learner, Workers, shared_sum
from pnbx_snn.training.evaluate import Tally
from pnbx_snn.training.losses import distillation, rate_penalty, step_distillation
from pnbx_snn.training.optimizer import adamw, check_finite
from pnbx_snn.training.recipe import Recipe
from pnbx_snn.training.reestimate import reestimate
from pnbx_snn.training.samples import Draws, Piece, TrainingSamples, epoch_seeds, typical
from pnbx_snn.training.settling import in_own_steps, settle
from pnbx_snn.training.sparsity import Sparsifier

Metrics = dict[str, Any]
"""Of an epoch: what becomes a line of ``metrics.jsonl``."""

MOST_SKIPPED = 32
"""Steps with a scaled loss that may overflow in turn: then its scale has fallen from 65,536 to less than 1/10,000."""

AVERAGE_BATCHES = 10
"""On which batch norm is measured before the average of the weights is: 640 sequences of 64 steps are plenty."""


class Trainer:
    """A network, its optimiser, its teacher and its data: everything that an epoch changes or needs.

    The model comes with its initial weights; it is calibrated here and goes to the device of the workers. Nothing is
    asked of its own section of the configuration. The answers of a teacher are learned together with the labels; it
    sees pictures of ``teacher_side`` pixels each way, see :class:`pnbx_snn.training.samples.TrainingSamples`.

    Raises
    ------
    ConfigError
        If a batch has fewer samples than there are processes, or the network or its teacher cannot read samples of
        different lengths and there are some, or has no logits of steps and they are asked for.
    """

    def __init__(
        self,
        model: Network,
        config: Config,
        data: Split,
        workers: Workers,
        *,
        teacher: Network | None = None,
        teacher_side: int | None = None,
    ) -> None:
        keep_freed_memory()
        self.config = config
        self.data = data
        self.workers = workers
        self.samples = TrainingSamples(data, config, workers, teacher_side=teacher_side)
        self.num_batches = self.samples.num_batches
        self._layer_sizes: list[int] = []
        self._skipped = 0  # steps one after the other
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
            model.calibrate(typical(data.images))
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
        draws = Draws(self.config.train.seed, epoch, self.workers)
        self.model.train()
        sharpen(self.model, (epoch - 1) / self.config.train.epochs)
        tally, loss_sum, seen = Tally(), 0.0, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draws.torch_seed)  # for surrogates and dropout, which draw from torch's own generator
            for i, (batch, pieces) in enumerate(self.samples.of_epoch(epoch, draws)):
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

    def _learn(
        self, batch: Tensor, pieces: list[Piece], epoch: int, number: int, tally: Tally, encoder: torch.Generator
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
                spikes = self.model.fired(in_own_steps(spikes, lengths))
                counted = len(labels) if lengths is None else int(lengths.sum())
                # Averaged over the processes, these losses are the mean over all samples of the batch.
                loss = self._loss(logits, steps, labels, images, lengths) * (share * self.workers.num_processes)
                loss = loss + len(numbers) / len(batch) * self._penalty(spikes, counted / self.samples.weight(numbers))
                self.workers.backward(loss)
            loss_sum = loss_sum + loss.detach()
            rates = rates + counted / self.samples.weight(batch) * self.model.domain_rates(spikes)
            tally.add(logits, labels, (layer.mean().item() * counted for layer in spikes), weight=counted)
        self._layer_sizes = [layer.shape[-1] for layer in spikes]
        assert isinstance(loss_sum, Tensor)
        assert isinstance(rates, Tensor)
        mean_loss = self.workers.total(loss_sum).item() / self.workers.num_processes
        self._step(mean_loss, epoch, number)
        if rates.numel():
            self.model.adapt_to(self.workers.total(rates).clamp(max=1.0))  # weights may add up to a rounding above 1
        return mean_loss

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
            reestimate(self.model, self.samples.unchanged(batches, sample_seed), generator=generator)
        if last:
            seed = epoch_seeds(self.config.train.seed, 0)[1]
            settle(self.model, self.samples.unchanged(self.config.train.settle, seed, shared=False))
        yield
        if self.recipe.average is not None and not last:
            self.recipe.average.take_out()

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
