"""What the processes of ``test_multi_process.py`` do, and the test itself does alone: train, and tell what happened.

torchrun --standalone --nproc_per_node 2 multi_process_run.py FOLDER
"""

import json
import sys
from pathlib import Path

import torch

from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.data.split import Split
from pnbx_snn.files import tensors as storage
from pnbx_snn.training import run as training
from pnbx_snn.training import run_log, trainer
from pnbx_snn.training.config import make_config
from pnbx_snn.training.distributed import Workers
from pnbx_snn.training.trainer import Trainer

SIZES = {"d_hidden": 64, "num_steps": 2, "d_ssm": 8, "d_rnn": 8, "rank": 4, "slots": 4, "tau_max": 8.0}
TRAIN = {"epochs": 4, "batch_size": 130, "threads": 1, "rate_weight": 1.0}
CLASSIFIER = {
    "model": {"hidden": [32, 16], "num_steps": 3},
    "augment": {"strength": 0.3, "input_dropout": 0.1},
    "train": {**TRAIN, "accumulate": 2, "clip_norm": 1.0},
}
NETWORK = {
    "pnbx": SIZES,
    "augment": {"input_dropout": 0.1},
    "train": {**TRAIN, "settle": 2, "max_shift": 0, "average": 0.9},
}
EXACT = {"classifier": CLASSIFIER, "network": NETWORK}
NUM_EXACT = 289
"""Samples of the exact trainings: batches of 144 and 145, which two processes cannot share alike."""
STOPPED_AFTER = 2


def exact_epoch(sections, seen=None):
    """Train one epoch in float64, where rounding flips no spike; return losses, weights and buffers."""
    torch.set_default_dtype(torch.float64)
    try:
        data = load_digits_split(part="train")
        data = Split(data.images[:NUM_EXACT].double(), data.labels[:NUM_EXACT])
        with Workers() as workers:
            config = make_config(sections)
            run = Trainer(training.initial_model(config), config, data, workers)
            if seen is not None:
                record(run, seen)
            metrics = run.train_epoch(1)
            # Buffers are those of this process: running statistics and glia must agree without being sent around.
            with run.result(1):
                state = {name: tensor.double().flatten().tolist() for name, tensor in run.model.state_dict().items()}
    finally:
        torch.set_default_dtype(torch.float32)
    return {"metrics": metrics, "state": state}


def record(run, seen):
    """Write down the sample numbers of this process."""
    samples = run.samples._changed

    def spy(piece, epoch, draws):
        seen.extend(piece[run.workers.share(torch.arange(len(piece)))].tolist())
        return samples(piece, epoch, draws)

    run.samples._changed = spy


class Stop(Exception):  # noqa: N818
    """Ends a training in every process at once."""


def train_and_stop(folder):
    """Train in float32 until two of four epochs are done."""
    epoch_of = Trainer.train_epoch

    def stopping(self, epoch, **told):
        if epoch > STOPPED_AFTER:
            raise Stop
        return epoch_of(self, epoch, **told)

    trainer.Trainer.train_epoch = stopping
    try:
        training.train(make_config(NETWORK), folder)
    except Stop:
        return
    finally:
        trainer.Trainer.train_epoch = epoch_of


def recorded(write, names):
    """Return a writer that keeps the names of what it writes."""

    def writing(path, data, **options):
        names.append(path.name)
        return write(path, data, **options)

    return writing


def main(folder):
    torch.set_num_threads(1)
    with Workers() as workers:
        rank, num_processes = workers.rank, workers.num_processes
    told = {"num_processes": num_processes, "wrote": [], "seen": []}
    for module in (training, run_log, storage):
        module.write_atomically = recorded(module.write_atomically, told["wrote"])
    for name, sections in EXACT.items():
        told[name] = exact_epoch(sections, told["seen"] if name == "network" else None)
    train_and_stop(folder / "two_then_one")
    training.train(make_config(NETWORK), folder / "one_then_two", resume=True)
    Path(folder, f"told{rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
