"""Several processes train the same network as one; a batch in pieces is a batch; a run goes on on another number."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import multi_process_run
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.data.split import Split
from pnbx_snn.errors import CheckpointError, ConfigError
from pnbx_snn.training.config import make_config
from pnbx_snn.training.distributed import SharedBatchNorm1d, Workers, share_batch_norms, shared_sum
from pnbx_snn.training.run import _check_shared, initial_model, train
from pnbx_snn.training.run_log import read_metrics
from pnbx_snn.training.trainer import Trainer

ROUNDING = 1e-12
"""In float64 sums in another order differ by some 3e-15 after an epoch; no spike flips."""
LOSS_TOLERANCE = 0.02
"""In float32 losses of 1 to 3 differed by 1e-7; where a sum near a threshold flips a spike, by 6e-4 to 0.02."""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What two processes said, and the folders of their trainings; ``alone`` never saw a second process."""
    folder = tmp_path_factory.mktemp("processes")
    multi_process_run.train_and_stop(folder / "one_then_two")
    script = Path(multi_process_run.__file__)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, str(script), str(folder)],
        capture_output=True, text=True, timeout=280, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    config = make_config(multi_process_run.NETWORK)
    train(config, folder / "two_then_one", resume=True)
    train(config, folder / "alone")
    return [json.loads((folder / f"told{rank}.json").read_text()) for rank in (0, 1)], folder


@pytest.mark.parametrize("name", multi_process_run.EXACT)
def test_two_processes_train_as_one_does(told, name):
    alone = multi_process_run.exact_epoch(multi_process_run.EXACT[name])
    for process in told[0]:
        assert process["num_processes"] == 2
        assert process[name]["state"].keys() == alone["state"].keys()
        for key, values in alone["state"].items():
            assert process[name]["state"][key] == pytest.approx(values, rel=ROUNDING, abs=ROUNDING), key
        for key, value in alone["metrics"].items():
            assert process[name]["metrics"][key] == pytest.approx(value, rel=ROUNDING), key


def test_no_sample_is_seen_twice_and_none_is_lost(told):
    seen = [process["seen"] for process in told[0]]
    assert [len(numbers) for numbers in seen] == [145, 144]  # batches of 145 and 144: 73 + 72 and 72 + 72
    assert sorted(seen[0] + seen[1]) == list(range(multi_process_run.NUM_EXACT))


def test_the_first_process_alone_writes(told):
    first, second = (process["wrote"] for process in told[0])
    assert {"config.toml", "metrics.jsonl", "checkpoint.safetensors"} == set(first)
    assert second == []


@pytest.mark.parametrize("name", ["two_then_one", "one_then_two"])
def test_a_run_goes_on_on_another_number_of_processes(told, name):
    logs = [read_metrics(told[1] / run / "metrics.jsonl") for run in (name, "alone")]
    assert [row["epoch"] for row in logs[0]] == [1, 2, 3, 4]
    for there, here in zip(*logs, strict=True):
        for key in ("loss", "accuracy_train", "firing_rate"):
            assert there[key] == pytest.approx(here[key], abs=LOSS_TOLERANCE), key
        assert there["learning_rate"] == here["learning_rate"]


SLURM = {"SLURM_JOB_NODELIST": "here", "SLURM_NNODES": "1", "SLURM_JOB_ID": "7", "PROCESSES": "2"}


@pytest.mark.slow
def test_the_slurm_script_trains_and_goes_on(tmp_path):
    """Slurm itself is played by two scripts: one machine, two processes."""
    for name, line in (("scontrol", "echo localhost"), ("srun", 'echo "$@" >> calls; exec "$@"')):
        (tmp_path / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "c.toml").write_text("[model]\nhidden = [6]\nnum_steps = 2\n[train]\nepochs = 1\nbatch_size = 700\n")
    script = Path(__file__).parents[3] / "examples" / "slurm" / "train.sbatch"
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **SLURM, "PATH": path, "PYTHON": sys.executable, "PORT": "0", "OMP_NUM_THREADS": "1"}
    command = ["bash", str(script), "c.toml", "run", "--set", "train.seed=3"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Trained 1 epoch:") == 1  # the first process alone speaks
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[0]["epoch"] == 1
    (tmp_path / "srun").write_text('#!/bin/bash\necho "$@" >> calls\n')
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=60)
    first, second = (tmp_path / "calls").read_text().splitlines()
    assert "--nnodes 1 --nproc_per_node 2" in first
    assert first.endswith("train c.toml --out run --set train.seed=3")
    assert second.endswith("train c.toml --out run --resume --set train.seed=3")


# A batch in pieces


def test_gradients_of_pieces_add_up():
    sections = {
        "model": {"hidden": [16], "num_steps": 3},
        "train": {"batch_size": 101, "accumulate": 3, "max_shift": 0},
    }
    config = make_config({**sections, "train": {**sections["train"], "label_smoothing": 0.0, "rate_weight": 0.0}})
    split = load_digits_split(part="train")
    data = Split(split.images[:101], split.labels[:101])
    with Workers() as workers:
        run, other = (Trainer(initial_model(config), config, data, workers) for _ in range(2))
        pieces = []
        samples = run.samples._changed
        run.samples._changed = lambda piece, *more: pieces.append(piece) or samples(piece, *more)
        run.train_epoch(1)
    assert [len(piece) for piece in pieces] == [34, 34, 33]
    for piece in pieces:
        logits, _ = other.model.classify(data.images[piece])
        (nn.functional.cross_entropy(logits, data.labels[piece], reduction="sum") / 101).backward()
    for (name, mine), theirs in zip(run.model.named_parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-7, msg=name)


def test_glia_moves_once_a_batch(monkeypatch):
    config = make_config({"pnbx": multi_process_run.SIZES, "train": {"batch_size": 100, "accumulate": 2}})
    split = load_digits_split(part="train")
    with Workers() as workers:
        run = Trainer(initial_model(config), config, Split(split.images[:200], split.labels[:200]), workers)
        moves, adapt = [], run.model.adapt_to
        monkeypatch.setattr(run.model, "adapt_to", lambda rates: moves.append(rates.shape) or adapt(rates))
        run.train_epoch(1)
    assert moves == [(1, 2, 4)] * 2  # one block, two loops, 64 neurons in domains of 16


def test_a_batch_that_cannot_be_shared_is_refused():
    config = make_config({"train": {"batch_size": 8, "accumulate": 4}})
    with Workers() as workers:
        workers.num_processes = 3
        with pytest.raises(ConfigError, match=r"each of 3 processes needs a sample of every piece .* pieces of 2 \("):
            Trainer(initial_model(config), config, load_digits_split(part="train"), workers)


def test_machines_without_a_common_folder_are_told_so(tmp_path):
    _check_shared(tmp_path, [3, 3, 3])
    with pytest.raises(CheckpointError, match="process 0 goes on from epoch 3 and process 2 from epoch 0; the folder"):
        _check_shared(tmp_path, [3, 3, 0])


# The parts, alone


def test_one_process_shares_with_itself():
    x = torch.randn(3, requires_grad=True)
    assert shared_sum(x) is x
    norm, shared = nn.BatchNorm1d(3), nn.Sequential(nn.BatchNorm1d(3))
    share_batch_norms(shared)
    assert type(shared[0]) is SharedBatchNorm1d
    x = torch.randn(5, 3)
    assert torch.equal(shared(x), norm(x))
    assert torch.equal(shared[0].running_var, norm.running_var)


@pytest.mark.parametrize(("make", "shape"), [(nn.BatchNorm1d, (6, 3)), (nn.BatchNorm2d, (6, 3, 4, 5))])
def test_shared_statistics_are_batch_norm(monkeypatch, make, shape):
    """Two processes with the same samples: all sums are doubled, and batch norm of the doubled batch comes out."""
    from pnbx_snn.training import distributed

    monkeypatch.setattr(distributed, "num_processes", lambda: 2)
    monkeypatch.setattr(distributed, "shared_sum", lambda x: 2 * x)
    norm, shared = make(3, momentum=0.3).double(), nn.Sequential(make(3, momentum=0.3).double())
    nn.init.uniform_(norm.weight)
    shared[0].load_state_dict(norm.state_dict())
    share_batch_norms(shared)
    x = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(shared(x), norm(torch.cat([x, x]))[: len(x)])
    for ours, theirs in zip(shared.buffers(), norm.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)
