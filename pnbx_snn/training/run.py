"""Training from a configuration. A training that was killed goes on to the very same weights."""

import logging
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import torch

from pnbx_snn.configs import known_configs
from pnbx_snn.data.catalog import load_split
from pnbx_snn.errors import CheckpointError, ConfigError
from pnbx_snn.files.atomic_write import locked_folder, write_atomically
from pnbx_snn.networks.base import Network
from pnbx_snn.training.checkpoint import build_model, load_run, read_meta, saved_config
from pnbx_snn.training.config import Config, differing_keys, flat_keys, resolve, to_toml
from pnbx_snn.training.distributed import Workers
from pnbx_snn.training.evaluate import evaluate
from pnbx_snn.training.monitor import Monitor
from pnbx_snn.training.run_files import CHECKPOINT_NAME
from pnbx_snn.training.run_log import RunLog
from pnbx_snn.training.samples import epoch_seeds
from pnbx_snn.training.trackers import check_tracker
from pnbx_snn.training.trainer import Metrics, Trainer

logger = logging.getLogger(__name__)


class TrainResult(NamedTuple):
    """What :func:`train` returns: the trained network, in evaluation mode, and the file with everything.

    ``epoch`` counts the finished epochs, those of earlier calls included; ``metrics`` are those of the last epoch,
    ``None`` if there was nothing left to train.
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
    batch_progress: Callable[[Metrics], None] | None = None,
) -> TrainResult:
    """Train the network that a configuration describes; leave checkpoint, log and configuration in a folder.

    The folder gets ``checkpoint.safetensors``, ``config.toml``, ``metrics.jsonl`` and ``tensorboard/`` (or what another
    tracker leaves). Randomness comes from ``(seed, epoch)`` alone, so a training that was interrupted at any moment and
    resumed ends, on one thread, with weights that are bit for bit those of one that ran through.

    Parameters
    ----------
    config
        See :mod:`pnbx_snn.training.config`.
    out_dir
        The folder; made if it does not exist. Only one training at a time may use it.
    resume
        Go on from the checkpoint in the folder. ``False`` refuses a folder that holds one.
    progress
        Called after each epoch with its metrics, the object that is a line of ``metrics.jsonl``: ``epoch``, ``loss``,
        ``accuracy_train``, ``accuracy_validation`` (``None`` with ``part="train_all"``), ``firing_rate`` and
        ``firing_rate_layers`` (``None`` and empty for a network without spikes), ``learning_rate`` (at its end) and
        ``seconds``.
    batch_progress
        Called after each batch with what there is of the epoch so far: ``epoch``, ``batch`` (of ``num_batches``),
        ``loss``, ``accuracy_train``, ``firing_rate`` and ``firing_rate_layers``.

    Notes
    -----
    Under ``torchrun`` or ``accelerate launch`` every process calls this with the same arguments: each learns from its
    share of every batch, gradients, losses, batch norm and glia are those of the whole batch, and the first process
    writes the files. So a training may be resumed on another number of processes; its result differs by the rounding of
    sums (and by what the network itself draws: noise, dropout, rate coding).

    Raises
    ------
    CheckpointError
        If the folder holds a checkpoint and ``resume`` is false, or ``resume`` is true and there is no such folder; or
        processes see different checkpoints.
    ConfigError
        If a run is resumed with another configuration, the tracker is not installed, or a batch has fewer samples than
        there are processes.
    StorageError
        If something cannot be written; the last checkpoint is then untouched.
    PnbxValueError
        If the loss, a gradient or a weight is no longer finite; the message names the step and the layer, and the last
        checkpoint is then untouched.

    Examples
    --------
    >>> from pnbx_snn.training.config import make_config
    >>> config = make_config({"model": {"hidden": [8], "num_steps": 2}, "train": {"epochs": 1}})
    >>> result = train(config, getfixture("tmp_path") / "run")
    >>> result.epoch, sorted(path.name for path in result.checkpoint.parent.iterdir())
    (1, ['checkpoint.safetensors', 'config.toml', 'metrics.jsonl', 'tensorboard'])
    """
    out = Path(out_dir)
    config = resolve(config)
    if resume and not out.is_dir():
        raise CheckpointError(f"{out}: no such folder, so there is nothing to resume")
    check_tracker(config.train.tracker)
    workers = Workers(config.train.mixed_precision)
    with workers, locked_folder(out) if workers.is_main else nullcontext(), _threads(config.train.threads):
        saved_epoch = _saved_epoch(config, out, resume)
        _check_shared(out, workers.gathered(saved_epoch))
        teacher, side = _load_teacher(config) if config.distill.teacher else (None, None)
        data = load_split(config.data, config.data.part)
        validation = load_split(config.data, "validation") if config.data.part == "train" else None
        run = Trainer(initial_model(config), config, data, workers, teacher=teacher, teacher_side=side)
        if saved_epoch:
            run.load(out / CHECKPOINT_NAME)
        workers.accelerator.wait_for_everyone()  # everybody has read what the first process is about to write
        if workers.is_main:
            write_atomically(out / "config.toml", to_toml(config).encode(), what="configuration")
        metrics: Metrics | None = None
        told = batch_progress if workers.is_main else None
        logged: AbstractContextManager[RunLog | None] = nullcontext()
        if workers.is_main:
            logged = RunLog(out, saved_epoch, tracker=config.train.tracker, settings=flat_keys(config))
        with logged as log:
            monitor: Monitor | None = None
            if log is not None and log.writer is not None:
                monitor = Monitor(run.model, validation or data, log.writer)
            for epoch in range(saved_epoch + 1, config.train.epochs + 1):
                started = time.perf_counter()
                metrics = {"epoch": epoch, **run.train_epoch(epoch, told=told), "accuracy_validation": None}
                with run.result(epoch):
                    if log is None:
                        continue
                    if validation is not None:
                        metrics["accuracy_validation"] = evaluate(run.model, validation)["accuracy"]
                    metrics["seconds"] = round(time.perf_counter() - started, 3)
                    # First the log: a kill in between leaves a line too many, which the next start drops.
                    log.write(metrics)
                    if epoch % config.train.checkpoint_every == 0 or epoch == config.train.epochs:
                        run.save(out / CHECKPOINT_NAME, epoch)
                    if monitor is not None:
                        monitor.look(epoch, last=epoch == config.train.epochs)
                logger.info("epoch %d of %d: %s", epoch, config.train.epochs, metrics)
                if progress is not None:
                    progress(metrics)
        workers.accelerator.wait_for_everyone()
    return TrainResult(run.model.eval(), config.train.epochs, metrics, out / CHECKPOINT_NAME)


def initial_model(config: Config) -> Network:
    """Return the network with the weights from which a training of this seed starts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(epoch_seeds(config.train.seed, epoch=0)[0])
        return build_model(config)


def _load_teacher(config: Config) -> tuple[Network, int]:
    """Return the teacher, and the side of the pictures that it learned from."""
    folder = Path(config.distill.teacher)
    if not (folder / CHECKPOINT_NAME).exists():
        name = folder.name if folder.name in known_configs() else "CONFIG"
        data = f" --data {shlex.quote(config.data.folder)}" if config.data.folder else ""
        raise ConfigError(
            f"distill.teacher: there is no trained run in {folder}; to train it: pnbx-snn train {name}{data} --out "
            f"{shlex.quote(str(folder))}"
        )
    teacher, learned = load_run(folder)
    if learned.data.num_classes != config.data.num_classes:
        raise ConfigError(
            f"distill.teacher: the number of classes must be that of the data, {config.data.num_classes}, and "
            f"{config.distill.teacher} knows {learned.data.num_classes}"
        )
    return teacher, learned.data.side


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
    # Where the data lie and who watches is no part of the training: a run may go on on another machine.
    elsewhere = ("data.folder:", "data.path:", "train.tracker:")
    differences = [line for line in differing_keys(saved_config(path), config) if not line.startswith(elsewhere)]
    if differences:
        schedule = " (learning rate and augmentation depend on train.epochs, so more epochs are another training)"
        hint = schedule if any(line.startswith("train.epochs:") for line in differences) else ""
        raise ConfigError(f"{out}: a run is resumed with its own configuration, got {'; '.join(differences)}{hint}")
    return read_meta(path).epoch


def _check_shared(out: Path, epochs: list[int]) -> None:
    """Raise unless all processes go on from the same epoch: on several machines they may see different folders."""
    for rank, epoch in enumerate(epochs):
        if epoch != epochs[0]:
            raise CheckpointError(
                f"{out}: process 0 goes on from epoch {epochs[0]} and process {rank} from epoch {epoch}; the folder "
                "must be one that all machines share"
            )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
