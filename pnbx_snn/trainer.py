"""What an epoch of training changes and needs: network, optimiser, teacher, data, and the seeds of what is random."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pnbx_snn.checkpoint import CheckpointMeta, Network, build_model, load_run, save_checkpoint
from pnbx_snn.data import Split, shift_images
from pnbx_snn.devices import Learner, Workers
from pnbx_snn.errors import ConfigError, PnbxValueError
from pnbx_snn.evaluation import Tally
from pnbx_snn.glia import Glia
from pnbx_snn.losses import distillation, rate_penalty
from pnbx_snn.model import SpikingClassifier, SpikingLayer
from pnbx_snn.network import PNBX
from pnbx_snn.settings import Config, TrainConfig
from pnbx_snn.tasks import add_noise, augment, drop_inputs

Metrics = dict[str, Any]
"""Of an epoch: what becomes a line of ``metrics.jsonl``."""

MIN_THRESHOLD = 0.01
"""A learned threshold stays above this: LIF neurons and compiled programs need it positive."""


class Trainer:
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
        tally, loss_sum = Tally(), 0.0
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
                loss_sum += loss.item() * len(labels)
                tally.add(logits, labels, (layer.mean().item() * len(labels) for layer in spikes))
        rates = [rate / tally.samples for rate in tally.layers]
        sizes = [layer.shape[2] for layer in spikes]  # neurons of each layer
        fired = sum(rate * size for rate, size in zip(rates, sizes, strict=True))
        return {
            "loss": loss_sum / tally.samples,
            "accuracy_train": tally.correct / tally.samples,
            "firing_rate": fired / sum(sizes) if rates else None,
            "firing_rate_layers": rates,
            "learning_rate": self._learning_rate(epoch * self.num_batches),
        }

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
