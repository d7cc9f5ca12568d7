"""Training from a configuration, and evaluation. A training that was killed goes on to the very same weights."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pnbx_snn.checkpoint import (
    CHECKPOINT_NAME,
    CheckpointMeta,
    Network,
    build_model,
    load_checkpoint,
    load_run,
    read_meta,
    save_checkpoint,
    saved_config,
)
from pnbx_snn.config import differing_keys, to_toml
from pnbx_snn.data import Split, shift_images
from pnbx_snn.devices import Learner, Workers
from pnbx_snn.errors import CheckpointError, ConfigError, PnbxValueError
from pnbx_snn.glia import Glia
from pnbx_snn.losses import distillation, rate_penalty
from pnbx_snn.model import SpikingClassifier, SpikingLayer
from pnbx_snn.network import PNBX
from pnbx_snn.run_log import RunLog
from pnbx_snn.settings import Config, TrainConfig
from pnbx_snn.storage import locked_folder, write_atomically
from pnbx_snn.tasks import add_noise, augment, drop_inputs, load_split

logger = logging.getLogger(__name__)

Metrics = dict[str, Any]
MIN_THRESHOLD = 0.01
"""A learned threshold stays above this: LIF neurons and compiled programs need it positive."""


class TrainResult(NamedTuple):
    """What :func:`train` returns.

    Attributes
    ----------
    model
        The trained network, in evaluation mode.
    epoch
        Finished epochs, those of earlier calls included.
    metrics
        Of the last epoch; ``None`` if there was nothing left to train.
    checkpoint
        The file with everything.
    """

    model: Network
    epoch: int
    metrics: Metrics | None
    checkpoint: Path


def train(
    config: Config,
    out_dir: str | Path,
    *,
    resume: bool = False,
    progress: Callable[[Metrics], None] | None = None,
) -> TrainResult:
    """Train the network that a configuration describes; leave checkpoint, log and configuration in a folder.

    The folder gets ``checkpoint.safetensors``, ``config.toml``, ``metrics.jsonl`` and ``tensorboard/``. Randomness
    comes from ``(seed, epoch)`` alone, so a training that was interrupted at any moment and resumed ends, on one
    thread, with the same weights to the bit as one that ran through.

    Parameters
    ----------
    config
        See :mod:`pnbx_snn.config`.
    out_dir
        The folder; made if it does not exist. Only one training at a time may use it.
    resume
        Go on from the checkpoint in the folder. ``False`` refuses a folder that holds one.
    progress
        Called after each epoch with its metrics, the object that is a line of ``metrics.jsonl``: ``epoch``, ``loss``,
        ``accuracy_train``, ``accuracy_validation`` (``None`` with ``part="train_all"``), ``firing_rate`` and
        ``firing_rate_layers`` (``None`` and empty for a network without spikes), ``learning_rate`` (at its end) and
        ``seconds``.

    Notes
    -----
    Under ``torchrun`` or ``accelerate launch`` every process calls this with the same arguments: each learns from its
    share of every batch, gradients are averaged, and the first process writes the files.

    Returns
    -------
    TrainResult

    Raises
    ------
    CheckpointError
        If the folder holds a checkpoint and ``resume`` is false, or ``resume`` is true and there is no such folder.
    ConfigError
        If a run is resumed with another configuration.
    StorageError
        If something cannot be written; the last checkpoint is then untouched.
    PnbxValueError
        If the loss is no longer finite; the last checkpoint is then untouched.

    Examples
    --------
    >>> from pnbx_snn.config import make_config
    >>> config = make_config({"model": {"hidden": [8], "num_steps": 2}, "train": {"epochs": 1}})
    >>> result = train(config, getfixture("tmp_path") / "run")
    >>> result.epoch, sorted(path.name for path in result.checkpoint.parent.iterdir())
    (1, ['checkpoint.safetensors', 'config.toml', 'metrics.jsonl', 'tensorboard'])
    """
    out = Path(out_dir)
    if resume and not out.is_dir():
        raise CheckpointError(f"{out}: no such folder, so there is nothing to resume")
    workers = Workers(config.train.mixed_precision)
    with workers, locked_folder(out) if workers.is_main else nullcontext(), _threads(config.train.threads):
        saved_epoch = _saved_epoch(config, out, resume)
        data = load_split(config.data, config.data.part)
        validation = load_split(config.data, "validation") if config.data.part == "train" else None
        run = _Run(config, data, workers)
        if saved_epoch:
            load_checkpoint(out / CHECKPOINT_NAME, run.model, optimizer=run.optimizer)
        workers.wait()  # everybody has read what the first process is about to write
        if workers.is_main:
            write_atomically(out / "config.toml", to_toml(config).encode(), what="configuration")
        metrics: Metrics | None = None
        with RunLog(out, last_epoch=saved_epoch) if workers.is_main else nullcontext() as log:
            for epoch in range(saved_epoch + 1, config.train.epochs + 1):
                started = time.perf_counter()
                metrics = {"epoch": epoch, **run.train_epoch(epoch), "accuracy_validation": None}
                if epoch == config.train.epochs:
                    run.settle()
                if log is None:
                    continue
                if validation is not None:
                    metrics["accuracy_validation"] = evaluate(run.model, validation)["accuracy"]
                metrics["seconds"] = round(time.perf_counter() - started, 3)
                # First the log: a kill in between leaves a line too many, which the next start drops.
                log.write(metrics)
                if epoch % config.train.checkpoint_every == 0 or epoch == config.train.epochs:
                    run.save(out / CHECKPOINT_NAME, epoch)
                logger.info("epoch %d of %d: %s", epoch, config.train.epochs, metrics)
                if progress is not None:
                    progress(metrics)
        workers.wait()
    return TrainResult(run.model.eval(), config.train.epochs, metrics, out / CHECKPOINT_NAME)


@torch.no_grad()
def evaluate(model: Network, split: Split, *, seed: int = 0, batch_size: int = 256) -> dict[str, Any]:
    """Measure accuracy and firing rates in evaluation mode; the mode the model was in comes back afterwards.

    Parameters
    ----------
    model
        A calibrated model; its ``classify`` is asked.
    split
        Images and labels, at least one.
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
    >>> from pnbx_snn.config import Config
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
    num_correct = 0
    spikes: dict[int, float] = {}
    places: dict[int, int] = {}
    try:
        for first in range(0, num_samples, batch_size):
            images, labels = (part[first : first + batch_size].to(device) for part in split)
            logits, layers = model.classify(images, generator=generator)
            num_correct += int((logits.argmax(dim=1) == labels).sum())
            for i, layer in enumerate(layers):
                spikes[i] = spikes.get(i, 0.0) + layer.sum(dtype=torch.float64).item()
                places[i] = places.get(i, 0) + layer.numel()
    finally:
        model.train(was_training)
    return {
        "accuracy": num_correct / num_samples,
        "firing_rate": sum(spikes.values()) / sum(places.values()) if spikes else None,
        "firing_rate_layers": [spikes[i] / places[i] for i in spikes],
        "n": num_samples,
    }


class _Run:
    """A model, its optimiser, its teacher and its data: everything that an epoch changes or needs."""

    def __init__(self, config: Config, data: Split, workers: Workers) -> None:
        self.config = config
        self.data = data
        self.workers = workers
        self.num_batches = max(1, len(data.labels) // config.train.batch_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_seeds(config.train.seed, epoch=0)[0])
            self.model = build_model(config)
        self.model.calibrate(data.images)
        self.model.to(workers.device)
        self.optimizer = _optimizer(self.model, config.train)
        self.learner, self.stepper = workers.prepare(Learner(self.model), self.optimizer)
        self.teacher = _load_teacher(config).to(workers.device).eval() if config.distill.teacher else None

    def train_epoch(self, epoch: int) -> Metrics:
        """Train one epoch; everything random in it depends on the seed and the epoch's number only."""
        settings, change, device = self.config.train, self.config.augment, self.workers.device
        order_seed = _seeds(settings.seed, epoch)[0]
        # What is drawn for a sample differs between processes, the order of the samples does not.
        _, shift_seed, encoder_seed, torch_seed, change_seed = _seeds(settings.seed, epoch, self.workers.rank)
        order = torch.randperm(len(self.data.labels), generator=torch.Generator().manual_seed(order_seed))
        shifts = torch.Generator().manual_seed(shift_seed)
        changes = torch.Generator().manual_seed(change_seed)
        encoder = torch.Generator(device).manual_seed(encoder_seed)
        # The full share in the first half of the epochs, then less and less, none in the last.
        fading = min(1.0, 2 * (1 - epoch / settings.epochs))
        strength = change.strength_end + (change.strength - change.strength_end) * fading
        self.model.train()
        sums = _Sums()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed)  # for surrogates and dropout, which draw from torch's own generator
            for i, batch in enumerate(order.tensor_split(self.num_batches)):
                share = self.workers.share(batch)
                images, labels = self.data.images[share], self.data.labels[share].to(device)
                if self.config.data.name == "digits":
                    images = shift_images(
                        images,
                        math.isqrt(images.shape[1]),
                        generator=shifts,
                        max_shift=settings.max_shift,
                        probability=settings.shift_share * fading,
                    )
                images = augment(images, self.config.data, strength=strength, generator=changes)
                seen = drop_inputs(images, change.input_dropout, generator=changes)
                seen = add_noise(seen, change.input_noise, generator=changes).to(device)
                logits, spikes = self.learner(seen, generator=encoder)
                loss = self._loss(logits, labels, spikes, images.to(device))
                self._step(loss, epoch, i)
                if isinstance(self.model, PNBX):
                    self.model.adapt(spikes)
                sums.add(loss, logits, labels, spikes)
        return {**sums.means(), "learning_rate": self._learning_rate(epoch * self.num_batches)}

    def settle(self) -> None:
        """Let glia settle on unchanged samples in evaluation mode: the state in which the network will be used."""
        if not isinstance(self.model, PNBX) or self.config.train.settle == 0:
            return
        self.model.eval()
        order = torch.Generator().manual_seed(_seeds(self.config.train.seed, 0)[1])
        for module in self.model.modules():
            if isinstance(module, Glia):
                module.train()
        for _ in range(self.config.train.settle):
            batch = torch.randint(len(self.data.labels), (self.config.train.batch_size,), generator=order)
            with torch.no_grad():
                _, spikes = self.model.classify(self.data.images[batch].to(self.workers.device))
            self.model.adapt(spikes)
        self.model.train()

    def save(self, path: Path, epoch: int) -> None:
        """Write the checkpoint of a finished epoch."""
        meta = CheckpointMeta(
            epoch=epoch,
            step=epoch * self.num_batches,
            seed=self.config.train.seed,
            config=self.config.model_dump(),
        )
        save_checkpoint(path, self.model, meta=meta, optimizer=self.optimizer)

    def _loss(self, logits: Tensor, labels: Tensor, spikes: tuple[Tensor, ...], images: Tensor) -> Tensor:
        settings, distill = self.config.train, self.config.distill
        loss = cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
        if self.teacher is not None:
            with torch.no_grad(), self.workers.autocast():
                wanted, _ = self.teacher.classify(images)
            loss = torch.lerp(
                loss, distillation(logits, wanted.float(), temperature=distill.temperature), distill.weight
            )
        if spikes and settings.rate_weight:
            loss = loss + settings.rate_weight * rate_penalty(spikes, target=settings.rate_target)
        return loss

    def _learning_rate(self, step: int) -> float:
        share = step / (self.config.train.epochs * self.num_batches)
        return self.config.train.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def _step(self, loss: Tensor, epoch: int, batch: int) -> None:
        step = (epoch - 1) * self.num_batches + batch
        if not math.isfinite(loss.item()):
            raise PnbxValueError(
                f"training: the loss must be finite, got {loss.item()} in epoch {epoch}, batch {batch + 1} of "
                f"{self.num_batches} (step {step + 1}); a smaller train.learning_rate may help"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        self.optimizer.zero_grad()
        self.workers.backward(loss, self.learner, clip_norm=self.config.train.clip_norm)
        self.stepper.step()
        if isinstance(self.model, SpikingClassifier):
            self._keep_in_range(self.model)

    @torch.no_grad()
    def _keep_in_range(self, model: SpikingClassifier) -> None:
        for layer in model.layers:
            assert isinstance(layer, SpikingLayer)
            if isinstance(layer.neuron.beta, torch.nn.Parameter):
                layer.neuron.beta.clamp_(0.0, 1.0)
            if isinstance(layer.neuron.threshold, torch.nn.Parameter):
                layer.neuron.threshold.clamp_(min=MIN_THRESHOLD)


class _Sums:
    """Loss, hits and spikes of an epoch, each weighted by its samples."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.rates: list[float] = []  # of each layer
        self.sizes: list[int] = []  # neurons of each layer
        self.correct = self.samples = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor, spikes: tuple[Tensor, ...]) -> None:
        size = len(labels)
        self.loss += loss.item() * size
        self.correct += int((logits.argmax(dim=1) == labels).sum())
        self.samples += size
        if spikes:
            self.sizes = [layer.shape[2] for layer in spikes]
            rates = [layer.mean().item() * size for layer in spikes]
            self.rates = [a + b for a, b in zip(self.rates or [0.0] * len(rates), rates, strict=True)]

    def means(self) -> Metrics:
        rates = [rate / self.samples for rate in self.rates]
        spikes = sum(rate * size for rate, size in zip(rates, self.sizes, strict=True))
        return {
            "loss": self.loss / self.samples,
            "accuracy_train": self.correct / self.samples,
            "firing_rate": spikes / sum(self.sizes) if rates else None,
            "firing_rate_layers": rates,
        }


def _load_teacher(config: Config) -> Network:
    teacher, learned = load_run(config.distill.teacher)
    if learned.data.num_classes != config.data.num_classes:
        raise ConfigError(
            f"distill.teacher: {config.distill.teacher} knows {learned.data.num_classes} classes, "
            f"the data has {config.data.num_classes}"
        )
    return teacher.requires_grad_(False)


def _optimizer(model: Network, settings: TrainConfig) -> torch.optim.AdamW:
    # Only weight matrices decay: for biases, batch norm, beta and threshold zero is no natural value.
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    others = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.learning_rate)


def _seeds(seed: int, epoch: int, rank: int = 0) -> list[int]:
    """Independent seeds for an epoch of a process; those of epoch 0 are for the initial weights and the settling."""
    key = (epoch, rank) if rank else (epoch,)
    children = np.random.SeedSequence(seed, spawn_key=key).spawn(5)
    return [int(child.generate_state(1, np.uint64)[0]) for child in children]


def _saved_epoch(config: Config, out: Path, resume: bool) -> int:
    """Return the epoch to go on from, 0 for a new training, after checking that this may be done."""
    path = out / CHECKPOINT_NAME
    if not path.exists():
        if resume:
            logger.warning("%s: no checkpoint yet, the training starts at its first epoch", out)
        return 0
    if not resume:
        raise CheckpointError(
            f"{out}: holds a checkpoint already (epoch {read_meta(path).epoch}); resume it (--resume, resume=True) "
            "or take another folder"
        )
    # Where the data lie is no part of the training: a run may go on on another machine.
    differences = [line for line in differing_keys(saved_config(path), config) if not line.startswith("data.folder:")]
    if differences:
        schedule = " (learning rate and augmentation depend on train.epochs, so more epochs are another training)"
        hint = schedule if any(line.startswith("train.epochs:") for line in differences) else ""
        raise ConfigError(f"{out}: a run is resumed with its own configuration, got {'; '.join(differences)}{hint}")
    return read_meta(path).epoch


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
