"""Training from a configuration, and evaluation. A training that was killed goes on to the very same weights."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pnbx_snn.checkpoint import (
    CHECKPOINT_NAME,
    CheckpointMeta,
    build_model,
    load_checkpoint,
    read_meta,
    save_checkpoint,
    saved_config,
)
from pnbx_snn.config import Config, TrainConfig, differing_keys, to_toml
from pnbx_snn.data import Split, load_digits_split, shift_images
from pnbx_snn.errors import CheckpointError, ConfigError, PnbxValueError
from pnbx_snn.losses import firing_rate, rate_penalty
from pnbx_snn.model import SpikingClassifier, SpikingLayer
from pnbx_snn.run_log import RunLog
from pnbx_snn.storage import locked_folder, write_atomically

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

    model: SpikingClassifier
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
    """Train a :class:`SpikingClassifier` and leave checkpoint, log and configuration in a folder.

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
        ``accuracy_train``, ``accuracy_validation`` (``None`` with ``part="train_all"``), ``firing_rate``,
        ``learning_rate`` (at its end) and ``seconds``.

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
    with locked_folder(out), _threads(config.train.threads):
        saved_epoch = _saved_epoch(config, out, resume)
        data = load_digits_split(part=config.data.part)
        validation = load_digits_split(part="validation") if config.data.part == "train" else None
        run = _Run(config, data)
        if saved_epoch:
            load_checkpoint(out / CHECKPOINT_NAME, run.model, optimizer=run.optimizer)
        write_atomically(out / "config.toml", to_toml(config).encode(), what="configuration")
        metrics: Metrics | None = None
        with RunLog(out, last_epoch=saved_epoch) as log:
            for epoch in range(saved_epoch + 1, config.train.epochs + 1):
                started = time.perf_counter()
                metrics = {"epoch": epoch, **run.train_epoch(epoch), "accuracy_validation": None}
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
    return TrainResult(run.model.eval(), config.train.epochs, metrics, out / CHECKPOINT_NAME)


@torch.no_grad()
def evaluate(model: SpikingClassifier, split: Split, *, seed: int = 0, batch_size: int = 256) -> dict[str, Any]:
    """Measure accuracy and firing rates in evaluation mode; the mode the model was in comes back afterwards.

    Parameters
    ----------
    model
        A calibrated model; its ``encode`` makes the inputs.
    split
        Images and labels, at least one.
    seed
        Of the ``"rate"`` encoder, so that a second measurement gives the same numbers.
    batch_size
        Samples at a time; it changes the memory needed.

    Returns
    -------
    dict
        ``accuracy`` (share of the samples), ``firing_rate`` (spikes per neuron and step over all layers),
        ``firing_rate_layers`` (the same for each layer) and ``n`` (samples).

    Raises
    ------
    PnbxValueError
        If there are no samples.

    Examples
    --------
    >>> from pnbx_snn.config import Config
    >>> model, split = build_model(Config()), load_digits_split(part="validation")
    >>> model.calibrate(split.images)
    >>> sorted(evaluate(model, split))
    ['accuracy', 'firing_rate', 'firing_rate_layers', 'n']
    """
    num_samples = len(split.labels)
    if num_samples == 0:
        raise PnbxValueError("evaluate: split must have at least one sample, got none")
    generator = torch.Generator().manual_seed(seed)
    was_training = model.training
    model.eval()
    num_correct = 0
    spikes, places = [0.0] * len(model.layers), [0] * len(model.layers)
    try:
        for first in range(0, num_samples, batch_size):
            images, labels = (part[first : first + batch_size] for part in split)
            output = model(model.encode(images, generator=generator))
            num_correct += int((output.logits.argmax(dim=1) == labels).sum())
            for i, layer in enumerate(output.spikes):
                spikes[i] += layer.sum(dtype=torch.float64).item()
                places[i] += layer.numel()
    finally:
        model.train(was_training)
    return {
        "accuracy": num_correct / num_samples,
        "firing_rate": sum(spikes) / sum(places),
        "firing_rate_layers": [count / size for count, size in zip(spikes, places, strict=True)],
        "n": num_samples,
    }


class _Run:
    """A model, its optimiser and its data: everything that an epoch changes or needs."""

    def __init__(self, config: Config, data: Split) -> None:
        self.config = config
        self.data = data
        self.num_batches = max(1, len(data.labels) // config.train.batch_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_seeds(config.train.seed, epoch=0)[0])
            self.model = build_model(config)
        self.model.calibrate(data.images)
        self.optimizer = _optimizer(self.model, config.train)

    def train_epoch(self, epoch: int) -> Metrics:
        """Train one epoch; everything random in it depends on the seed and the epoch's number only."""
        settings = self.config.train
        order_seed, shift_seed, encoder_seed, torch_seed = _seeds(settings.seed, epoch)
        order = torch.randperm(len(self.data.labels), generator=torch.Generator().manual_seed(order_seed))
        shifts = torch.Generator().manual_seed(shift_seed)
        encoder = torch.Generator().manual_seed(encoder_seed)
        side = math.isqrt(self.config.data.in_features)
        # The full share in the first half of the epochs, then less and less, none in the last.
        probability = settings.shift_share * min(1.0, 2 * (1 - epoch / settings.epochs))
        self.model.train()
        loss_sum = rate_sum = 0.0
        num_correct = 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed)  # for surrogates that draw from torch's own generator
            for i, batch in enumerate(order.tensor_split(self.num_batches)):
                images, labels = self.data.images[batch], self.data.labels[batch]
                images = shift_images(
                    images, side, generator=shifts, max_shift=settings.max_shift, probability=probability
                )
                output = self.model(self.model.encode(images, generator=encoder))
                loss = cross_entropy(output.logits, labels, label_smoothing=settings.label_smoothing)
                loss = loss + settings.rate_weight * rate_penalty(output.spikes, target=settings.rate_target)
                self._step(loss, epoch, i)
                loss_sum += loss.item() * len(batch)
                rate_sum += firing_rate(output.spikes) * len(batch)
                num_correct += int((output.logits.argmax(dim=1) == labels).sum())
        return {
            "loss": loss_sum / len(order),
            "accuracy_train": num_correct / len(order),
            "firing_rate": rate_sum / len(order),
            "learning_rate": self._learning_rate(epoch * self.num_batches),
        }

    def save(self, path: Path, epoch: int) -> None:
        """Write the checkpoint of a finished epoch."""
        meta = CheckpointMeta(
            epoch=epoch,
            step=epoch * self.num_batches,
            seed=self.config.train.seed,
            config=self.config.model_dump(),
        )
        save_checkpoint(path, self.model, meta=meta, optimizer=self.optimizer)

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
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self._keep_in_range()

    @torch.no_grad()
    def _keep_in_range(self) -> None:
        for layer in self.model.layers:
            assert isinstance(layer, SpikingLayer)
            if self.config.model.learn_beta:
                layer.neuron.beta.clamp_(0.0, 1.0)
            if self.config.model.learn_threshold:
                layer.neuron.threshold.clamp_(min=MIN_THRESHOLD)


def _optimizer(model: SpikingClassifier, settings: TrainConfig) -> torch.optim.AdamW:
    # Only weight matrices decay: for biases, batch norm, beta and threshold zero is no natural value.
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    others = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def _seeds(seed: int, epoch: int) -> list[int]:
    """Four independent seeds for an epoch; those of epoch 0 are for the initial weights."""
    children = np.random.SeedSequence(seed, spawn_key=(epoch,)).spawn(4)
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
    differences = differing_keys(saved_config(path), config)
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
